//! A question whose answer has many parts, and what is sent along with it. Both directions are
//! held to what the other side can take; a box that is given no sign of life gives up.

use super::calls::{CREDIT, CallError, Calls};
use kc_agent_api::{CallBody, NO_SUCH_CALL, NodeName, Reply, ReplyBody, SIGN_OF_LIFE_S, Window};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Octets in one part of input.
const PART: usize = 32 << 10;

/// What is heard of an answer.
#[derive(Debug)]
pub(super) enum Heard {
    /// A part.
    Reply(Reply),
    /// The box is gone.
    Offline,
    /// So is the broker.
    Disconnected,
}

/// A question and what is heard of its answer. Whoever drops it before its end calls it off.
#[derive(Debug)]
pub struct Conversation {
    calls: Calls,
    node: NodeName,
    id: u64,
    parts: mpsc::Receiver<Heard>,
    allowed: watch::Receiver<u32>,
    /// Number of the next part.
    expected: u32,
    /// Parts the box may send.
    granted: Arc<AtomicU32>,
    alive: AbortHandle,
    over: bool,
}

/// Says again and again what the box may send, as a sign of life: whoever reads the answer may
/// take all the time in the world.
async fn stay_alive(calls: Calls, node: NodeName, id: u64, granted: Arc<AtomicU32>) {
    loop {
        sleep(Duration::from_secs(SIGN_OF_LIFE_S)).await;
        let parts = granted.load(Ordering::Relaxed);
        if calls.connected() {
            let _ = calls.say(&node, CallBody::Credit { id, parts });
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.alive.abort();
        self.calls.forget(&self.node, self.id, self.over);
    }
}

impl Conversation {
    pub(super) fn new(
        calls: Calls,
        node: NodeName,
        id: u64,
        parts: mpsc::Receiver<Heard>,
        allowed: watch::Receiver<u32>,
    ) -> Self {
        let granted = Arc::new(AtomicU32::new(CREDIT));
        let life = stay_alive(calls.clone(), node.clone(), id, Arc::clone(&granted));
        Self {
            alive: tokio::spawn(life).abort_handle(),
            calls,
            node,
            id,
            parts,
            allowed,
            expected: 0,
            granted,
            over: false,
        }
    }

    /// Where what belongs to the question is sent.
    pub fn inlet(&self) -> Inlet {
        Inlet {
            calls: self.calls.clone(),
            node: self.node.clone(),
            id: self.id,
            allowed: self.allowed.clone(),
            part: 0,
        }
    }

    /// The next part; `None` at the end. Nothing is lost when this is dropped before it is done.
    ///
    /// # Errors
    /// The box refuses or is gone, or a part is missing.
    pub async fn next(&mut self) -> Result<Option<ReplyBody>, CallError> {
        if self.over {
            return Ok(None);
        }
        let node = self.node.clone();
        while let Some(heard) = self.parts.recv().await {
            let reply = match heard {
                Heard::Reply(reply) => reply,
                Heard::Offline => {
                    self.over = true;
                    return Err(CallError::Offline { node });
                }
                Heard::Disconnected => return Err(CallError::Disconnected),
            };
            if reply.part < self.expected {
                continue; // QoS 1 may deliver a part twice.
            }
            if reply.part > self.expected && reply.part != NO_SUCH_CALL {
                break;
            }
            self.expected = self.expected.saturating_add(1);
            self.over = reply.last;
            if let ReplyBody::Error { message } = reply.body {
                self.over = true;
                return Err(CallError::Refused { node, message });
            }
            self.give_credit()?;
            return Ok(Some(reply.body));
        }
        Err(CallError::Incomplete { node })
    }

    /// Half of what may be under way was taken: as much again may come.
    fn give_credit(&mut self) -> Result<(), CallError> {
        let granted = self.granted.load(Ordering::Relaxed);
        if self.over || self.expected + CREDIT / 2 < granted {
            return Ok(());
        }
        let parts = self.expected.saturating_add(CREDIT);
        self.granted.store(parts, Ordering::Relaxed);
        let credit = CallBody::Credit { id: self.id, parts };
        self.calls.say(&self.node, credit)
    }
}

/// What is sent along with a question.
#[derive(Debug)]
pub struct Inlet {
    calls: Calls,
    node: NodeName,
    id: u64,
    allowed: watch::Receiver<u32>,
    /// Number of the next part.
    part: u32,
}

impl Inlet {
    /// Sends octets, as fast as the box takes them.
    ///
    /// # Errors
    /// The conversation is over, or nothing can be sent.
    pub async fn send(&mut self, octets: &[u8]) -> Result<(), CallError> {
        for piece in octets.chunks(PART) {
            self.part(piece, false).await?;
        }
        Ok(())
    }

    /// Says that no more will follow.
    ///
    /// # Errors
    /// As for [`Inlet::send`].
    pub async fn end(&mut self) -> Result<(), CallError> {
        self.part(&[], true).await
    }

    /// Tells the size of a terminal.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn resize(&self, window: Window) -> Result<(), CallError> {
        let id = self.id;
        self.calls.say(&self.node, CallBody::Resize { id, window })
    }

    async fn part(&mut self, octets: &[u8], last: bool) -> Result<(), CallError> {
        let part = self.part;
        let room = self.allowed.wait_for(|allowed| *allowed > part).await;
        if room.is_err() {
            let node = self.node.clone();
            return Err(CallError::Incomplete { node });
        }
        self.part += 1;
        let input = CallBody::input(self.id, part, octets, last);
        self.calls.say(&self.node, input)
    }
}
