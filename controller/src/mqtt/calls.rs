//! Questions to boxes and their answers, matched by number. Whoever stops waiting is forgotten.

use super::message;
use kc_agent_api::{
    Call, CallBody, DomainName, NodeName, PayloadError, Reply, ReplyBody, Topic, encode,
};
use kc_mqtt::{Link, PublishError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Longest answer in bytes.
const LONGEST: usize = 16 << 20;
/// Parts that may wait to be read.
const PARTS: usize = 64;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The broker is not connected.
    #[error("the broker is not connected")]
    Disconnected,
    /// The question could not be sent.
    #[error("the question could not be sent")]
    Publish(#[from] PublishError),
    /// The question could not be written down.
    #[error("the question could not be encoded")]
    Encode(#[from] PayloadError),
    /// The box did not answer in time.
    #[error("{node} did not answer within {} s", after.as_secs_f32())]
    Timeout {
        /// The box.
        node: NodeName,
        /// How long it had.
        after: Duration,
    },
    /// The box says no.
    #[error("{node}: {message}")]
    Refused {
        /// The box.
        node: NodeName,
        /// Its words.
        message: String,
    },
    /// The answer is too long.
    #[error("the answer of {node} is longer than {LONGEST} bytes; ask for less with --tail")]
    TooLong {
        /// The box.
        node: NodeName,
    },
    /// A part is missing, or of another kind.
    #[error("the answer of {node} is incomplete")]
    Incomplete {
        /// The box.
        node: NodeName,
    },
}

type Waiting = HashMap<(NodeName, u64), mpsc::Sender<Reply>>;

/// Asks boxes; clones share the open questions.
#[derive(Debug, Clone)]
pub struct Calls {
    domain: DomainName,
    link: Link,
    waiting: Arc<Mutex<Waiting>>,
}

/// Forgets the question when nobody waits any more.
struct Ticket<'a> {
    calls: &'a Calls,
    key: (NodeName, u64),
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.key);
    }
}

impl Calls {
    /// Questions over `link`.
    pub fn new(domain: DomainName, link: Link) -> Self {
        Self {
            domain,
            link,
            waiting: Arc::default(),
        }
    }

    /// Takes up a part of an answer. Nobody may be waiting for it any more.
    pub fn answer(&self, node: NodeName, id: u64, reply: Reply) {
        let key = (node, id);
        let sender = self.lock().get(&key).cloned();
        // A full queue means a box that sends far more than was asked for: it is cut off.
        if sender.is_some_and(|sender| sender.try_send(reply).is_err()) {
            self.lock().remove(&key);
        }
    }

    /// A container's output.
    pub async fn logs(
        &self,
        node: &NodeName,
        container: &str,
        tail: Option<u32>,
        since_s: Option<u64>,
        limit: Duration,
    ) -> Result<String, CallError> {
        let body = CallBody::Logs {
            container: container.to_owned(),
            tail,
            since_s,
        };
        let ask = self.ask(node, body);
        tokio::time::timeout(limit, ask).await.unwrap_or_else(|_| {
            Err(CallError::Timeout {
                node: node.clone(),
                after: limit,
            })
        })
    }

    async fn ask(&self, node: &NodeName, body: CallBody) -> Result<String, CallError> {
        if !self.link.connected() {
            return Err(CallError::Disconnected);
        }
        let id = fastrand::u64(..);
        let (sender, mut parts) = mpsc::channel(PARTS);
        let key = (node.clone(), id);
        self.lock().insert(key.clone(), sender);
        let _ticket = Ticket { calls: self, key };
        let topic = Topic::Call(node.clone(), id);
        let payload = encode(&Call { body })?;
        self.link.publish(message(&self.domain, &topic, payload))?;
        let mut text = String::new();
        let mut expected = 0;
        while let Some(reply) = parts.recv().await {
            if reply.part < expected {
                continue; // QoS 1 may deliver a part twice.
            }
            if reply.part > expected {
                break;
            }
            expected += 1;
            match reply.body {
                ReplyBody::Logs { text: more } => text.push_str(&more),
                ReplyBody::Error { message } => {
                    return Err(CallError::Refused {
                        node: node.clone(),
                        message,
                    });
                }
                ReplyBody::Counters { .. } => break,
            }
            if text.len() > LONGEST {
                return Err(CallError::TooLong { node: node.clone() });
            }
            if reply.last {
                return Ok(text);
            }
        }
        Err(CallError::Incomplete { node: node.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
