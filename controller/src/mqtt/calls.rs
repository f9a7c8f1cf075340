//! Questions to boxes and their answers, matched by number. Whoever stops waiting is forgotten.

use super::conversation::{Conversation, Heard};
use super::message;
use kc_agent_api::{
    Call, CallBody, DomainName, Entry, Finding, NodeName, PayloadError, Reply, ReplyBody, Topic,
    encode,
};
use kc_forwarder_api::{Request, Response};
use kc_mqtt::{Link, PublishError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Parts of a long answer that may be under way.
pub(crate) const CREDIT: u32 = 32;
/// Parts that may wait to be read: what may be under way, and a last word that needs no credit.
const PARTS: usize = 2 * CREDIT as usize;

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
    /// The box went away while it answered.
    #[error("{node} went offline")]
    Offline {
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

type Waiting = HashMap<(NodeName, u64), Listener>;

/// Who waits for an answer.
#[derive(Debug)]
struct Listener {
    parts: mpsc::Sender<Heard>,
    /// Parts of input that the box takes altogether.
    allowed: watch::Sender<u32>,
}

/// Asks boxes; clones share the open questions.
#[derive(Debug, Clone)]
pub struct Calls {
    domain: DomainName,
    link: Link,
    waiting: Arc<Mutex<Waiting>>,
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
        let mut waiting = self.lock();
        let Some(listener) = waiting.get(&key) else {
            return;
        };
        if let ReplyBody::Credit { parts } | ReplyBody::Begun { credit: parts, .. } = reply.body {
            let more = |held: &mut u32| *held = parts.max(*held);
            listener.allowed.send_modify(more);
        }
        if matches!(reply.body, ReplyBody::Credit { .. }) {
            return;
        }
        // A full queue means a box that sends far more than was asked for: it is cut off.
        if listener.parts.try_send(Heard::Reply(reply)).is_err() {
            waiting.remove(&key);
        }
    }

    /// A box is offline: it answers nothing any more.
    pub fn offline(&self, node: &NodeName) {
        let mut waiting = self.lock();
        let theirs = waiting.extract_if(|(named, _), _| named == node);
        theirs.for_each(|(_, listener)| drop(listener.parts.try_send(Heard::Offline)));
    }

    /// The broker is not connected: what boxes say meanwhile is lost.
    pub fn disconnected(&self) {
        let all = std::mem::take(&mut *self.lock());
        for listener in all.into_values() {
            let _ = listener.parts.try_send(Heard::Disconnected);
        }
    }

    /// Begins an answer of many parts. What is at the path that `body` names, if it names one.
    pub async fn begin(
        &self,
        node: &NodeName,
        body: CallBody,
        limit: Duration,
    ) -> Result<(Option<Entry>, Conversation), CallError> {
        let whole = async {
            let mut conversation = self.ask(node, body)?;
            match conversation.next().await? {
                Some(ReplyBody::Begun { entry, .. }) => Ok((entry, conversation)),
                _ => Err(CallError::Incomplete { node: node.clone() }),
            }
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
        let (parts, heard) = mpsc::channel(PARTS);
        let (allowed, allowance) = watch::channel(0);
        let listener = Listener { parts, allowed };
        self.lock().insert((node.clone(), id), listener);
        let conversation = Conversation::new(self.clone(), node.clone(), id, heard, allowance);
        self.tell(node, id, body)?;
        Ok(conversation)
    }

    /// Nobody waits for an answer any more; a box that still gives it is told so.
    pub(super) fn forget(&self, node: &NodeName, id: u64, over: bool) {
        self.lock().remove(&(node.clone(), id));
        if !over {
            // A box that does not hear it finds out when it hears nothing more.
            let _ = self.say(node, CallBody::Cancel { id });
        }
    }

    pub(super) fn connected(&self) -> bool {
        self.link.connected()
    }

    /// Says something about a call.
    pub(super) fn say(&self, node: &NodeName, body: CallBody) -> Result<(), CallError> {
        self.tell(node, fastrand::u64(..), body)
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
