//! Messages on their way out, and who still owes an acknowledgement. Pure.
//!
//! Only a window of messages is ever handed to `rumqttc`; the rest waits here, where order is
//! kept and superseded messages can still be dropped.

use crate::{Message, QoS};
use std::collections::{HashSet, VecDeque};

/// QoS 1 messages handed over and not acknowledged.
pub(crate) const WINDOW: usize = 64;
/// Bytes of them, though one message of any size is always let through. A ping waits behind them
/// all, and its answer must not be late because a network is slow.
const WINDOW_BYTES: usize = 1 << 20;
/// QoS 0 messages handed over and not written.
pub(crate) const SAMPLES: usize = 32;

/// A message that came back from a lost connection.
#[derive(Debug)]
pub(crate) struct Returned {
    /// Its packet identifier, 0 when it never got one of its own.
    pub(crate) id: u16,
    pub(crate) message: Message,
}

/// The bounded queue of outgoing messages.
#[derive(Debug)]
pub(crate) struct Outbox {
    capacity: usize,
    /// QoS 1, oldest first.
    waiting: VecDeque<Message>,
    /// Sizes of QoS 1 messages handed over and not written yet, in order.
    handed: VecDeque<usize>,
    /// Identifiers and sizes of those written and not acknowledged, in order.
    sent: VecDeque<(u16, usize)>,
    /// Bytes of both.
    in_flight_bytes: usize,
    /// QoS 0, at most one per topic.
    samples: VecDeque<Message>,
    samples_handed: usize,
}

impl Outbox {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            waiting: VecDeque::new(),
            handed: VecDeque::new(),
            sent: VecDeque::new(),
            in_flight_bytes: 0,
            samples: VecDeque::new(),
            samples_handed: 0,
        }
    }

    /// Queues a message; gives it back when there is no room.
    pub(crate) fn push(&mut self, message: Message) -> Result<(), Message> {
        match message.qos {
            QoS::AtMostOnce => {
                if let Some(older) = self.samples.iter_mut().find(|m| m.topic == message.topic) {
                    *older = message;
                } else {
                    if self.samples.len() >= self.capacity {
                        self.samples.pop_front();
                    }
                    self.samples.push_back(message);
                }
            }
            QoS::AtLeastOnce => {
                let superseded = message.retain.then(|| {
                    self.waiting
                        .iter()
                        .position(|m| m.retain && m.topic == message.topic)
                });
                match superseded.flatten() {
                    Some(place) => drop(self.waiting.remove(place)),
                    None if self.unacknowledged() >= self.capacity => return Err(message),
                    None => {}
                }
                self.waiting.push_back(message);
            }
        }
        Ok(())
    }

    /// The next message to hand over, if a window is open. It counts as handed over.
    pub(crate) fn take(&mut self) -> Option<Message> {
        if self.window_takes_next()
            && let Some(message) = self.waiting.pop_front()
        {
            self.handed.push_back(message.payload.len());
            self.in_flight_bytes += message.payload.len();
            return Some(message);
        }
        if self.samples_handed < SAMPLES
            && let Some(message) = self.samples.pop_front()
        {
            self.samples_handed += 1;
            return Some(message);
        }
        None
    }

    /// Takes back the message `take` gave last, which could not be handed over.
    pub(crate) fn put_back(&mut self, message: Message) {
        match message.qos {
            QoS::AtLeastOnce => {
                let size = self.handed.pop_back().unwrap_or(0);
                self.in_flight_bytes = self.in_flight_bytes.saturating_sub(size);
                self.waiting.push_front(message);
            }
            QoS::AtMostOnce => {
                self.samples_handed = self.samples_handed.saturating_sub(1);
                self.samples.push_front(message);
            }
        }
    }

    /// A message was written under packet identifier `id`, 0 for QoS 0.
    pub(crate) fn written(&mut self, id: u16) {
        if id == 0 {
            self.samples_handed = self.samples_handed.saturating_sub(1);
        } else if let Some(size) = self.handed.pop_front() {
            self.sent.push_back((id, size));
        }
    }

    /// The broker has taken charge of message `id`.
    pub(crate) fn acknowledged(&mut self, id: u16) {
        let place = self.sent.iter().position(|(sent, _)| *sent == id);
        if let Some((_, size)) = place.and_then(|place| self.sent.remove(place)) {
            self.in_flight_bytes = self.in_flight_bytes.saturating_sub(size);
        }
    }

    /// QoS 1 messages the broker has not taken charge of.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.waiting.len() + self.in_flight()
    }

    fn in_flight(&self) -> usize {
        self.handed.len() + self.sent.len()
    }

    fn window_takes_next(&self) -> bool {
        let Some(next) = self.waiting.front() else {
            return false;
        };
        let bytes = self.in_flight_bytes + next.payload.len();
        self.in_flight() == 0 || (self.in_flight() < WINDOW && bytes <= WINDOW_BYTES)
    }

    /// The connection is gone. `returned` are the QoS 1 messages that were handed over and never
    /// acknowledged: they go to the front in the order they were sent, except those that a newer
    /// retained message to the same topic has made pointless.
    pub(crate) fn connection_lost(&mut self, mut returned: Vec<Returned>) {
        // Identifiers wrap round and brokers may acknowledge out of order, so neither the numbers
        // nor rumqttc's own order can be trusted.
        let place = |r: &Returned| self.sent.iter().position(|(sent, _)| *sent == r.id);
        returned.sort_by_key(|r| place(r).unwrap_or(usize::MAX));
        let mut newer: HashSet<String> = self
            .waiting
            .iter()
            .filter(|m| m.retain)
            .map(|m| m.topic.clone())
            .collect();
        for Returned { message, .. } in returned.into_iter().rev() {
            if !message.retain || newer.insert(message.topic.clone()) {
                self.waiting.push_front(message);
            }
        }
        self.handed.clear();
        self.sent.clear();
        self.in_flight_bytes = 0;
        self.samples_handed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, payload: &str, qos: QoS, retain: bool) -> Message {
        Message {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            retain,
        }
    }

    fn event(payload: &str) -> Message {
        message("event", payload, QoS::AtLeastOnce, false)
    }

    fn state(payload: &str) -> Message {
        message("state", payload, QoS::AtLeastOnce, true)
    }

    fn returned(id: u16, message: Message) -> Returned {
        Returned { id, message }
    }

    fn drain(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.take())
            .map(|m| String::from_utf8(m.payload).unwrap())
            .collect()
    }

    #[test]
    fn a_waiting_retained_message_gives_way_to_a_newer_one() {
        let mut outbox = Outbox::new(3);
        for m in [state("1"), event("a"), state("2"), event("b"), state("3")] {
            outbox.push(m).unwrap();
        }
        assert_eq!(drain(&mut outbox), ["a", "b", "3"]);
    }

    #[test]
    fn a_full_queue_gives_the_message_back_but_takes_a_replacement() {
        let mut outbox = Outbox::new(2);
        outbox.push(event("a")).unwrap();
        outbox.push(state("1")).unwrap();
        assert_eq!(outbox.push(event("b")).unwrap_err(), event("b"));
        outbox.push(state("2")).unwrap();
        outbox.take().unwrap();
        assert!(outbox.push(event("b")).is_err(), "in flight counts");
        outbox.written(1);
        outbox.acknowledged(1);
        outbox.push(event("b")).unwrap();
        assert_eq!(drain(&mut outbox), ["2", "b"]);
    }

    #[test]
    fn samples_keep_only_the_newest_of_a_topic_and_never_push_back() {
        let mut outbox = Outbox::new(2);
        for (topic, payload) in [("x", "1"), ("y", "1"), ("x", "2"), ("z", "1")] {
            outbox
                .push(message(topic, payload, QoS::AtMostOnce, false))
                .unwrap();
        }
        assert_eq!(outbox.unacknowledged(), 0);
        let topics: Vec<_> = std::iter::from_fn(|| outbox.take())
            .map(|m| m.topic)
            .collect();
        assert_eq!(topics, ["y", "z"]);
    }

    #[test]
    fn no_more_than_a_window_is_handed_over() {
        let mut outbox = Outbox::new(1000);
        for number in 0..200 {
            outbox.push(event(&number.to_string())).unwrap();
        }
        assert_eq!(drain(&mut outbox).len(), WINDOW);
        outbox.written(7);
        outbox.acknowledged(7);
        outbox.acknowledged(7);
        assert_eq!(drain(&mut outbox), [WINDOW.to_string()]);
        assert_eq!(outbox.unacknowledged(), 199);
    }

    #[test]
    fn large_messages_go_one_by_one_and_let_small_ones_along() {
        let mut outbox = Outbox::new(10);
        let large = "x".repeat(WINDOW_BYTES + 1);
        for payload in [&large, &large, "small"] {
            outbox.push(event(payload)).unwrap();
        }
        assert_eq!(drain(&mut outbox).len(), 1);
        outbox.written(1);
        outbox.acknowledged(1);
        assert_eq!(drain(&mut outbox).len(), 1);
        outbox.written(2);
        outbox.acknowledged(2);
        assert_eq!(drain(&mut outbox), ["small"]);
        let half = "x".repeat(WINDOW_BYTES / 2);
        for payload in [&half, "tiny", &half] {
            outbox.push(event(payload)).unwrap();
        }
        assert_eq!(drain(&mut outbox).len(), 2);
    }

    #[test]
    fn what_comes_back_is_offered_again_in_the_order_it_was_sent() {
        let mut outbox = Outbox::new(10);
        for name in ["a", "b", "c", "d", "e", "f"] {
            outbox.push(event(name)).unwrap();
        }
        for _ in 0..5 {
            outbox.take().unwrap();
        }
        for id in [9, 10, 1] {
            outbox.written(id);
        }
        outbox.acknowledged(10);
        // a was sent as 9, c as 1 after the identifiers wrapped; d and e never got one.
        outbox.connection_lost(vec![
            returned(1, event("c")),
            returned(9, event("a")),
            returned(0, event("d")),
            returned(0, event("e")),
        ]);
        assert_eq!(outbox.unacknowledged(), 5);
        assert_eq!(drain(&mut outbox), ["a", "c", "d", "e", "f"]);
    }

    #[test]
    fn a_superseded_retained_message_does_not_come_back() {
        let mut outbox = Outbox::new(10);
        outbox.push(state("3")).unwrap();
        outbox.connection_lost(vec![
            returned(0, state("1")),
            returned(0, event("a")),
            returned(0, state("2")),
            returned(0, message("other", "1", QoS::AtLeastOnce, true)),
            returned(0, message("other", "2", QoS::AtLeastOnce, true)),
        ]);
        let kept: Vec<_> = std::iter::from_fn(|| outbox.take())
            .map(|m| (m.topic, String::from_utf8(m.payload).unwrap()))
            .collect();
        let kept: Vec<_> = kept.iter().map(|(t, p)| (t.as_str(), p.as_str())).collect();
        assert_eq!(kept, [("event", "a"), ("other", "2"), ("state", "3")]);
    }
}
