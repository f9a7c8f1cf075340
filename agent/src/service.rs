//! What the system manager knows of us (sd_notify(3)): that we are up, how the box is, and that both
//! loops turn. Where nobody started us as a service, nothing is told.

use crate::agent::ended;
use kc_agent_api::{ContainerPhase, NodeState};
use sd_notify::NotifyState;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Where the system manager listens; not for those that we start.
pub(crate) const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Questions whether a loop turns, to be answered by it.
pub type Questions = mpsc::Receiver<oneshot::Sender<()>>;

/// Asks a loop whether it turns.
#[derive(Debug)]
pub struct Pulse(mpsc::Sender<oneshot::Sender<()>>);

impl Pulse {
    /// For a loop that answers these questions.
    pub fn new() -> (Self, Questions) {
        let (ask, questions) = mpsc::channel(1);
        (Self(ask), questions)
    }

    /// Returns when the loop has answered, or has ended; never while it hangs.
    async fn beat(&self) {
        let (answer, answered) = oneshot::channel();
        if self.0.send(answer).await.is_ok() {
            let _ = answered.await;
        }
    }
}

/// Tells the system manager of us until it is time to leave.
pub async fn report(
    loops: [Pulse; 2],
    mut state: watch::Receiver<NodeState>,
    mut shutdown: watch::Receiver<bool>,
    relieved: Arc<AtomicBool>,
) {
    if std::env::var_os(NOTIFY_SOCKET).is_none() {
        return;
    }
    // What hangs for the whole of it is ended by the manager, so half of it is soon enough.
    let pause = pause();
    tell(&[NotifyState::Ready]);
    loop {
        tokio::select! {
            () = ended(&mut shutdown) => {
                // For the manager the service goes on while another version takes our place.
                if !relieved.load(Ordering::Relaxed) {
                    tell(&[NotifyState::Stopping]);
                }
                return;
            }
            Ok(()) = state.changed() => {
                let line = line(&state.borrow_and_update());
                tell(&[NotifyState::Status(&line)]);
            }
            () = rest(pause) => {
                for one in &loops {
                    one.beat().await;
                }
                tell(&[NotifyState::Watchdog]);
            }
        }
    }
}

/// How often the manager's watchdog is fed, where it has one.
fn pause() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Says what goes on instead, and feeds the watchdog for as long as that takes.
pub async fn feed(line: &str) -> Infallible {
    if std::env::var_os(NOTIFY_SOCKET).is_none() {
        return std::future::pending().await;
    }
    let pause = pause();
    tell(&[NotifyState::Status(line)]);
    loop {
        tell(&[NotifyState::Watchdog]);
        rest(pause).await;
    }
}

async fn rest(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::debug!(%error, "the system manager does not listen");
    }
}

/// The box in one line.
fn line(state: &NodeState) -> String {
    let all = state.containers.len();
    let running = state.containers.iter();
    let running = running.filter(|one| one.phase == ContainerPhase::Running);
    let mut line = format!(
        "generation {}: {} of {all} containers run",
        state.spec_generation,
        running.count()
    );
    if let Some(error) = state.errors.first() {
        let more = match state.errors.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        // Lines are what the message is made of.
        line = format!("{line}; {}{more}", error.replace('\n', " "));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_is_told_in_one_line() {
        let mut state = NodeState {
            spec_generation: 7,
            ..NodeState::default()
        };
        assert_eq!(line(&state), "generation 7: 0 of 0 containers run");
        state.errors = vec!["no\nengine".into(), "no forwarder".into()];
        assert_eq!(
            line(&state),
            "generation 7: 0 of 0 containers run; no engine (and 1 more)"
        );
    }

    #[tokio::test]
    async fn a_loop_that_turns_or_has_ended_beats_and_one_that_hangs_does_not() {
        let (pulse, mut questions) = Pulse::new();
        let turning = tokio::spawn(async move {
            if let Some(answer) = questions.recv().await {
                let _ = answer.send(());
            }
        });
        pulse.beat().await;
        turning.await.unwrap();
        pulse.beat().await;
        let (pulse, _hangs) = Pulse::new();
        let beat = tokio::time::timeout(Duration::from_millis(20), pulse.beat());
        assert!(beat.await.is_err());
    }
}
