//! All neighbours that the tables name, by number, and the frames that wait for them.

use super::entry::{Due, Entry, Heard, Question, Way};
use crate::frame::Frame;
use kc_forwarder_api::NeighbourState;

/// Frames that wait for one neighbour. RFC 4861 section 7.2.2: "The queue MUST hold at least one
/// packet, and MAY contain more. However, the number of queued packets per neighbor SHOULD be
/// limited to some small value."
const HELD: usize = 8;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    slots: Vec<Slot>,
    /// Not later than the first deadline of any.
    next_ms: Option<u64>,
}

#[derive(Debug)]
struct Slot {
    entry: Entry,
    held: Vec<Frame>,
}

/// What time has brought for one neighbour.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It is to be asked.
    Ask(u16, Question),
    /// It did not answer.
    GaveUp(u16),
}

impl Neighbours {
    /// `count` neighbours of which nothing is known.
    pub(crate) fn new(count: usize) -> Self {
        let slot = || Slot {
            entry: Entry::new(),
            held: Vec::new(),
        };
        Self {
            slots: std::iter::repeat_with(slot).take(count).collect(),
            next_ms: None,
        }
    }

    fn slot(&mut self, number: u16) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(number))
    }

    /// Its MAC address, as far as it is known.
    pub(crate) fn mac(&self, number: u16) -> Option<[u8; 6]> {
        self.slots.get(usize::from(number))?.entry.mac()
    }

    /// How far each is known at `now_ms`.
    pub(crate) fn told(&self, now_ms: u64) -> impl Iterator<Item = NeighbourState> {
        self.slots.iter().map(move |slot| slot.entry.told(now_ms))
    }

    /// Where a frame for a neighbour goes, and what has to be asked because of it.
    pub(crate) fn way(&mut self, number: u16, now_ms: u64) -> (Way, Option<Question>) {
        let Some(slot) = self.slot(number) else {
            return (Way::Silent, None);
        };
        let found = slot.entry.way(now_ms);
        let deadline = slot.entry.deadline();
        self.expect(deadline);
        found
    }

    /// Takes what was said about a neighbour, and says whether its MAC address is another one now.
    pub(crate) fn hear(&mut self, number: u16, now_ms: u64, heard: Heard) -> bool {
        self.slot(number)
            .is_some_and(|slot| slot.entry.hear(now_ms, heard))
    }

    /// Lets `frame` wait. RFC 4861 section 7.2.2: "When a queue overflows, the new arrival SHOULD
    /// replace the oldest entry", which is returned.
    pub(crate) fn hold(&mut self, number: u16, frame: Frame) -> Option<Frame> {
        let Some(slot) = self.slot(number) else {
            return Some(frame);
        };
        let oldest = (slot.held.len() >= HELD).then(|| slot.held.remove(0));
        slot.held.push(frame);
        oldest
    }

    /// The frames that wait for a neighbour, which no longer do.
    pub(crate) fn release(&mut self, number: u16) -> Vec<Frame> {
        self.slot(number)
            .map(|slot| std::mem::take(&mut slot.held))
            .unwrap_or_default()
    }

    /// Not later than when [`overdue`](Self::overdue) finds something.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.next_ms
    }

    fn expect(&mut self, deadline: Option<u64>) {
        self.next_ms = self.next_ms.into_iter().chain(deadline).min();
    }

    /// Whatever is due, into `found`.
    pub(crate) fn overdue(&mut self, now_ms: u64, found: &mut Vec<Overdue>) {
        if self.next_ms.is_none_or(|next| now_ms < next) {
            return;
        }
        self.next_ms = None;
        for (number, slot) in (0..).zip(&mut self.slots) {
            match slot.entry.due(now_ms) {
                Due::Nothing => {}
                Due::Ask(question) => found.push(Overdue::Ask(number, question)),
                Due::GaveUp => found.push(Overdue::GaveUp(number)),
            }
            self.next_ms = self.next_ms.into_iter().chain(slot.entry.deadline()).min();
        }
    }

    /// Goes on with `count` neighbours, of which `former` says what number each had, and returns
    /// the frames that waited for one that is no longer named.
    pub(crate) fn adopt(
        &mut self,
        count: usize,
        former: impl Fn(usize) -> Option<u16>,
    ) -> Vec<Frame> {
        let mut old = std::mem::replace(self, Self::new(count));
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if let Some(known) = former(place).and_then(|number| old.slot(number)) {
                slot.entry = known.entry;
                slot.held = std::mem::take(&mut known.held);
            }
        }
        let deadlines = self.slots.iter().filter_map(|slot| slot.entry.deadline());
        self.next_ms = deadlines.min();
        old.slots.into_iter().flat_map(|slot| slot.held).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn answer() -> Heard {
        Heard {
            mac: Some(MAC),
            solicited: true,
            overrides: true,
        }
    }

    #[test]
    fn a_few_frames_wait_and_the_oldest_leaves_first() {
        let mut neighbours = Neighbours::new(1);
        for number in 0..10_u8 {
            let left = neighbours.hold(0, Frame::copy_of(&[number]));
            let expected = number.checked_sub(8).map(|oldest| vec![oldest]);
            assert_eq!(left.map(|frame| frame.bytes().to_vec()), expected);
        }
        let held = neighbours.release(0);
        assert_eq!((held.len(), held[0].bytes()), (8, &[2][..]));
        assert!(neighbours.release(0).is_empty());
    }

    #[test]
    fn the_next_deadline_is_the_first_of_all_and_none_when_nobody_is_asked() {
        let mut neighbours = Neighbours::new(3);
        assert_eq!(neighbours.next_deadline(), None);
        neighbours.way(2, 500);
        neighbours.way(0, 100);
        assert_eq!(neighbours.next_deadline(), Some(1_100));
        assert!(neighbours.hear(0, 600, answer()));
        let mut found = Vec::new();
        neighbours.overdue(1_100, &mut found);
        assert_eq!((found.len(), neighbours.next_deadline()), (0, Some(1_500)));
        neighbours.overdue(1_500, &mut found);
        assert_eq!(found, [Overdue::Ask(2, Question::Everybody)]);
        neighbours.hear(2, 1_600, answer());
        neighbours.overdue(5_000, &mut found);
        assert_eq!(neighbours.next_deadline(), None);
    }

    #[test]
    fn what_is_known_stays_with_its_neighbour_when_the_tables_change() {
        let mut neighbours = Neighbours::new(2);
        neighbours.way(0, 0);
        neighbours.hear(0, 1, answer());
        neighbours.way(1, 0);
        neighbours.hold(1, Frame::copy_of(b"waits in vain"));
        let lost = neighbours.adopt(3, |place| (place == 2).then_some(0));
        assert_eq!(lost.len(), 1);
        assert_eq!((neighbours.mac(2), neighbours.mac(0)), (Some(MAC), None));
        assert_eq!(neighbours.next_deadline(), None);
    }
}
