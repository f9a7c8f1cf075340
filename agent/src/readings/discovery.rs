//! What Home Assistant has been told, and what it has to be told now. Pure: takes what was
//! measured and heard, returns messages. The broker's retained messages are the memory: what it
//! still keeps of a container that went while nobody was here is found there and removed.

use super::config::TopicPrefix;
use super::entities::{self, Shape};
use crate::status::Identity;
use kc_agent_api::NodeState;
use kc_mqtt::{Message, QoS};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The discovery topics of one box.
#[derive(Debug)]
pub struct Discovery {
    identity: Arc<Identity>,
    /// Absent where nobody wants discovery.
    prefix: Option<TopicPrefix>,
    /// Below which of our topics anything may lie, from now and from before.
    bases: BTreeSet<String>,
    shape: Shape,
    wanted: BTreeMap<String, Vec<u8>>,
    /// What the broker keeps and we do not want; removed as soon as we know the containers.
    strange: BTreeSet<String>,
}

impl Discovery {
    /// Discovery under `prefix`. `former` are [`entities::base`]s of earlier lives.
    pub fn new(
        identity: Arc<Identity>,
        prefix: Option<TopicPrefix>,
        former: impl IntoIterator<Item = String>,
    ) -> Self {
        let now = prefix
            .iter()
            .map(|prefix| entities::base(prefix, &identity));
        let bases = now.chain(former).collect();
        Self {
            identity,
            prefix,
            bases,
            shape: Shape::default(),
            wanted: BTreeMap::new(),
            strange: BTreeSet::new(),
        }
    }

    /// Where the messages of now lie, if there are to be any.
    pub fn base(&self) -> Option<String> {
        let prefix = self.prefix.as_ref();
        prefix.map(|prefix| entities::base(prefix, &self.identity))
    }

    /// What to subscribe to: what the broker keeps of us, and Home Assistant's birth.
    pub fn filters(&self) -> Vec<String> {
        let kept = self.bases.iter().map(|base| format!("{base}/+/config"));
        kept.chain(self.birth()).collect()
    }

    /// A connection stands; the broker may have forgotten everything.
    pub fn connected(&mut self) -> Vec<Message> {
        self.strange.clear();
        self.everything()
    }

    /// A message of the broker's. `None` when it is none of ours.
    pub fn heard(&mut self, message: &Message) -> Option<Vec<Message>> {
        if self.birth().is_some_and(|birth| message.topic == birth) {
            // One that was retained says nothing of now, and we have told everything already.
            let born = message.payload == b"online" && !message.retain;
            return Some(if born { self.everything() } else { Vec::new() });
        }
        let (base, _) = message.topic.strip_suffix("/config")?.rsplit_once('/')?;
        if !self.bases.contains(base) {
            return None;
        }
        // Our own messages come back too.
        if message.payload.is_empty() {
            self.strange.remove(&message.topic);
        } else if !self.wanted.contains_key(&message.topic) {
            self.strange.insert(message.topic.clone());
        }
        Some(self.clear())
    }

    /// Whether everything that nobody wants has been removed, as far as we have heard of it.
    pub fn settled(&self) -> bool {
        self.strange.is_empty()
    }

    /// A report of this shape goes out.
    pub fn reported(&mut self, mut shape: Shape) -> Vec<Message> {
        let Some(prefix) = &self.prefix else {
            return Vec::new();
        };
        // A sensor that is silent for once has not gone.
        shape.temperature |= self.shape.temperature;
        shape.throttled |= self.shape.throttled;
        if shape == self.shape {
            return Vec::new();
        }
        let wanted = entities::render(prefix, &self.identity, &shape);
        let told = wanted.iter();
        let mut messages: Vec<_> = told
            .filter(|(topic, payload)| self.wanted.get(*topic) != Some(*payload))
            .map(|(topic, payload)| retained(topic, payload.clone()))
            .collect();
        self.strange.retain(|topic| !wanted.contains_key(topic));
        let before = std::mem::replace(&mut self.wanted, wanted);
        let gone = before
            .into_keys()
            .filter(|topic| !self.wanted.contains_key(topic));
        self.strange.extend(gone);
        self.shape = shape;
        messages.extend(self.clear());
        messages
    }

    /// The state has changed, and with it perhaps the containers.
    pub fn observed(&mut self, state: &NodeState) -> Vec<Message> {
        if self.wanted.is_empty() {
            // The first report tells of everything.
            return Vec::new();
        }
        self.reported(self.shape.clone().with(state))
    }

    fn birth(&self) -> Option<String> {
        self.prefix
            .as_ref()
            .map(|prefix| format!("{prefix}/status"))
    }

    fn everything(&self) -> Vec<Message> {
        let all = self.wanted.iter();
        all.map(|(topic, payload)| retained(topic, payload.clone()))
            .collect()
    }

    /// Removes what nobody wants. Not before the box was looked at: until then nobody knows.
    fn clear(&mut self) -> Vec<Message> {
        if self.prefix.is_some() && self.shape.containers.is_none() {
            return Vec::new();
        }
        let strange = std::mem::take(&mut self.strange).into_iter();
        strange.map(|topic| retained(&topic, Vec::new())).collect()
    }
}

fn retained(topic: &str, payload: Vec<u8>) -> Message {
    Message {
        topic: topic.to_owned(),
        payload,
        qos: QoS::AtLeastOnce,
        retain: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::example;

    const BASE: &str = "homeassistant/device/kcluster_lab_pi-1";

    fn discovery() -> Discovery {
        Discovery::new(Arc::new(example()), Some(TopicPrefix::default()), [])
    }

    fn shape(containers: Option<&[&str]>) -> Shape {
        Shape {
            interval_s: 1,
            containers: containers.map(|names| names.iter().map(|n| n.to_string()).collect()),
            ..Shape::default()
        }
    }

    fn heard(topic: &str, payload: &[u8], retain: bool) -> Message {
        Message {
            retain,
            ..retained(topic, payload.to_vec())
        }
    }

    /// Objects told of, with a minus where they are removed.
    fn told(messages: &[Message]) -> Vec<String> {
        assert!(
            messages
                .iter()
                .all(|m| m.retain && m.qos == QoS::AtLeastOnce)
        );
        let object = |m: &Message| {
            let rest = m.topic.rsplit_once("/device/").unwrap().1;
            let object = rest.split('/').nth(1).unwrap();
            format!("{}{object}", if m.payload.is_empty() { "-" } else { "" })
        };
        messages.iter().map(object).collect()
    }

    #[test]
    fn only_what_changes_is_told() {
        let mut discovery = discovery();
        assert!(discovery.connected().is_empty());
        assert_eq!(told(&discovery.reported(shape(None))), ["box"]);
        let two = shape(Some(&["a", "b"]));
        assert_eq!(
            told(&discovery.reported(two.clone())),
            ["container-a", "container-b"]
        );
        assert!(discovery.reported(two.clone()).is_empty());
        assert_eq!(
            told(&discovery.reported(shape(Some(&["b"])))),
            ["-container-a"]
        );
        let slower = Shape {
            interval_s: 9,
            ..shape(Some(&["b"]))
        };
        assert_eq!(told(&discovery.reported(slower)), ["box", "container-b"]);
        assert_eq!(told(&discovery.connected()), ["box", "container-b"]);
    }

    #[test]
    fn a_container_that_goes_between_reports_is_removed_at_once() {
        let mut discovery = discovery();
        let state = NodeState {
            spec_generation: 1,
            ..NodeState::default()
        };
        assert!(discovery.observed(&state).is_empty());
        discovery.reported(shape(Some(&["a"])));
        assert_eq!(told(&discovery.observed(&state)), ["-container-a"]);
        assert!(discovery.observed(&state).is_empty());
    }

    #[test]
    fn a_sensor_that_is_silent_for_once_stays() {
        let mut discovery = discovery();
        let hot = Shape {
            temperature: true,
            ..shape(None)
        };
        assert_eq!(told(&discovery.reported(hot)), ["box", "temperature"]);
        assert!(discovery.reported(shape(None)).is_empty());
    }

    #[test]
    fn everything_is_told_again_when_home_assistant_is_born() {
        let mut discovery = discovery();
        discovery.reported(shape(Some(&["a"])));
        let status = "homeassistant/status";
        let born = discovery.heard(&heard(status, b"online", false)).unwrap();
        assert_eq!(told(&born), ["box", "container-a"]);
        for (payload, retain) in [(b"offline".as_slice(), false), (b"online", true)] {
            let answer = discovery.heard(&heard(status, payload, retain));
            assert_eq!(answer, Some(Vec::new()));
        }
        assert_eq!(
            discovery.heard(&heard("kcluster/lab/node/pi-1/spec", b"{}", true)),
            None
        );
    }

    #[test]
    fn what_went_while_nobody_was_here_is_removed_once_the_box_was_looked_at() {
        let mut discovery = discovery();
        for object in ["box", "container-old", "container-new"] {
            let kept = heard(&format!("{BASE}/{object}/config"), b"{}", true);
            assert_eq!(discovery.heard(&kept), Some(Vec::new()));
        }
        assert_eq!(told(&discovery.reported(shape(None))), ["box"]);
        assert!(!discovery.settled());
        assert_eq!(
            told(&discovery.reported(shape(Some(&["new"])))),
            ["container-new", "-container-old"]
        );
        assert!(discovery.settled());
        let late = heard(&format!("{BASE}/container-older/config"), b"{}", true);
        assert_eq!(told(&discovery.heard(&late).unwrap()), ["-container-older"]);
        let echo = heard(&format!("{BASE}/container-new/config"), b"{}", false);
        assert_eq!(discovery.heard(&echo), Some(Vec::new()));
        let gone = heard(&format!("{BASE}/container-older/config"), b"", false);
        assert_eq!(discovery.heard(&gone), Some(Vec::new()));
    }

    #[test]
    fn discovery_that_is_off_removes_what_there_was_and_tells_nothing() {
        let mut off = Discovery::new(Arc::new(example()), None, [BASE.to_owned()]);
        assert_eq!(off.filters(), [format!("{BASE}/+/config")]);
        assert!(off.reported(shape(Some(&["a"]))).is_empty());
        let kept = heard(&format!("{BASE}/box/config"), b"{}", true);
        assert_eq!(told(&off.heard(&kept).unwrap()), ["-box"]);
        assert_eq!(
            off.heard(&heard("homeassistant/status", b"online", false)),
            None
        );
        let never = Discovery::new(Arc::new(example()), None, []);
        assert!(never.filters().is_empty());
    }

    #[test]
    fn a_new_prefix_clears_the_one_before() {
        let prefix = "house".parse().unwrap();
        let mut moved = Discovery::new(Arc::new(example()), Some(prefix), [BASE.to_owned()]);
        assert_eq!(
            moved.filters(),
            [
                format!("{BASE}/+/config"),
                "house/device/kcluster_lab_pi-1/+/config".into(),
                "house/status".into()
            ]
        );
        moved.heard(&heard(&format!("{BASE}/box/config"), b"{}", true));
        assert_eq!(told(&moved.reported(shape(Some(&[])))), ["box", "-box"]);
    }
}
