//! Whose octets are in a frame: payloads are filled with marks of their own frame, and no frame
//! that leaves carries marks of two.

use std::collections::HashMap;

/// How every mark begins; nothing else in a test's frames does.
const SIGN: [u8; 4] = [0xc0, 0xde, 0xfa, 0xce];

/// Octets of a mark: the sign, and a number.
const MARK: usize = 8;

/// All marks that went in, with the frame each was in; nobody's where two frames had it. Damage
/// makes such marks, out of what it fills frames up with, and a frame that waits may leave after
/// another one that has the same.
#[derive(Debug, Default)]
pub(crate) struct Taint {
    owners: HashMap<u32, Option<u64>>,
    frames: u64,
}

/// The mark of a frame: numbers far apart, so that a damaged one is nobody else's.
fn mark(frame: u64) -> [u8; MARK] {
    let number = (frame.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).to_be_bytes();
    let mut mark = [0; MARK];
    mark[..4].copy_from_slice(&SIGN);
    mark[4..].copy_from_slice(&number[4..]);
    mark
}

/// The numbers of all whole marks in `octets`.
fn marks(octets: &[u8]) -> impl Iterator<Item = u32> {
    let windows = octets.windows(MARK).filter(|window| window[..4] == SIGN);
    windows.map(|window| u32::from_be_bytes([window[4], window[5], window[6], window[7]]))
}

/// The frame, less the marks at its end that are like the one in front of them: most of it.
fn run(frame: &[u8]) -> &[u8] {
    let front = frame
        .windows(MARK)
        .take(160)
        .position(|window| window[..4] == SIGN);
    match front.and_then(|at| Some((at, frame.get(at..at + MARK)?))) {
        Some((at, mark)) => {
            let rest = &frame[at..];
            let same = mark.repeat(rest.len() / MARK + 1);
            if same.starts_with(rest) {
                &frame[..at + MARK]
            } else {
                frame
            }
        }
        None => frame,
    }
}

impl Taint {
    /// A payload of `octets` octets of the next frame.
    pub(crate) fn payload(&self, octets: usize) -> Vec<u8> {
        let mut payload = mark(self.frames).repeat(octets / MARK + 1);
        payload.truncate(octets);
        payload
    }

    /// Notes the frame that goes in next, whatever has become of its payload.
    pub(crate) fn enters(&mut self, frame: &[u8]) {
        let own = marks(&mark(self.frames)).last();
        // Damage is done in front and at the end.
        let front = &frame[..frame.len().min(160)];
        let end = &frame[frame.len().saturating_sub(400)..];
        for mark in marks(front).chain(marks(end)).chain(own) {
            let owner = self.owners.entry(mark).or_insert(Some(self.frames));
            *owner = owner.filter(|owner| *owner == self.frames);
        }
        self.frames += 1;
    }

    /// Looks at a frame that leaves; says whether it has a mark. A mark that went in nowhere is
    /// one that was written over, by a checksum or another field where a damaged header has it:
    /// there are few of these.
    #[track_caller]
    pub(crate) fn leaves(&self, frame: &[u8]) -> bool {
        let (mut owner, mut damaged) = (None, 0);
        let short = run(frame);
        let known = marks(short).all(|mark| self.owners.contains_key(&mark));
        for mark in marks(if known { short } else { frame }) {
            match self.owners.get(&mark) {
                Some(&Some(of)) => {
                    let before = *owner.get_or_insert(of);
                    assert_eq!(before, of, "octets of two frames in one");
                }
                Some(None) => {}
                None => damaged += 1,
            }
        }
        assert!(damaged <= 4, "{damaged} marks of nobody's");
        owner.is_some()
    }
}

#[test]
fn a_frame_with_octets_of_another_is_noticed() {
    let mut taint = Taint::default();
    let first = taint.payload(24);
    taint.enters(&first);
    let second = taint.payload(24);
    taint.enters(&second);
    assert!(taint.leaves(&first) && taint.leaves(&second));
    let mixed = [&first[..8], &second[..8]].concat();
    assert!(std::panic::catch_unwind(|| taint.leaves(&mixed)).is_err());
    // What is nobody's is stale memory, if it is more than a field.
    let nobodys = Taint {
        frames: 9,
        ..Taint::default()
    }
    .payload(80);
    assert!(std::panic::catch_unwind(|| taint.leaves(&nobodys)).is_err());
}
