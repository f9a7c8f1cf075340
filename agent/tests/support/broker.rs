//! A broker on a test's box, and somebody who listens to it.

use super::PATIENCE;
use kc_mqtt::{Config, Incoming, Link, Message, QoS};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// Mosquitto on the box's own loopback; gone when dropped.
pub(crate) struct Broker(Child);

impl Broker {
    /// `None`, said aloud, where there is none. In CI there must be one.
    pub(crate) fn start() -> Option<Self> {
        let program = PathBuf::from("/usr/sbin/mosquitto");
        if !program.exists() {
            let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!ci, "mosquitto is not installed, and CI must have it");
            eprintln!("skipped: mosquitto is not installed");
            return None;
        }
        let mut command = Command::new(program);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Some(Self(command.spawn().unwrap()))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Hears all that is said below some filters, and remembers the last of each topic.
pub(crate) struct Listener {
    pub(crate) link: Link,
    pub(crate) heard: BTreeMap<String, Message>,
    incoming: Receiver<Incoming>,
}

impl Listener {
    pub(crate) async fn start(name: &str, filters: &[&str]) -> Self {
        let mut config = Config::new("127.0.0.1", 1883, name);
        let filters = filters.iter().map(|filter| filter.to_string());
        config.subscriptions = filters.map(|filter| (filter, QoS::AtLeastOnce)).collect();
        let (link, mut incoming) = Link::start(config);
        while timeout(PATIENCE, incoming.recv()).await.unwrap() != Some(Incoming::Connected) {}
        Self {
            link,
            heard: BTreeMap::new(),
            incoming,
        }
    }

    /// Listens until what was heard is as `wanted` says.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        wanted: impl Fn(&BTreeMap<String, Message>) -> bool,
    ) {
        while !wanted(&self.heard) {
            match timeout(PATIENCE, self.incoming.recv()).await {
                Ok(Some(Incoming::Message(message))) => {
                    self.heard.insert(message.topic.clone(), message);
                }
                Ok(Some(_)) => {}
                _ => panic!("never: {what}: {:#?}", self.heard.keys()),
            }
        }
    }

    /// The JSON last heard on `topic`.
    pub(crate) fn json(&self, topic: &str) -> serde_json::Value {
        serde_json::from_slice(&self.heard[topic].payload).unwrap()
    }

    /// Says something, retained or not.
    pub(crate) fn say(&self, topic: &str, payload: impl Into<Vec<u8>>, retain: bool) {
        let message = Message {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain,
        };
        self.link.publish(message).unwrap();
    }
}
