//! Answers the controller's calls. Each answer is made by a task of its own that waits for the
//! engine, the forwarder and the link; the agent's loop never does.

mod pass;
mod tail;

use crate::config::Settings;
use crate::docker::container_name;
use crate::doctor::{self, Vantage};
use crate::forwarder::{Forwarder, ForwarderError};
use crate::reconcile::Part;
use crate::status::Identity;
use bollard::Docker;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use kc_agent_api::{Call, CallBody, Reply, ReplyBody, Topic, decode};
use kc_mqtt::Link;
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tail::Tail;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Answers being made at once; one more is told to come back.
const AT_ONCE: usize = 8;
/// Calls remembered, because a QoS 1 message may come twice.
const REMEMBERED: usize = 64;
/// Bytes of output in one answer: the last ones.
const TOTAL: usize = 4 << 20;
/// Bytes of output in one part.
const PART: usize = 64 << 10;
/// The link's backlog up to which parts are handed to it.
const BACKLOG: usize = 16;
/// How long the engine may take for all of the output.
const ENGINE: Duration = Duration::from_secs(30);
/// How long the link may take to make room for one part.
const LINK: Duration = Duration::from_secs(30);
/// Lines asked for when the caller names no number; the engine would else read all it ever kept.
const LINES: u32 = 200_000;

/// Answers calls.
pub struct Calls {
    answerer: Answerer,
    slots: Arc<Semaphore>,
    recent: VecDeque<u64>,
    running: Running,
}

/// Answers being made, by call.
#[derive(Debug, Clone, Default)]
struct Running(Arc<Mutex<HashMap<u64, Under>>>);

/// One answer being made.
#[derive(Debug)]
struct Under {
    credit: watch::Sender<u32>,
    task: Option<AbortHandle>,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Under>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets an answer when it is made, or given up.
struct Entry {
    running: Running,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}

#[derive(Clone)]
struct Answerer {
    identity: Arc<Identity>,
    link: Link,
    forwarder: Forwarder,
    settings: Arc<Settings>,
}

impl Calls {
    /// Answers in the name of `identity`, over `link`.
    pub fn new(
        identity: Arc<Identity>,
        link: Link,
        forwarder: Forwarder,
        settings: Arc<Settings>,
    ) -> Self {
        let answerer = Answerer {
            identity,
            link,
            forwarder,
            settings,
        };
        Self {
            answerer,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            recent: VecDeque::new(),
            running: Running::default(),
        }
    }

    /// Takes up call `id`; `docker` is the engine, when it is there. Never waits.
    pub fn handle(&mut self, id: u64, payload: &[u8], docker: Option<Docker>) {
        if self.recent.contains(&id) {
            return;
        }
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(id);
        let answerer = self.answerer.clone();
        let call = match decode::<Call>(payload) {
            Ok(call) => call,
            Err(error) => return answerer.refuse_at_once(id, &error),
        };
        match call.body {
            CallBody::Credit { id, parts } => return self.credit(id, parts),
            CallBody::Cancel { id } => return self.cancel(id),
            CallBody::Logs { .. } | CallBody::Forwarder { .. } | CallBody::Doctor => {}
        }
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return answerer.refuse_at_once(id, &CallError::Busy);
        };
        let first = match &call.body {
            CallBody::Forwarder { credit, .. } => *credit,
            _ => 0,
        };
        let (sender, credit) = watch::channel(first);
        let under = Under {
            credit: sender,
            task: None,
        };
        self.running.lock().insert(id, under);
        let entry = Entry {
            running: self.running.clone(),
            id,
        };
        let task = tokio::spawn(async move {
            answerer.answer(id, call.body, docker, credit).await;
            drop((entry, slot));
        });
        if let Some(under) = self.running.lock().get_mut(&id) {
            under.task = Some(task.abort_handle());
        }
    }

    /// A caller can take `parts` of its answer altogether. Credit never shrinks.
    fn credit(&self, id: u64, parts: u32) {
        if let Some(under) = self.running.lock().get(&id) {
            under.credit.send_if_modified(|held| {
                let more = parts > *held;
                *held = parts.max(*held);
                more
            });
        }
    }

    /// Nobody waits for an answer any more.
    fn cancel(&self, id: u64) {
        let under = self.running.lock().remove(&id);
        if let Some(task) = under.and_then(|under| under.task) {
            task.abort();
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the agent is busy with {AT_ONCE} other calls")]
    Busy,
    #[error("calls may ask for status, counters, echoes, probes and captures only")]
    NotForCalls,
    #[error(transparent)]
    Forwarder(#[from] ForwarderError),
    #[error("the Docker engine does not answer")]
    NoEngine,
    #[error("no container can be called {0:?}")]
    Name(String),
    #[error("container {name:?} is not on this box")]
    NoContainer { name: String },
    #[error("the engine gave no output of {name:?}")]
    Engine {
        name: String,
        #[source]
        source: bollard::errors::Error,
    },
}

impl Answerer {
    async fn answer(
        &self,
        id: u64,
        body: CallBody,
        docker: Option<Docker>,
        credit: watch::Receiver<u32>,
    ) {
        match body {
            CallBody::Logs {
                container,
                tail,
                since_s,
            } => match logs(docker, &container, tail, since_s).await {
                Ok(output) => self.send_output(id, &output).await,
                Err(error) => self.send(id, refusal(&error)).await,
            },
            CallBody::Forwarder { request, .. } => self.pass(id, *request, credit).await,
            CallBody::Doctor => {
                let findings = doctor::examine(&self.settings, Vantage::Agent).await;
                let wall_ms = self.identity.boot.stamp().wall_ms;
                self.send(id, ReplyBody::Doctor { findings, wall_ms }).await;
            }
            // These are about other answers.
            CallBody::Credit { .. } | CallBody::Cancel { .. } => {}
        }
    }

    async fn send_output(&self, id: u64, output: &str) {
        let parts = tail::parts(output, PART);
        let last = parts.len().saturating_sub(1);
        for (number, text) in parts.into_iter().enumerate() {
            let reply = Reply {
                part: u32::try_from(number).unwrap_or(u32::MAX),
                last: number == last,
                body: ReplyBody::Logs {
                    text: text.to_owned(),
                },
            };
            if !self.send_part(id, &reply).await {
                return;
            }
        }
    }

    async fn send(&self, id: u64, body: ReplyBody) {
        self.send_part(id, &whole(body)).await;
    }

    /// `false` when nobody takes it any more; the caller has given up by then.
    async fn send_part(&self, id: u64, reply: &Reply) -> bool {
        self.link.backlog_below(BACKLOG, LINK).await && self.publish(id, reply)
    }

    fn refuse_at_once(&self, id: u64, error: &dyn std::error::Error) {
        self.publish(id, &whole(refusal(error)));
    }

    fn publish(&self, id: u64, reply: &Reply) -> bool {
        let topic = Topic::Reply(self.identity.node.clone(), id);
        let message = match self.identity.message(&topic, reply) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, id, "an answer cannot be written");
                return false;
            }
        };
        match self.link.publish(message) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, id, "an answer cannot be sent");
                false
            }
        }
    }
}

fn whole(body: ReplyBody) -> Reply {
    Reply {
        part: 0,
        last: true,
        body,
    }
}

/// The error and its causes in one line.
fn refusal(error: &dyn std::error::Error) -> ReplyBody {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let message: Vec<_> = causes.map(ToString::to_string).collect();
    ReplyBody::Error {
        message: message.join(": "),
    }
}

/// The newest output of a container.
async fn logs(
    docker: Option<Docker>,
    name: &str,
    lines: Option<u32>,
    since_s: Option<u64>,
) -> Result<String, CallError> {
    // The name becomes part of a path in the engine's API.
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 128 || !name.bytes().all(legal) {
        return Err(CallError::Name(name.to_owned()));
    }
    let docker = docker.ok_or(CallError::NoEngine)?;
    let options = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .tail(&lines.unwrap_or(LINES).to_string())
        .since(since_s.map_or(0, |age| unix_time(SystemTime::now(), age)))
        .build();
    let container = container_name(name, Part::Main);
    let mut output = pin!(docker.logs(&container, Some(options)));
    let mut kept = Tail::new(TOTAL);
    let reading = async {
        while let Some(piece) = output.next().await {
            kept.push(piece?.as_ref());
        }
        Ok(())
    };
    match timeout(ENGINE, reading).await {
        Ok(Ok(())) => Ok(kept.finish(None)),
        Err(_) => Ok(kept.finish(Some("the engine took too long"))),
        Ok(Err(bollard::errors::Error::DockerResponseServerError {
            status_code: 404, ..
        })) => Err(CallError::NoContainer {
            name: name.to_owned(),
        }),
        Ok(Err(source)) => Err(CallError::Engine {
            name: name.to_owned(),
            source,
        }),
    }
}

/// Unix time of `age` seconds ago, as far as the engine's API can say it; 0 means always.
fn unix_time(now: SystemTime, age: u64) -> i32 {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // 0 would mean "all there is".
    i32::try_from(now.saturating_sub(age))
        .unwrap_or(i32::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_would_leave_its_path_is_refused() {
        for wrong in [
            "",
            "a/../../images/json",
            "a?x=1",
            "a b",
            "é",
            &"x".repeat(129),
        ] {
            let error = logs(None, wrong, None, None).await.unwrap_err();
            assert!(matches!(error, CallError::Name(_)), "{wrong}: {error}");
        }
        let error = logs(None, "fw-1", None, None).await.unwrap_err();
        assert!(matches!(error, CallError::NoEngine));
    }

    #[test]
    fn an_age_before_the_epoch_is_still_an_age() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(unix_time(now, 60), 1_799_999_940);
        assert_eq!(unix_time(now, u64::MAX), 1);
    }

    #[test]
    fn a_refusal_names_its_causes() {
        let source = bollard::errors::Error::DockerResponseServerError {
            status_code: 500,
            message: "disk".into(),
        };
        let error = CallError::Engine {
            name: "fw-1".into(),
            source,
        };
        let ReplyBody::Error { message } = refusal(&error) else {
            panic!("an error is told as one");
        };
        assert!(
            message.contains("fw-1") && message.contains("disk"),
            "{message}"
        );
    }
}
