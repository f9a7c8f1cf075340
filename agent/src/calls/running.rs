//! Answers being made, by call: what their callers say to them while they are made. One whose
//! caller is silent for too long is given up, whatever it waits for.

use super::input::Inward;
use kc_agent_api::{SIGN_OF_LIFE_S, Window};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How long a caller may be silent before it counts as gone.
pub(super) const SILENCE: Duration = Duration::from_secs(3 * SIGN_OF_LIFE_S);

/// Answers being made, by call.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<u64, Under>>>);

/// One answer being made.
#[derive(Debug)]
struct Under {
    /// Parts its caller can take.
    credit: watch::Sender<u32>,
    /// What its caller sends along, while that is in order.
    input: Option<Inward>,
    window: watch::Sender<Option<Window>>,
    task: Option<AbortHandle>,
}

/// What an answer hears of its caller.
#[derive(Debug)]
pub(super) struct Caller {
    /// Parts it can take; said again as a sign of life.
    pub(super) credit: watch::Receiver<u32>,
    /// Its terminal.
    pub(super) window: watch::Receiver<Option<Window>>,
}

/// Forgets an answer when it is made, or given up.
#[derive(Debug)]
pub(super) struct Entry {
    running: Running,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Under>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins answer `id`, whose caller can take `credit` parts and may send `input`.
    pub(super) fn begin(&self, id: u64, credit: u32, input: Inward) -> (Entry, Caller) {
        let (credit, credit_seen) = watch::channel(credit);
        let (window, window_seen) = watch::channel(None);
        let under = Under {
            credit,
            input: Some(input),
            window,
            task: None,
        };
        self.lock().insert(id, under);
        let entry = Entry {
            running: self.clone(),
            id,
        };
        let caller = Caller {
            credit: credit_seen,
            window: window_seen,
        };
        (entry, caller)
    }

    /// Answer `id` is made by a task that can be ended.
    pub(super) fn made_by(&self, id: u64, task: AbortHandle) {
        if let Some(under) = self.lock().get_mut(&id) {
            under.task = Some(task);
        }
    }

    /// A caller can take `parts` of its answer altogether; credit never shrinks. `false` when
    /// there is no such answer.
    pub(super) fn credit(&self, id: u64, parts: u32) -> bool {
        let running = self.lock();
        let Some(under) = running.get(&id) else {
            return false;
        };
        under.credit.send_modify(|held| *held = parts.max(*held));
        true
    }

    /// A caller sends something along.
    pub(super) fn input(&self, id: u64, part: u32, base64: &str, last: bool) {
        let mut running = self.lock();
        let Some(under) = running.get_mut(&id) else {
            return;
        };
        under.credit.send_modify(|_| {});
        if let Some(input) = &mut under.input
            && let Err(error) = input.take(part, base64, last)
        {
            tracing::warn!(%error, id, "what a caller sends along is no good");
            // The answer sees that it ends too early.
            under.input = None;
        }
    }

    /// A caller's terminal has another size.
    pub(super) fn resize(&self, id: u64, window: Window) {
        if let Some(under) = self.lock().get(&id) {
            under.window.send_replace(Some(window));
        }
    }

    /// Nobody waits for an answer any more.
    pub(super) fn cancel(&self, id: u64) {
        let under = self.lock().remove(&id);
        if let Some(task) = under.and_then(|under| under.task) {
            task.abort();
        }
    }
}

/// Returns when the caller was not heard of for `limit`.
pub(super) async fn silent(mut heard: watch::Receiver<u32>, limit: Duration) {
    while let Ok(Ok(())) = timeout(limit, heard.changed()).await {}
}

#[cfg(test)]
mod tests {
    use super::super::input;
    use super::*;

    #[tokio::test]
    async fn a_caller_that_says_the_same_again_is_alive_and_a_silent_one_is_not() {
        let limit = Duration::from_millis(400);
        let running = Running::default();
        let (entry, caller) = running.begin(7, 4, input::channel().0);
        let mut gone = Box::pin(silent(caller.credit.clone(), limit));
        for _ in 0..5 {
            let waited = timeout(limit / 4, &mut gone).await;
            assert!(waited.is_err(), "it was heard of in time");
            assert!(running.credit(7, 2), "less than before is a sign of life");
        }
        assert_eq!(*caller.credit.borrow(), 4, "credit never shrinks");
        timeout(limit * 10, gone).await.unwrap();
        drop(entry);
        assert!(!running.credit(7, 9), "nobody is there any more");
    }
}
