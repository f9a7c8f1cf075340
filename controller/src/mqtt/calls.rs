//! Questions to boxes and their answers, matched by number. Whoever stops waiting is forgotten.

use super::message;
use kc_agent_api::{
    Call, CallBody, DomainName, Finding, NodeName, PayloadError, Reply, ReplyBody, Topic, encode,
};
use kc_forwarder_api::{Request, Response};
use kc_mqtt::{Link, PublishError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Longest answer in bytes.
const LONGEST: usize = 16 << 20;
/// Parts that may wait to be read.
const PARTS: usize = 64;
/// Parts of a long answer that may be under way; fewer than may wait.
const CREDIT: u32 = 32;

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

/// A question and what is heard of its answer. Whoever drops it before its end calls it off.
#[derive(Debug)]
pub struct Conversation {
    calls: Calls,
    node: NodeName,
    id: u64,
    parts: mpsc::Receiver<Reply>,
    /// Number of the next part.
    expected: u32,
    /// Parts the box may send.
    granted: u32,
    over: bool,
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.calls.lock().remove(&(self.node.clone(), self.id));
        if !self.over {
            // A box that does not hear it finds out when no credit comes.
            let cancel = CallBody::Cancel { id: self.id };
            let _ = self.calls.tell(&self.node, fastrand::u64(..), cancel);
        }
    }
}

impl Conversation {
    /// The next part; `None` at the end. Nothing is lost when this is dropped before it is done.
    ///
    /// # Errors
    /// The box refuses, or a part is missing.
    pub async fn next(&mut self) -> Result<Option<ReplyBody>, CallError> {
        if self.over {
            return Ok(None);
        }
        while let Some(reply) = self.parts.recv().await {
            if reply.part < self.expected {
                continue; // QoS 1 may deliver a part twice.
            }
            if reply.part > self.expected {
                break;
            }
            self.expected += 1;
            self.over = reply.last;
            if let ReplyBody::Error { message } = reply.body {
                self.over = true;
                let node = self.node.clone();
                return Err(CallError::Refused { node, message });
            }
            self.give_credit()?;
            return Ok(Some(reply.body));
        }
        Err(CallError::Incomplete {
            node: self.node.clone(),
        })
    }

    /// Half of what may be under way was taken: as much again may come.
    fn give_credit(&mut self) -> Result<(), CallError> {
        if self.over || self.expected + CREDIT / 2 < self.granted {
            return Ok(());
        }
        self.granted = self.expected.saturating_add(CREDIT);
        let credit = CallBody::Credit {
            id: self.id,
            parts: self.granted,
        };
        self.calls.tell(&self.node, fastrand::u64(..), credit)
    }
}

async fn in_time<T>(
    node: &NodeName,
    limit: Duration,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let late = |_| CallError::Timeout {
        node: node.clone(),
        after: limit,
    };
    tokio::time::timeout(limit, work).await.map_err(late)?
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
        let whole = async {
            let mut conversation = self.ask(node, body)?;
            let mut text = String::new();
            while let Some(part) = conversation.next().await? {
                let ReplyBody::Logs { text: more } = part else {
                    return Err(CallError::Incomplete { node: node.clone() });
                };
                text.push_str(&more);
                if text.len() > LONGEST {
                    return Err(CallError::TooLong { node: node.clone() });
                }
            }
            Ok(text)
        };
        in_time(node, limit, whole).await
    }

    /// What a box finds on itself, and what its clock said then: milliseconds since 1970.
    pub async fn doctor(
        &self,
        node: &NodeName,
        limit: Duration,
    ) -> Result<(Vec<Finding>, u64), CallError> {
        let whole = async {
            let mut conversation = self.ask(node, CallBody::Doctor)?;
            match conversation.next().await? {
                Some(ReplyBody::Doctor { findings, wall_ms }) => Ok((findings, wall_ms)),
                _ => Err(CallError::Incomplete { node: node.clone() }),
            }
        };
        in_time(node, limit, whole).await
    }

    /// The forwarder's answer to a request that has one.
    pub async fn forwarder(
        &self,
        node: &NodeName,
        request: Request,
        limit: Duration,
    ) -> Result<Response, CallError> {
        let whole = async { Ok(self.pass(node, request).await?.0) };
        in_time(node, limit, whole).await
    }

    /// The forwarder's answer, and what follows it.
    pub async fn stream(
        &self,
        node: &NodeName,
        request: Request,
        limit: Duration,
    ) -> Result<(Response, Conversation), CallError> {
        in_time(node, limit, self.pass(node, request)).await
    }

    async fn pass(
        &self,
        node: &NodeName,
        request: Request,
    ) -> Result<(Response, Conversation), CallError> {
        let body = CallBody::Forwarder {
            request: Box::new(request),
            credit: CREDIT,
        };
        let mut conversation = self.ask(node, body)?;
        match conversation.next().await? {
            Some(ReplyBody::Forwarder { response }) => Ok((*response, conversation)),
            _ => Err(CallError::Incomplete { node: node.clone() }),
        }
    }

    fn ask(&self, node: &NodeName, body: CallBody) -> Result<Conversation, CallError> {
        if !self.link.connected() {
            return Err(CallError::Disconnected);
        }
        let id = fastrand::u64(..);
        let (sender, parts) = mpsc::channel(PARTS);
        self.lock().insert((node.clone(), id), sender);
        let conversation = Conversation {
            calls: self.clone(),
            node: node.clone(),
            id,
            parts,
            expected: 0,
            granted: CREDIT,
            over: false,
        };
        self.tell(node, id, body)?;
        Ok(conversation)
    }

    fn tell(&self, node: &NodeName, id: u64, body: CallBody) -> Result<(), CallError> {
        let topic = Topic::Call(node.clone(), id);
        let payload = encode(&Call { body })?;
        self.link.publish(message(&self.domain, &topic, payload))?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
