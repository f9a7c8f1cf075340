//! What the tests of the link share: brokers that can be killed, a network that can be cut, and
//! a reader that waits for what it wants to see.

use kc_mqtt::{Config, Incoming, Link, Message, QoS};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A link that notices a dead peer soon.
pub(crate) fn config(port: u16, client: &str) -> Config {
    Config {
        keep_alive: Duration::from_secs(1),
        ..Config::new("127.0.0.1", port, client)
    }
}

/// The same with a subscription.
pub(crate) fn reader(port: u16, client: &str, filter: &str) -> Config {
    Config {
        subscriptions: vec![(filter.into(), QoS::AtLeastOnce)],
        ..config(port, client)
    }
}

/// A QoS 1 message.
pub(crate) fn event(topic: &str, payload: impl ToString) -> Message {
    Message {
        topic: topic.into(),
        payload: payload.to_string().into_bytes(),
        qos: QoS::AtLeastOnce,
        retain: false,
    }
}

/// A retained QoS 1 message.
pub(crate) fn retained(topic: &str, payload: impl ToString) -> Message {
    Message {
        retain: true,
        ..event(topic, payload)
    }
}

/// The payload as text.
pub(crate) fn text(message: &Message) -> String {
    String::from_utf8(message.payload.clone()).unwrap()
}

/// The next thing told.
pub(crate) async fn next(receiver: &mut Receiver<Incoming>) -> Incoming {
    timeout(PATIENCE, receiver.recv())
        .await
        .expect("told in time")
        .expect("link is alive")
}

/// The next message, whatever happens to the connection.
pub(crate) async fn next_message(receiver: &mut Receiver<Incoming>) -> Message {
    loop {
        if let Incoming::Message(message) = next(receiver).await {
            return message;
        }
    }
}

/// Waits for a connection.
pub(crate) async fn connected(receiver: &mut Receiver<Incoming>) {
    while next(receiver).await != Incoming::Connected {}
}

/// Waits for the end of a connection.
pub(crate) async fn disconnected(receiver: &mut Receiver<Incoming>) -> String {
    loop {
        if let Incoming::Disconnected { reason } = next(receiver).await {
            return reason;
        }
    }
}

/// Publishes numbers `range` to `topic`, waiting while the queue is full.
pub(crate) async fn publish_numbers(link: &Link, topic: &str, range: std::ops::Range<u32>) {
    for number in range {
        while let Err(error) = link.publish(event(topic, number)) {
            assert!(
                matches!(error, kc_mqtt::PublishError::Full { .. }),
                "{error}"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Reads until every number below `count` was seen; returns how many messages came twice.
pub(crate) async fn collect_numbers(receiver: &mut Receiver<Incoming>, count: u32) -> usize {
    let mut seen = BTreeSet::new();
    let mut twice = 0;
    let limit = count as usize;
    while seen.len() < limit {
        let Ok(told) = timeout(PATIENCE, receiver.recv()).await else {
            let lost: Vec<u32> = (0..count).filter(|n| !seen.contains(n)).collect();
            panic!("{} of {count} seen, missing {lost:?}", seen.len());
        };
        if let Incoming::Message(message) = told.expect("link is alive") {
            twice += usize::from(!seen.insert(text(&message).parse::<u32>().unwrap()));
        }
    }
    twice
}
