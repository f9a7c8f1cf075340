//! Several captures made into one: sections of pcapng (draft-ietf-opsawg-pcapng) come in pieces,
//! each from a box; one section goes out, its interfaces named `box/port`. Pure.

use std::collections::BTreeMap;

/// Block types, section 4 of the draft.
mod block {
    pub(super) const SECTION: u32 = 0x0a0d_0d0a;
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const STATISTICS: u32 = 5;
    pub(super) const PACKET: u32 = 6;
}

/// Section 4.1: tells the order of octets.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// Section 4.2: the option that names an interface.
const IF_NAME: u16 = 2;
/// Longest block that is believed.
const LONGEST: usize = 16 << 20;
/// Octets of an interface block before its options: type, length, link type, reserved, snap length.
const INTERFACE_FIXED: usize = 16;

/// What comes in is no capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// It does not begin with a section header in little-endian order.
    #[error("the capture does not begin as pcapng does")]
    Start,
    /// A block's length makes no sense.
    #[error("a block of the capture says it has {0} octets")]
    Length(u32),
    /// A packet of an interface that was never described.
    #[error("the capture names interface {0}, which it has not described")]
    Interface(u32),
    /// A block that is shorter than its kind.
    #[error("a block of the capture is too short")]
    Short,
}

/// One capture that is coming in.
#[derive(Debug, Default)]
struct Source {
    name: String,
    begun: bool,
    /// A block that is not whole yet.
    waiting: Vec<u8>,
    /// Its interfaces' numbers in what goes out.
    interfaces: Vec<u32>,
}

/// Merges captures.
#[derive(Debug)]
pub struct Merger {
    sources: Vec<Source>,
    begun: bool,
    /// Interfaces that went out, by name and link type: of captures that see the same port, one.
    known: BTreeMap<(Vec<u8>, u16), u32>,
    packets: u64,
    limit: u64,
}

impl Merger {
    /// Merges the captures of `names`, at most `limit` packets of them.
    pub fn new(names: impl IntoIterator<Item = String>, limit: Option<u64>) -> Self {
        let source = |name| Source {
            name,
            ..Source::default()
        };
        Self {
            sources: names.into_iter().map(source).collect(),
            begun: false,
            known: BTreeMap::new(),
            packets: 0,
            limit: limit.unwrap_or(u64::MAX),
        }
    }

    /// Whether there are as many packets as were wanted.
    pub const fn is_full(&self) -> bool {
        self.packets >= self.limit
    }

    /// Takes `octets` of capture `place`, in their order, and appends what goes out to `out`.
    ///
    /// # Errors
    /// They are no capture; nothing more can be made of this one, the others go on.
    pub fn push(
        &mut self,
        place: usize,
        octets: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), MergeError> {
        if !self.begun {
            self.begun = true;
            section(out);
        }
        let Some(source) = self.sources.get_mut(place) else {
            return Ok(());
        };
        let mut waiting = std::mem::take(&mut source.waiting);
        waiting.extend_from_slice(octets);
        let mut rest = waiting.as_slice();
        while let Some(length) = whole(rest)? {
            let Some((block, more)) = rest.split_at_checked(length) else {
                break;
            };
            self.block(place, block, out)?;
            rest = more;
        }
        let rest = rest.to_vec();
        if let Some(source) = self.sources.get_mut(place) {
            source.waiting = rest;
        }
        Ok(())
    }

    fn block(&mut self, place: usize, block: &[u8], out: &mut Vec<u8>) -> Result<(), MergeError> {
        let Some(source) = self.sources.get_mut(place) else {
            return Ok(());
        };
        let kind = word(block, 0).ok_or(MergeError::Short)?;
        if kind == block::SECTION {
            if word(block, 8) != Some(BYTE_ORDER) {
                return Err(MergeError::Start);
            }
            source.begun = true;
            source.interfaces.clear();
            return Ok(());
        }
        if !source.begun {
            return Err(MergeError::Start);
        }
        match kind {
            block::INTERFACE => {
                let (name, renamed) = renamed(block, &source.name)?;
                let link = half(block, 8).ok_or(MergeError::Short)?;
                let next = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
                let number = *self.known.entry((name, link)).or_insert_with(|| {
                    out.extend_from_slice(&renamed);
                    next
                });
                source.interfaces.push(number);
            }
            block::PACKET | block::STATISTICS => {
                let own = word(block, 8).ok_or(MergeError::Short)?;
                let number = usize::try_from(own).ok();
                let number = number.and_then(|own| source.interfaces.get(own));
                let number = number.ok_or(MergeError::Interface(own))?;
                if kind == block::PACKET {
                    if self.packets >= self.limit {
                        return Ok(());
                    }
                    self.packets += 1;
                }
                let from = out.len();
                out.extend_from_slice(block);
                if let Some(place) = out.get_mut(from + 8..from + 12) {
                    place.copy_from_slice(&number.to_le_bytes());
                }
            }
            // What else there may be says nothing about packets.
            _ => {}
        }
        Ok(())
    }
}

/// The length of the block at the start of `octets`, once it is known.
fn whole(octets: &[u8]) -> Result<Option<usize>, MergeError> {
    let Some(length) = word(octets, 4) else {
        return Ok(None);
    };
    let octets = usize::try_from(length).unwrap_or(usize::MAX);
    if !(12..=LONGEST).contains(&octets) || length % 4 != 0 {
        return Err(MergeError::Length(length));
    }
    Ok(Some(octets))
}

fn word(octets: &[u8], at: usize) -> Option<u32> {
    let word = octets.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(word))
}

fn half(octets: &[u8], at: usize) -> Option<u16> {
    let half = octets.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_le_bytes(half))
}

/// A section header of unknown length, without options.
fn section(out: &mut Vec<u8>) {
    out.extend_from_slice(&block::SECTION.to_le_bytes());
    out.extend_from_slice(&28_u32.to_le_bytes());
    out.extend_from_slice(&BYTE_ORDER.to_le_bytes());
    // Version 1.0.
    out.extend_from_slice(&[1, 0, 0, 0]);
    out.extend_from_slice(&u64::MAX.to_le_bytes());
    out.extend_from_slice(&28_u32.to_le_bytes());
}

/// An interface block with the name of its box in front of its own, and that name.
fn renamed(block: &[u8], owner: &str) -> Result<(Vec<u8>, Vec<u8>), MergeError> {
    let end = block.len().checked_sub(4).ok_or(MergeError::Short)?;
    let fixed = block.get(..INTERFACE_FIXED).ok_or(MergeError::Short)?;
    let mut options = block.get(INTERFACE_FIXED..end).ok_or(MergeError::Short)?;
    let (mut own, mut others) = (b"?".as_slice(), Vec::new());
    while let (Some(code), Some(length)) = (half(options, 0), half(options, 2)) {
        let padded = usize::from(length).next_multiple_of(4);
        let (Some(value), Some(option)) = (
            options.get(4..4 + usize::from(length)),
            options.get(..4 + padded),
        ) else {
            return Err(MergeError::Short);
        };
        match code {
            0 => break,
            IF_NAME => own = value,
            _ => others.extend_from_slice(option),
        }
        options = options.get(4 + padded..).unwrap_or_default();
    }
    let mut name = owner.as_bytes().to_vec();
    name.push(b'/');
    name.extend_from_slice(own);
    // An option's length has two octets; names of boxes and ports are far shorter.
    name.truncate(usize::from(u8::MAX));
    let mut out = fixed.to_vec();
    out.extend_from_slice(&IF_NAME.to_le_bytes());
    out.extend_from_slice(&u16::try_from(name.len()).unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&name);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(&others);
    out.extend_from_slice(&[0; 4]);
    let length = u32::try_from(out.len() + 4)
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    out.extend_from_slice(&length);
    if let Some(place) = out.get_mut(4..8) {
        place.copy_from_slice(&length);
    }
    Ok((name, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
        [&kind.to_le_bytes(), &length, body, &length]
            .map(|part: &[u8]| part.to_vec())
            .concat()
    }

    fn interface(name: &str) -> Vec<u8> {
        let mut body = vec![1, 0, 0, 0, 0, 0, 4, 0];
        body.extend([2, 0, u8::try_from(name.len()).unwrap(), 0]);
        body.extend(name.as_bytes());
        body.resize(body.len().next_multiple_of(4), 0);
        // Time in nanoseconds, and the end of options.
        body.extend([9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        block(block::INTERFACE, &body)
    }

    fn packet(interface: u32, octet: u8) -> Vec<u8> {
        let mut body = interface.to_le_bytes().to_vec();
        body.extend([0; 8]);
        body.extend([1, 0, 0, 0, 1, 0, 0, 0, octet, 0, 0, 0]);
        block(block::PACKET, &body)
    }

    fn capture(ports: &[&str], packets: &[(u32, u8)]) -> Vec<u8> {
        let mut octets = Vec::new();
        section(&mut octets);
        octets.extend(ports.iter().flat_map(|port| interface(port)));
        octets.extend(packets.iter().flat_map(|&(on, octet)| packet(on, octet)));
        octets
    }

    /// Kind of each block; of interfaces the name, of packets their interface and octet.
    fn told(mut octets: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(length) = whole(octets).unwrap() {
            let (block, rest) = octets.split_at(length);
            assert_eq!(word(block, 4), word(block, length - 4));
            all.push(match word(block, 0).unwrap() {
                block::SECTION => "section".to_owned(),
                block::INTERFACE => {
                    let length = usize::from(half(block, 18).unwrap());
                    String::from_utf8(block[20..20 + length].to_vec()).unwrap()
                }
                block::PACKET => format!("{} {}", word(block, 8).unwrap(), block[28]),
                other => other.to_string(),
            });
            octets = rest;
        }
        assert!(octets.is_empty());
        all
    }

    fn two() -> Merger {
        Merger::new(["box1".to_owned(), "box2".to_owned()], None)
    }

    #[test]
    fn two_captures_become_one_section_whose_interfaces_say_their_box() {
        let (mut merger, mut out) = (two(), Vec::new());
        let one = capture(&["client0", "fw"], &[(1, 7)]);
        let other = capture(&["client0"], &[(0, 8)]);
        // In pieces that respect nothing.
        for chunk in one.chunks(5) {
            merger.push(0, chunk, &mut out).unwrap();
        }
        merger.push(1, &other, &mut out).unwrap();
        merger.push(0, &packet(0, 9), &mut out).unwrap();
        let wanted = [
            "section",
            "box1/client0",
            "box1/fw",
            "1 7",
            "box2/client0",
            "2 8",
            "0 9",
        ];
        assert_eq!(told(&out), wanted);
    }

    #[test]
    fn captures_of_one_box_share_an_interface() {
        let names = ["box1", "box1"].map(str::to_owned);
        let (mut merger, mut out) = (Merger::new(names, Some(1)), Vec::new());
        merger
            .push(0, &capture(&["client0"], &[]), &mut out)
            .unwrap();
        merger
            .push(1, &capture(&["client0"], &[(0, 1), (0, 2)]), &mut out)
            .unwrap();
        assert_eq!(told(&out), ["section", "box1/client0", "0 1"]);
        assert!(merger.is_full());
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        let mut out = Vec::new();
        assert_eq!(
            two().push(0, &packet(0, 1), &mut out),
            Err(MergeError::Start)
        );
        assert_eq!(two().push(0, &[0; 8], &mut out), Err(MergeError::Length(0)));
        let dangling = [capture(&[], &[]), packet(3, 1)].concat();
        assert_eq!(
            two().push(0, &dangling, &mut out),
            Err(MergeError::Interface(3))
        );
        assert_eq!(
            two().push(0, &block(block::SECTION, &[0; 16]), &mut out),
            Err(MergeError::Start)
        );
        let short = [capture(&[], &[]), block(block::INTERFACE, &[0; 4])].concat();
        assert_eq!(two().push(0, &short, &mut out), Err(MergeError::Short));
    }
}
