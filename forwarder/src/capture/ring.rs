//! Records from the packet thread to the control thread: a ring of words in memory that neither
//! end ever waits for. What does not fit is not written, and counted. No system call, no lock, no
//! allocation once it is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Every part of a record begins at a multiple of so many octets.
pub(super) const ALIGN: usize = 8;

/// Octets of a word.
const WORD: usize = size_of::<usize>();

/// Words in front of a record: its length.
const PREFIX: usize = ALIGN / WORD;

/// Interfaces whose losses are counted each for itself.
pub(super) const MAX_INTERFACES: usize = 1024;

/// What both ends share.
#[derive(Debug)]
pub(crate) struct Ring {
    words: Box<[AtomicUsize]>,
    /// Words written so far; the writer's.
    head: AtomicUsize,
    /// Words read so far; the reader's.
    tail: AtomicUsize,
    /// The reader has read all and waits to be woken.
    asleep: AtomicBool,
    /// The reader wants no more.
    closed: AtomicBool,
    /// Records that found no room, by interface.
    lost: Box<[AtomicU64]>,
    /// The same, over all interfaces.
    lost_in_all: AtomicU64,
}

/// The packet thread's end.
#[derive(Debug)]
pub(crate) struct Writer(Arc<Ring>);

/// The control thread's end. Dropping it tells the writer that nobody reads any more.
#[derive(Debug)]
pub(crate) struct Reader(Arc<Ring>);

impl Ring {
    /// Whether the reader has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// Both ends of a ring of at least `octets` octets.
pub(crate) fn ring(octets: usize) -> (Writer, Reader) {
    let words = (octets / WORD).max(16).next_power_of_two();
    let ring = Arc::new(Ring {
        words: (0..words).map(|_| AtomicUsize::new(0)).collect(),
        head: AtomicUsize::new(0),
        tail: AtomicUsize::new(0),
        asleep: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        lost: (0..MAX_INTERFACES).map(|_| AtomicU64::new(0)).collect(),
        lost_in_all: AtomicU64::new(0),
    });
    (Writer(Arc::clone(&ring)), Reader(ring))
}

impl Writer {
    /// Writes a record made of `parts`; says whether there was room.
    pub(super) fn push(&mut self, parts: &[&[u8]]) -> bool {
        let ring = &*self.0;
        let length: usize = parts
            .iter()
            .map(|part| part.len().next_multiple_of(ALIGN))
            .sum();
        let needed = PREFIX + length / WORD;
        let head = ring.head.load(Ordering::Relaxed);
        let used = head.wrapping_sub(ring.tail.load(Ordering::Acquire));
        if needed > ring.words.len() - used {
            return false;
        }
        let mask = ring.words.len() - 1;
        let mut place = head;
        let mut put = |octets: &[u8; ALIGN]| {
            for word in octets.as_chunks::<WORD>().0 {
                if let Some(to) = ring.words.get(place & mask) {
                    to.store(usize::from_ne_bytes(*word), Ordering::Relaxed);
                }
                place = place.wrapping_add(1);
            }
        };
        put(&(length as u64).to_ne_bytes());
        for part in parts {
            let (whole, rest) = part.as_chunks::<ALIGN>();
            whole.iter().for_each(&mut put);
            if !rest.is_empty() {
                let mut last = [0; ALIGN];
                if let Some(to) = last.get_mut(..rest.len()) {
                    to.copy_from_slice(rest);
                }
                put(&last);
            }
        }
        // Ordered before `wants_waking` looks, and after the reader's last look in `sleep`.
        ring.head.store(place, Ordering::SeqCst);
        true
    }

    /// Counts a record that found no room; says how many on that interface so far.
    pub(super) fn lose(&self, interface: u16) {
        self.0.lost_in_all.fetch_add(1, Ordering::Relaxed);
        if let Some(lost) = self.0.lost.get(usize::from(interface)) {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records lost on an interface so far.
    pub(super) fn lost(&self, interface: u16) -> u64 {
        let lost = self.0.lost.get(usize::from(interface));
        lost.map_or(0, |lost| lost.load(Ordering::Relaxed))
    }

    /// Whether the reader sleeps though there is something to read; once for each time it does.
    pub(super) fn wants_waking(&self) -> bool {
        let ring = &*self.0;
        ring.asleep.load(Ordering::SeqCst)
            && ring.head.load(Ordering::Relaxed) != ring.tail.load(Ordering::Relaxed)
            && ring.asleep.swap(false, Ordering::SeqCst)
    }

    /// Whether nobody reads any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Reader {
    /// What both ends share, to see whether this one is still there.
    pub(crate) fn ring(&self) -> &Arc<Ring> {
        &self.0
    }

    /// Takes the next record into `record`; says whether there was one.
    pub(super) fn take(&mut self, record: &mut Vec<u8>) -> bool {
        record.clear();
        let ring = &*self.0;
        let tail = ring.tail.load(Ordering::Relaxed);
        if tail == ring.head.load(Ordering::Acquire) {
            return false;
        }
        let mask = ring.words.len() - 1;
        let word = |place: usize| {
            let word = ring.words.get(place & mask);
            word.map_or(0, |word| word.load(Ordering::Relaxed))
        };
        let mut length = [0; ALIGN];
        let words = length.as_chunks_mut::<WORD>().0;
        for (place, octets) in words.iter_mut().enumerate() {
            *octets = word(tail.wrapping_add(place)).to_ne_bytes();
        }
        let count = usize::try_from(u64::from_ne_bytes(length)).unwrap_or(0) / WORD;
        let first = tail.wrapping_add(PREFIX);
        record.reserve(count * WORD);
        for place in 0..count {
            record.extend_from_slice(&word(first.wrapping_add(place)).to_ne_bytes());
        }
        ring.tail
            .store(first.wrapping_add(count), Ordering::Release);
        true
    }

    /// Asks to be woken by the next record; false when there is one already.
    pub(super) fn sleep(&self) -> bool {
        let ring = &*self.0;
        ring.asleep.store(true, Ordering::SeqCst);
        ring.head.load(Ordering::SeqCst) == ring.tail.load(Ordering::Relaxed)
    }

    /// Wants no more than what is there.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    /// Records lost on an interface so far.
    pub(super) fn lost(&self, interface: u16) -> u64 {
        let lost = self.0.lost.get(usize::from(interface));
        lost.map_or(0, |lost| lost.load(Ordering::Relaxed))
    }

    /// Records lost so far.
    pub(super) fn lost_in_all(&self) -> u64 {
        self.0.lost_in_all.load(Ordering::Relaxed)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in_round_and_round() {
        let (mut writer, mut reader) = ring(1024);
        let mut record = Vec::new();
        for turn in 0..1000_usize {
            let octet = u8::try_from(turn % 251).unwrap();
            let long = vec![octet; turn % 300];
            assert!(writer.push(&[&[octet; 16], &long]));
            assert!(reader.take(&mut record));
            assert_eq!(record.get(..16), Some([octet; 16].as_slice()));
            assert_eq!(record.get(16..16 + long.len()), Some(long.as_slice()));
            assert_eq!(record.len(), 16 + long.len().next_multiple_of(ALIGN));
        }
        assert!(!reader.take(&mut record));
    }

    #[test]
    fn what_finds_no_room_is_refused_whole() {
        let (mut writer, mut reader) = ring(128);
        assert!(!writer.push(&[&[1; 200]]));
        assert!(writer.push(&[&[2; 64]]));
        assert!(!writer.push(&[&[3; 64]]));
        writer.lose(7);
        assert_eq!((reader.lost(7), reader.lost_in_all()), (1, 1));
        let mut record = Vec::new();
        assert!(reader.take(&mut record) && record == [2; 64]);
        assert!(writer.push(&[&[4; 64]]));
    }

    #[test]
    fn a_sleeper_is_woken_once() {
        let (mut writer, mut reader) = ring(1024);
        assert!(reader.sleep() && !writer.wants_waking());
        writer.push(&[&[1; 8]]);
        assert!(writer.wants_waking());
        assert!(!writer.wants_waking());
        assert!(!reader.sleep(), "there is something to read");
        assert!(reader.take(&mut Vec::new()) && reader.sleep());
        drop(reader);
        assert!(writer.is_closed());
    }

    #[test]
    fn two_threads_agree_on_every_octet() {
        let (mut writer, mut reader) = ring(4096);
        const RECORDS: u64 = 20_000;
        let wrote = std::thread::spawn(move || {
            for number in 0..RECORDS {
                let length = usize::try_from(number % 200).unwrap();
                let body = vec![number.to_le_bytes()[0]; length];
                while !writer.push(&[&number.to_le_bytes(), &body]) {
                    std::thread::yield_now();
                }
            }
        });
        let mut record = Vec::new();
        for number in 0..RECORDS {
            while !reader.take(&mut record) {
                std::thread::yield_now();
            }
            let length = usize::try_from(number % 200).unwrap();
            assert_eq!(record.get(..8), Some(number.to_le_bytes().as_slice()));
            let body = record.get(8..8 + length).unwrap();
            assert!(body.iter().all(|&octet| octet == number.to_le_bytes()[0]));
        }
        wrote.join().unwrap();
    }
}
