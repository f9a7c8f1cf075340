//! Messages on their way in, waiting for the reader. Pure.

use crate::{Incoming, Message, QoS};
use std::collections::VecDeque;

/// What a QoS 1 message's acknowledgement needs: the connection it came by, and its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) session: u64,
    pub(crate) id: u16,
}

/// One thing to tell the reader.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) incoming: Incoming,
    pub(crate) receipt: Option<Receipt>,
}

/// The bounded queue of incoming messages.
#[derive(Debug)]
pub(crate) struct Inbox {
    capacity: usize,
    ready: VecDeque<Delivery>,
    /// Messages that came between CONNACK and SUBACK wait for [`Incoming::Connected`].
    early: Option<Vec<Delivery>>,
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
        self.early = Some(Vec::new());
    }

    /// All subscriptions are in force.
    pub(crate) fn connected(&mut self) {
        self.tell(Incoming::Connected);
        self.ready.extend(self.early.take().unwrap_or_default());
    }

    /// The connection is gone. A connection the reader has not heard of yet is not told at all.
    pub(crate) fn disconnected(&mut self, reason: String) {
        self.ready.extend(self.early.take().unwrap_or_default());
        if let Some(last) = self.ready.back()
            && last.incoming == Incoming::Connected
        {
            self.ready.pop_back();
        }
        if let Some(last) = self.ready.back_mut()
            && let Incoming::Disconnected { reason: earlier } = &mut last.incoming
        {
            *earlier = reason;
        } else {
            self.tell(Incoming::Disconnected { reason });
        }
    }

    /// Queues a message. `false` when a QoS 1 message found no room: it was not taken.
    pub(crate) fn push(&mut self, message: Message, receipt: Option<Receipt>) -> bool {
        let early = self.early.as_ref().map_or(0, Vec::len);
        if self.ready.len() + early >= self.capacity {
            if message.qos == QoS::AtLeastOnce {
                return false;
            }
            return self.replace(message);
        }
        let delivery = Delivery {
            incoming: Incoming::Message(message),
            receipt,
        };
        match &mut self.early {
            Some(early) => early.push(delivery),
            None => self.ready.push_back(delivery),
        }
        true
    }

    /// The next thing to tell.
    pub(crate) fn pop(&mut self) -> Option<Delivery> {
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

    /// There is no room: a QoS 0 message takes the place of an older one to the same topic, or is
    /// dropped.
    fn replace(&mut self, message: Message) -> bool {
        self.dropped += 1;
        let queued = self.ready.iter_mut().chain(self.early.iter_mut().flatten());
        let older = queued
            .filter_map(|delivery| match &mut delivery.incoming {
                Incoming::Message(queued) => Some(queued),
                _ => None,
            })
            .find(|queued| queued.qos == QoS::AtMostOnce && queued.topic == message.topic);
        if let Some(older) = older {
            *older = message;
        }
        true
    }

    fn tell(&mut self, incoming: Incoming) {
        self.ready.push_back(Delivery {
            incoming,
            receipt: None,
        });
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
            .map(|delivery| match delivery.incoming {
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
        assert!(inbox.push(message("x", "1", QoS::AtLeastOnce), None));
        assert_eq!(inbox.pop(), None);
        inbox.connected();
        assert_eq!(told(&mut inbox), ["connected", "1"]);
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
    fn a_slow_reader_gets_the_newest_samples_and_no_qos_1_is_taken_without_room() {
        let mut inbox = Inbox::new(2);
        assert!(inbox.push(message("load", "1", QoS::AtMostOnce), None));
        assert!(inbox.push(message("event", "e", QoS::AtLeastOnce), None));
        assert!(inbox.push(message("load", "2", QoS::AtMostOnce), None));
        assert!(inbox.push(message("other", "1", QoS::AtMostOnce), None));
        assert!(!inbox.push(message("event", "f", QoS::AtLeastOnce), None));
        assert!(!inbox.has_room());
        assert_eq!(inbox.dropped(), 2);
        assert_eq!(told(&mut inbox), ["2", "e"]);
        assert!(inbox.has_room());
    }
}
