//! Messages from boxes, read and checked. Whatever is wrong with one is said, and nothing else
//! happens: a broken agent must not stop a controller.

use kc_agent_api::{
    DomainName, Event, LoadReport, NodeName, NodeState, NodeStatus, Payload, PayloadError, Reply,
    Topic, TopicError, TunnelReport, decode,
};
use kc_mqtt::Message;

/// What a box said.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// Presence.
    Status(Box<NodeStatus>),
    /// Observed state; a retained one is old news.
    State {
        /// The box.
        node: NodeName,
        /// Its state.
        state: Box<NodeState>,
        /// Whether the broker had kept it.
        retained: bool,
    },
    /// A load sample.
    Load(NodeName, Box<LoadReport>),
    /// Tunnel counters.
    Tunnel(NodeName, Box<TunnelReport>),
    /// Something happened.
    Event(NodeName, Box<Event>),
    /// A part of an answer.
    Reply(NodeName, u64, Box<Reply>),
    /// The broker keeps an alarm of that name.
    Alarm(String),
    /// A retained message was cleared.
    Cleared,
}

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not one of our topics.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Another domain's.
    #[error("domain {0} is not ours")]
    Domain(DomainName),
    /// A topic only controllers write to.
    #[error("{0} is written by controllers only")]
    Direction(Topic),
    /// Unreadable.
    #[error("{topic}: {source}{}", cause(.source))]
    Payload {
        /// Where it came.
        topic: Topic,
        /// What is wrong with it.
        source: PayloadError,
    },
    /// A box spoke for another.
    #[error("{topic} carries the status of {claimed}")]
    Impostor {
        /// Where it came.
        topic: Topic,
        /// Whose status it says it is.
        claimed: NodeName,
    },
}

fn cause(error: &PayloadError) -> String {
    std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"))
}

impl Refusal {
    /// The box whose topic it came on.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Payload { topic, .. } | Self::Impostor { topic, .. } | Self::Direction(topic) => {
                node(topic)
            }
            Self::Topic(_) | Self::Domain(_) => None,
        }
    }

    /// One word for what was wrong, the same for messages that are wrong alike.
    pub fn about(&self) -> String {
        match self {
            Self::Payload { topic, .. } | Self::Impostor { topic, .. } | Self::Direction(topic) => {
                topic.to_string()
            }
            Self::Topic(error) => error.0.clone(),
            Self::Domain(domain) => domain.to_string(),
        }
    }
}

const fn node(topic: &Topic) -> Option<&NodeName> {
    match topic {
        Topic::Status(node)
        | Topic::Spec(node)
        | Topic::State(node)
        | Topic::Load(node)
        | Topic::Tunnel(node)
        | Topic::Event(node)
        | Topic::Ack(node)
        | Topic::Call(node, _)
        | Topic::Reply(node, _) => Some(node),
        Topic::Alarm(_) | Topic::Controller => None,
    }
}

/// Reads a message of `domain`.
pub fn read(domain: &DomainName, message: &Message) -> Result<Inbound, Refusal> {
    let (named, topic) = Topic::parse(&message.topic)?;
    if named != *domain {
        return Err(Refusal::Domain(named));
    }
    if message.payload.is_empty() {
        return Ok(Inbound::Cleared);
    }
    let bytes = &message.payload;
    Ok(match topic {
        Topic::Status(ref node) => {
            let status: NodeStatus = body(&topic, bytes)?;
            if status.node != *node {
                let claimed = status.node;
                return Err(Refusal::Impostor { topic, claimed });
            }
            Inbound::Status(Box::new(status))
        }
        Topic::State(ref node) => Inbound::State {
            node: node.clone(),
            state: Box::new(body(&topic, bytes)?),
            retained: message.retain,
        },
        Topic::Load(ref node) => Inbound::Load(node.clone(), Box::new(body(&topic, bytes)?)),
        Topic::Tunnel(ref node) => Inbound::Tunnel(node.clone(), Box::new(body(&topic, bytes)?)),
        Topic::Event(ref node) => Inbound::Event(node.clone(), Box::new(body(&topic, bytes)?)),
        Topic::Reply(ref node, id) => {
            Inbound::Reply(node.clone(), id, Box::new(body(&topic, bytes)?))
        }
        // Our own word, or that of a former self.
        Topic::Alarm(name) => Inbound::Alarm(name),
        Topic::Spec(_) | Topic::Call(..) | Topic::Ack(_) | Topic::Controller => {
            return Err(Refusal::Direction(topic));
        }
    })
}

fn body<T: Payload>(topic: &Topic, bytes: &[u8]) -> Result<T, Refusal> {
    decode(bytes).map_err(|source| Refusal::Payload {
        topic: topic.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::encode;
    use kc_mqtt::QoS;

    fn lab() -> DomainName {
        DomainName::new("lab").unwrap()
    }

    fn message(topic: &str, payload: &[u8]) -> Message {
        Message {
            topic: topic.to_owned(),
            payload: payload.to_vec(),
            qos: QoS::AtLeastOnce,
            retain: true,
        }
    }

    #[test]
    fn a_state_says_whether_it_is_old_news() {
        let bytes = encode(&NodeState::default()).unwrap();
        let inbound = read(&lab(), &message("kcluster/lab/node/a/state", &bytes)).unwrap();
        assert!(matches!(inbound, Inbound::State { retained: true, .. }));
    }

    #[test]
    fn rubbish_is_refused_and_names_its_topic() {
        for (topic, payload) in [
            ("kcluster/lab/node/a/state", &b"\xff\x00"[..]),
            ("kcluster/lab/node/a/load", b"{\"v\":9}"),
            ("kcluster/lab/node/a/status", b"{\"v\":1}"),
            ("kcluster/lab/node/a/spec", b"{\"v\":1}"),
            ("kcluster/other/node/a/state", b"{}"),
            ("elsewhere", b"{}"),
        ] {
            let refusal = read(&lab(), &message(topic, payload)).unwrap_err();
            assert!(!refusal.to_string().is_empty() && !refusal.about().is_empty());
        }
    }

    #[test]
    fn an_empty_payload_is_a_cleared_topic() {
        let inbound = read(&lab(), &message("kcluster/lab/node/a/status", b"")).unwrap();
        assert_eq!(inbound, Inbound::Cleared);
    }
}
