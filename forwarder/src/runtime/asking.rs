//! Who waits for echoes and for news of health: their promises, kept when the pipeline has
//! something to tell.

use super::later::{Part, Promise};
use super::worker::Worker;
use kc_forwarder_api::{ControlError, Echo, ErrorCode, Response};
use rustc_hash::FxHashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

/// Changes of health that one watcher may be behind; one that is slower is hung up on.
pub(crate) const WATCH_ROOM: usize = 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Asking {
    next: u64,
    echoes: FxHashMap<u64, Promise>,
    watchers: Vec<Promise>,
}

/// Sixteen octets that nobody can guess.
pub(super) fn secret() -> [u8; 16] {
    // Each holds keys of its own from the system's random source.
    let [low, high] = [0_u8, 1].map(|which| RandomState::new().hash_one(which));
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

impl Worker {
    /// Sends an echo for somebody who waits for the answer.
    pub(super) fn begin_echo(&mut self, echo: &Echo, promise: Promise) {
        self.asking.next += 1;
        let token = self.asking.next;
        let now_ms = self.note_time(Instant::now());
        match self.pipeline.echo(now_ms, token, echo, &mut self.outputs) {
            Ok(()) => {
                self.asking.echoes.insert(token, promise);
                self.depart();
            }
            Err(error) => {
                let code = match error {
                    crate::pipeline::EchoError::Busy(_) => ErrorCode::Busy,
                    _ => ErrorCode::Invalid,
                };
                let message = error.to_string();
                promise.keep(Response::Error {
                    error: ControlError { code, message },
                });
            }
        }
    }

    /// Tells the present health and every change from now on.
    pub(super) fn begin_watch(&mut self, promise: Promise) {
        let now_ms = self.note_time(Instant::now());
        // What has changed before is in what is told now.
        self.tell_news();
        let (tunnels, functions) = self.pipeline.health(now_ms);
        let watching = Response::Watching { tunnels, functions };
        self.asking.watchers.retain(Promise::is_awaited);
        if promise.put(Part::Line(Box::new(watching))).is_ok() {
            self.asking.watchers.push(promise);
        }
    }

    /// Tells everybody who waits what the pipeline has found out.
    pub(super) fn tell_news(&mut self) {
        for outcome in self.pipeline.outcomes() {
            if let Some(promise) = self.asking.echoes.remove(&outcome.token) {
                promise.keep(Response::Echo {
                    reply: outcome.reply,
                });
            }
        }
        for event in self.pipeline.health_events() {
            tracing::info!(subject = %event.subject, state = %event.state, "health");
            self.asking.watchers.retain(|watcher| {
                let event = event.clone();
                let line = Part::Line(Box::new(Response::Health { event }));
                watcher.put(line).is_ok()
            });
        }
    }
}
