//! Messages on their way in, waiting for the reader. Pure.

use crate::{Incoming, Message, QoS};
use std::collections::VecDeque;

/// The bounded queue of incoming messages.
#[derive(Debug)]
pub(crate) struct Inbox {
    capacity: usize,
    ready: VecDeque<Incoming>,
    /// Messages that came between CONNACK and SUBACK wait for [`Incoming::Connected`].
    early: Option<Vec<Message>>,
    dropped: u64,
}

impl Inbox {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            ready: VecDeque::new(),
            early: None,
            dropped: 0,
        }
    }

    /// A connection begins: what comes now is told after `connected`.
    pub(crate) fn connecting(&mut self) {
        self.early.get_or_insert_default();
    }

    /// The connection is gone. Messages that waited for its SUBACK are acknowledged already, so
    /// they are told all the same.
    pub(crate) fn ended(&mut self) {
        self.release_early();
    }

    /// All subscriptions are in force.
    pub(crate) fn connected(&mut self) {
        self.ready.push_back(Incoming::Connected);
        self.release_early();
    }

    /// There is no connection. One the reader has not heard of yet is not told at all.
    pub(crate) fn disconnected(&mut self, reason: String) {
        if self.ready.back() == Some(&Incoming::Connected) {
            self.ready.pop_back();
        }
        if let Some(Incoming::Disconnected { reason: earlier }) = self.ready.back_mut() {
            *earlier = reason;
        } else {
            self.ready.push_back(Incoming::Disconnected { reason });
        }
    }

    /// Queues a message. Without room, a QoS 0 message takes the place of an older one to the same
    /// topic, or is dropped. A QoS 1 message is always taken; `false` says that no more must come
    /// until [`Inbox::has_room`].
    pub(crate) fn push(&mut self, message: Message) -> bool {
        let early = self.early.as_ref().map_or(0, Vec::len);
        let full = self.ready.len() + early >= self.capacity;
        if full && message.qos == QoS::AtMostOnce {
            self.replace(message);
            return true;
        }
        match &mut self.early {
            Some(early) => early.push(message),
            None => self.ready.push_back(Incoming::Message(message)),
        }
        !full
    }

    /// The next thing to tell.
    pub(crate) fn pop(&mut self) -> Option<Incoming> {
        self.ready.pop_front()
    }

    /// Whether at least half of the room is free.
    pub(crate) fn has_room(&self) -> bool {
        self.ready.len() <= self.capacity / 2
    }

    /// QoS 0 messages the reader was too slow for.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn replace(&mut self, message: Message) {
        self.dropped += 1;
        let ready = self.ready.iter_mut().filter_map(|told| match told {
            Incoming::Message(queued) => Some(queued),
            Incoming::Connected | Incoming::Disconnected { .. } => None,
        });
        let older = ready
            .chain(self.early.iter_mut().flatten())
            .find(|queued| queued.qos == QoS::AtMostOnce && queued.topic == message.topic);
        if let Some(older) = older {
            *older = message;
        }
    }

    fn release_early(&mut self) {
        let early = self.early.take().unwrap_or_default();
        self.ready.extend(early.into_iter().map(Incoming::Message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, payload: &str, qos: QoS) -> Message {
        Message {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            retain: false,
        }
    }

    fn told(inbox: &mut Inbox) -> Vec<String> {
        std::iter::from_fn(|| inbox.pop())
            .map(|told| match told {
                Incoming::Connected => "connected".into(),
                Incoming::Disconnected { reason } => reason,
                Incoming::Message(m) => String::from_utf8(m.payload).unwrap(),
            })
            .collect()
    }

    #[test]
    fn messages_before_the_suback_are_told_after_connected() {
        let mut inbox = Inbox::new(10);
        inbox.connecting();
        assert!(inbox.push(message("x", "1", QoS::AtLeastOnce)));
        assert_eq!(inbox.pop(), None);
        inbox.connected();
        assert_eq!(told(&mut inbox), ["connected", "1"]);
    }

    #[test]
    fn messages_of_a_connection_that_never_got_its_suback_are_told() {
        let mut inbox = Inbox::new(10);
        for payload in ["1", "2"] {
            inbox.connecting();
            inbox.push(message("x", payload, QoS::AtLeastOnce));
            inbox.ended();
        }
        inbox.connecting();
        inbox.push(message("x", "3", QoS::AtLeastOnce));
        inbox.connecting();
        inbox.connected();
        assert_eq!(told(&mut inbox), ["1", "2", "connected", "3"]);
    }

    #[test]
    fn a_flapping_broker_does_not_fill_the_inbox_of_a_stuck_reader() {
        let mut inbox = Inbox::new(10);
        for round in 0..100 {
            inbox.connecting();
            inbox.connected();
            inbox.disconnected(format!("lost {round}"));
        }
        assert_eq!(told(&mut inbox), ["lost 99"]);
    }

    #[test]
    fn a_slow_reader_gets_the_newest_samples_and_every_qos_1_message() {
        let mut inbox = Inbox::new(2);
        assert!(inbox.push(message("load", "1", QoS::AtMostOnce)));
        assert!(inbox.push(message("event", "e", QoS::AtLeastOnce)));
        assert!(inbox.push(message("load", "2", QoS::AtMostOnce)));
        assert!(inbox.push(message("other", "1", QoS::AtMostOnce)));
        assert!(!inbox.push(message("event", "f", QoS::AtLeastOnce)));
        assert!(!inbox.has_room());
        assert_eq!(inbox.dropped(), 2);
        assert_eq!(told(&mut inbox), ["2", "e", "f"]);
        assert!(inbox.has_room());
    }
}
