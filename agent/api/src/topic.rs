//! Every MQTT topic of K-Cluster, in both directions: built here, parsed here, nowhere else.

use crate::{DomainName, NodeName};
use std::fmt;

/// A topic below `kcluster/<domain>/`.
///
/// ```
/// use kc_agent_api::{DomainName, NodeName, Topic};
/// let domain = DomainName::new("lab").unwrap();
/// let topic = Topic::Spec(NodeName::new("pi-1").unwrap());
/// assert_eq!(topic.name(&domain), "kcluster/lab/node/pi-1/spec");
/// assert_eq!(Topic::parse("kcluster/lab/node/pi-1/spec").unwrap(), (domain, topic));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Retained, QoS 1, last will `offline`; from the agent.
    Status(NodeName),
    /// Retained, QoS 1; the desired document, from the controller.
    Spec(NodeName),
    /// Retained, QoS 1; what the agent observes.
    State(NodeName),
    /// QoS 0, every second; from the agent.
    Load(NodeName),
    /// QoS 0; per-VTEP counters from the agent.
    Tunnel(NodeName),
    /// QoS 1; numbered per boot, from the agent.
    Event(NodeName),
    /// QoS 1; which events the controller has stored.
    Ack(NodeName),
    /// QoS 1; a request to the agent.
    Call(NodeName, u64),
    /// QoS 1; the agent's answer.
    Reply(NodeName, u64),
    /// Retained, QoS 1; from the controller.
    Alarm(String),
    /// Retained, QoS 1, last will `offline`; from the controller, of itself.
    Controller,
}

/// A topic that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no topic of K-Cluster")]
pub struct TopicError(pub String);

impl Topic {
    /// The full topic name in `domain`.
    pub fn name(&self, domain: &DomainName) -> String {
        format!("kcluster/{domain}/{self}")
    }

    /// Reads a full topic name.
    pub fn parse(name: &str) -> Result<(DomainName, Self), TopicError> {
        let refuse = || TopicError(name.to_owned());
        let mut parts = name.split('/');
        let mut next = || parts.next().ok_or_else(refuse);
        if next()? != "kcluster" {
            return Err(refuse());
        }
        let domain = DomainName::new(next()?).map_err(|_| refuse())?;
        let topic = match next()? {
            "alarm" => Self::Alarm(next()?.to_owned()),
            "controller" => Self::Controller,
            "node" => {
                let node = NodeName::new(next()?).map_err(|_| refuse())?;
                let id = |text: &str| text.parse().map_err(|_| refuse());
                match next()? {
                    "status" => Self::Status(node),
                    "spec" => Self::Spec(node),
                    "state" => Self::State(node),
                    "load" => Self::Load(node),
                    "tunnel" => Self::Tunnel(node),
                    "event" => Self::Event(node),
                    "ack" => Self::Ack(node),
                    "call" => Self::Call(node, id(next()?)?),
                    "reply" => Self::Reply(node, id(next()?)?),
                    _ => return Err(refuse()),
                }
            }
            _ => return Err(refuse()),
        };
        if parts.next().is_some() {
            Err(refuse())
        } else {
            Ok((domain, topic))
        }
    }

    /// Whether the broker keeps the last payload for late subscribers.
    pub const fn retained(&self) -> bool {
        matches!(
            self,
            Self::Status(_) | Self::Spec(_) | Self::State(_) | Self::Alarm(_) | Self::Controller
        )
    }

    /// MQTT quality of service: 0 for samples that the next one replaces, otherwise 1.
    pub const fn qos(&self) -> u8 {
        match self {
            Self::Load(_) | Self::Tunnel(_) => 0,
            _ => 1,
        }
    }

    /// Filters an agent subscribes to.
    pub fn agent_filters(domain: &DomainName, node: &NodeName) -> [String; 4] {
        [
            format!("kcluster/{domain}/node/{node}/spec"),
            format!("kcluster/{domain}/node/{node}/call/+"),
            format!("kcluster/{domain}/node/{node}/ack"),
            format!("kcluster/{domain}/controller"),
        ]
    }

    /// Filters a controller subscribes to: what boxes say, and its own alarms, so that it finds
    /// those the broker has kept from a former life.
    pub fn controller_filters(domain: &DomainName) -> [String; 7] {
        let of_nodes = ["status", "state", "load", "tunnel", "event", "reply/+"];
        let [a, b, c, d, e, f] = of_nodes.map(|leaf| format!("kcluster/{domain}/node/+/{leaf}"));
        [a, b, c, d, e, f, format!("kcluster/{domain}/alarm/+")]
    }
}

impl fmt::Display for Topic {
    /// The topic below its domain.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(node) => write!(f, "node/{node}/status"),
            Self::Spec(node) => write!(f, "node/{node}/spec"),
            Self::State(node) => write!(f, "node/{node}/state"),
            Self::Load(node) => write!(f, "node/{node}/load"),
            Self::Tunnel(node) => write!(f, "node/{node}/tunnel"),
            Self::Event(node) => write!(f, "node/{node}/event"),
            Self::Ack(node) => write!(f, "node/{node}/ack"),
            Self::Call(node, id) => write!(f, "node/{node}/call/{id}"),
            Self::Reply(node, id) => write!(f, "node/{node}/reply/{id}"),
            Self::Alarm(name) => write!(f, "alarm/{name}"),
            Self::Controller => f.write_str("controller"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_survives_its_name() {
        let domain = DomainName::new("lab").unwrap();
        let node = NodeName::new("pi-1").unwrap();
        for topic in [
            Topic::Status(node.clone()),
            Topic::Spec(node.clone()),
            Topic::State(node.clone()),
            Topic::Load(node.clone()),
            Topic::Tunnel(node.clone()),
            Topic::Event(node.clone()),
            Topic::Ack(node.clone()),
            Topic::Call(node.clone(), 7),
            Topic::Reply(node, u64::MAX),
            Topic::Alarm("hot".into()),
            Topic::Controller,
        ] {
            assert_eq!(
                Topic::parse(&topic.name(&domain)).unwrap(),
                (domain.clone(), topic)
            );
        }
    }

    #[test]
    fn a_foreign_topic_is_refused() {
        for wrong in [
            "",
            "kcluster",
            "kcluster/lab/node/pi/specs",
            "kcluster/lab/node/pi/spec/x",
            "kcluster/lab/node/pi/call/x",
            "kcluster/lab/controller/x",
            "other/lab/node/pi/spec",
        ] {
            assert!(Topic::parse(wrong).is_err(), "{wrong}");
        }
    }
}
