//! What the packet thread leaves of one frame: everything the control thread needs to show it, so
//! that a record is understood whatever tables are in force by then.

use super::pcapng::Way;
use super::ring::{ALIGN, Writer};
use kc_forwarder_api::{CapturePoint, DropReason};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What an interface of the capture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A port.
    Port,
    /// A tunnel over UDP.
    Tunnel,
    /// The VXLAN-GPE socket, for VTEPs that no tunnel names.
    Gpe,
    /// The VXLAN socket.
    Vxlan,
    /// None of these: the forwarder's own frames.
    Own,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Port, Self::Tunnel, Self::Gpe, Self::Vxlan, Self::Own];
}

/// What a frame begins with, and so what has to be put in front of it to be shown as Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outer {
    /// An Ethernet header: nothing.
    Ethernet,
    /// An NSH: an Ethernet header of its type.
    Nsh,
    /// A VXLAN or VXLAN-GPE header: Ethernet, IP and UDP.
    Udp {
        /// Sender; its port is 0 where the socket does not tell.
        from: SocketAddr,
        /// Receiver, of the same family.
        to: SocketAddr,
        /// Traffic class of the IP header.
        class: u8,
    },
}

/// What was decided about a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is to be said.
    None,
    /// Sent down the service path.
    Path,
    /// Handed to the segment with this VNI.
    Segment(u32),
    /// Sent out of a port, which is the record's target.
    Egress,
    /// Dropped.
    Drop(DropReason),
}

/// One frame at one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Nanoseconds since 1970.
    pub(super) at_ns: u64,
    /// Where it was seen.
    pub(super) point: CapturePoint,
    /// Which way it went.
    pub(super) way: Way,
    /// Number of its interface, for as long as the capture runs.
    pub(super) interface: u16,
    /// What that is.
    pub(super) kind: Kind,
    /// What that is called.
    pub(super) name: &'a str,
    /// What it begins with.
    pub(super) outer: Outer,
    /// Its service path header.
    pub(super) path: Option<u32>,
    /// Its VNI, from a tunnel or to one.
    pub(super) vni: Option<u32>,
    /// What was decided.
    pub(super) verdict: Verdict,
    /// The function it goes into or comes out of, or empty.
    pub(super) function: &'a str,
    /// The rule that decided, or empty.
    pub(super) rule: &'a str,
    /// The port it shall leave by, or empty.
    pub(super) target: &'a str,
    /// The tunnel it comes from or goes into, where that is not the interface, or empty.
    pub(super) tunnel: &'a str,
    /// Records lost on its interface so far.
    pub(super) lost: u64,
    /// Octets of the frame, kept or not.
    pub(super) length: u32,
    /// What was kept of it, in two parts.
    pub(super) octets: [&'a [u8]; 2],
}

/// Octets in front of names and frame.
const FIXED: usize = 96;

mod field {
    pub(super) const AT: usize = 0;
    pub(super) const LOST: usize = 8;
    pub(super) const LENGTH: usize = 16;
    pub(super) const PATH: usize = 20;
    pub(super) const VNI: usize = 24;
    pub(super) const VERDICT: usize = 28;
    pub(super) const KEPT: usize = 32;
    pub(super) const FROM: usize = 40;
    pub(super) const TO: usize = 56;
    pub(super) const FROM_PORT: usize = 72;
    pub(super) const TO_PORT: usize = 74;
    pub(super) const INTERFACE: usize = 76;
    pub(super) const POINT: usize = 78;
    pub(super) const WAY: usize = 79;
    pub(super) const KIND: usize = 80;
    pub(super) const OUTER: usize = 81;
    pub(super) const DECIDED: usize = 82;
    pub(super) const FLAGS: usize = 83;
    pub(super) const NAMES: usize = 84;
    pub(super) const CLASS: usize = 89;
}

const HAS_PATH: u8 = 1;
const HAS_VNI: u8 = 2;

/// The place of `item` in `all`; every list here is short.
fn place<T: PartialEq>(all: &[T], item: &T) -> u8 {
    let place = all.iter().position(|other| other == item);
    place
        .and_then(|place| u8::try_from(place).ok())
        .unwrap_or(0)
}

const WAYS: [Way; 3] = [Way::Unknown, Way::Inbound, Way::Outbound];

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn put<const N: usize>(octets: &mut [u8; FIXED], at: usize, value: [u8; N]) {
    if let Some(to) = octets.get_mut(at..at + N) {
        to.copy_from_slice(&value);
    }
}

fn get<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..at + N)?.try_into().ok()
}

/// A name cut to what its length field can say.
fn short(name: &str) -> &[u8] {
    let octets = name.as_bytes();
    octets.get(..usize::from(u8::MAX)).unwrap_or(octets)
}

impl<'a> Record<'a> {
    fn names(&self) -> [&'a [u8]; 5] {
        [
            self.name,
            self.function,
            self.rule,
            self.target,
            self.tunnel,
        ]
        .map(short)
    }

    fn fixed(&self) -> [u8; FIXED] {
        let mut octets = [0; FIXED];
        put(&mut octets, field::AT, self.at_ns.to_ne_bytes());
        put(&mut octets, field::LOST, self.lost.to_ne_bytes());
        put(&mut octets, field::LENGTH, self.length.to_ne_bytes());
        put(
            &mut octets,
            field::PATH,
            self.path.unwrap_or(0).to_ne_bytes(),
        );
        put(&mut octets, field::VNI, self.vni.unwrap_or(0).to_ne_bytes());
        let (decided, number) = match self.verdict {
            Verdict::None => (0, 0),
            Verdict::Path => (1, 0),
            Verdict::Segment(vni) => (2, vni),
            Verdict::Egress => (3, 0),
            Verdict::Drop(reason) => (4, reason as u32),
        };
        put(&mut octets, field::VERDICT, number.to_ne_bytes());
        let [first, second] = self
            .octets
            .map(|part| u32::try_from(part.len()).unwrap_or(0));
        put(&mut octets, field::KEPT, first.to_ne_bytes());
        put(&mut octets, field::KEPT + 4, second.to_ne_bytes());
        let outer = match self.outer {
            Outer::Ethernet => 0,
            Outer::Nsh => 1,
            Outer::Udp { from, to, class } => {
                put(&mut octets, field::FROM, mapped(from.ip()));
                put(&mut octets, field::TO, mapped(to.ip()));
                put(&mut octets, field::FROM_PORT, from.port().to_ne_bytes());
                put(&mut octets, field::TO_PORT, to.port().to_ne_bytes());
                put(&mut octets, field::CLASS, [class]);
                2
            }
        };
        put(&mut octets, field::INTERFACE, self.interface.to_ne_bytes());
        let flags = [
            (self.path.is_some(), HAS_PATH),
            (self.vni.is_some(), HAS_VNI),
        ];
        let flags = flags.iter().filter(|(set, _)| *set);
        put(
            &mut octets,
            field::POINT,
            [
                place(&CapturePoint::ALL, &self.point),
                place(&WAYS, &self.way),
                place(&Kind::ALL, &self.kind),
                outer,
                decided,
                flags.map(|(_, bit)| bit).sum(),
            ],
        );
        let lengths = self
            .names()
            .map(|name| u8::try_from(name.len()).unwrap_or(u8::MAX));
        put(&mut octets, field::NAMES, lengths);
        octets
    }

    /// Writes it into `ring`; says whether there was room.
    pub(super) fn push(&self, ring: &mut Writer) -> bool {
        let [name, function, rule, target, tunnel] = self.names();
        let [first, second] = self.octets;
        ring.push(&[
            &self.fixed(),
            name,
            function,
            rule,
            target,
            tunnel,
            first,
            second,
        ])
    }

    /// Reads what [`push`](Self::push) wrote.
    pub(super) fn read(octets: &'a [u8]) -> Option<Self> {
        let byte = |at: usize| octets.get(at).copied();
        let word = |at: usize| get(octets, at).map(u32::from_ne_bytes);
        let flags = byte(field::FLAGS)?;
        let number = word(field::VERDICT)?;
        let verdict = match byte(field::DECIDED)? {
            1 => Verdict::Path,
            2 => Verdict::Segment(number),
            3 => Verdict::Egress,
            4 => Verdict::Drop(*DropReason::ALL.get(usize::try_from(number).ok()?)?),
            _ => Verdict::None,
        };
        let socket = |address: usize, port: usize| {
            let address = Ipv6Addr::from(get::<16>(octets, address)?).to_canonical();
            Some(SocketAddr::new(
                address,
                u16::from_ne_bytes(get(octets, port)?),
            ))
        };
        let outer = match byte(field::OUTER)? {
            1 => Outer::Nsh,
            2 => Outer::Udp {
                from: socket(field::FROM, field::FROM_PORT)?,
                to: socket(field::TO, field::TO_PORT)?,
                class: byte(field::CLASS)?,
            },
            _ => Outer::Ethernet,
        };
        let mut at = FIXED;
        let mut part = |length: usize| {
            let part = octets.get(at..at + length);
            at += length.next_multiple_of(ALIGN);
            part
        };
        let mut name = |place: usize| {
            let length = usize::from(byte(field::NAMES + place)?);
            // Cut where no character ends: the whole characters before are still right.
            part(length).map(|name| match std::str::from_utf8(name) {
                Ok(name) => name,
                Err(error) => {
                    let whole = name.get(..error.valid_up_to()).unwrap_or_default();
                    std::str::from_utf8(whole).unwrap_or_default()
                }
            })
        };
        let names = [name(0)?, name(1)?, name(2)?, name(3)?, name(4)?];
        let kept = [word(field::KEPT)?, word(field::KEPT + 4)?];
        let [first, second] = kept.map(|kept| usize::try_from(kept).unwrap_or(usize::MAX));
        let frame = [part(first)?, part(second)?];
        let [name, function, rule, target, tunnel] = names;
        Some(Self {
            at_ns: get(octets, field::AT).map(u64::from_ne_bytes)?,
            point: *CapturePoint::ALL.get(usize::from(byte(field::POINT)?))?,
            way: *WAYS.get(usize::from(byte(field::WAY)?))?,
            interface: get(octets, field::INTERFACE).map(u16::from_ne_bytes)?,
            kind: *Kind::ALL.get(usize::from(byte(field::KIND)?))?,
            name,
            outer,
            path: word(field::PATH).filter(|_| flags & HAS_PATH != 0),
            vni: word(field::VNI).filter(|_| flags & HAS_VNI != 0),
            verdict,
            function,
            rule,
            target,
            tunnel,
            lost: get(octets, field::LOST).map(u64::from_ne_bytes)?,
            length: word(field::LENGTH)?,
            octets: frame,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::ring;
    use super::*;

    #[test]
    fn a_record_survives_the_ring() {
        let (mut writer, mut reader) = ring(4096);
        let udp = Outer::Udp {
            from: "192.0.2.1:49152".parse().unwrap(),
            to: "192.0.2.2:4790".parse().unwrap(),
            class: 0xb8,
        };
        let record = Record {
            at_ns: u64::MAX - 1,
            point: CapturePoint::Drop,
            way: Way::Inbound,
            interface: 513,
            kind: Kind::Tunnel,
            name: "box2",
            outer: udp,
            path: Some(0),
            vni: Some(100),
            verdict: Verdict::Drop(DropReason::NoPath),
            function: "fw-1",
            rule: "",
            target: "c0",
            tunnel: "box3",
            lost: 3,
            length: 1500,
            octets: [b"nsh", b"frame of some length"],
        };
        let mut octets = Vec::new();
        let six = Outer::Udp {
            from: "[fd00::1]:0".parse().unwrap(),
            to: "[fd00::2]:4790".parse().unwrap(),
            class: 1,
        };
        for outer in [udp, six, Outer::Nsh, Outer::Ethernet] {
            let record = Record { outer, ..record };
            assert!(record.push(&mut writer) && reader.take(&mut octets));
            assert_eq!(Record::read(&octets), Some(record));
            for end in 0..FIXED {
                assert_eq!(Record::read(&octets[..end]), None);
            }
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let (mut writer, mut reader) = ring(4096);
        let rule = "ü".repeat(200);
        let record = Record {
            at_ns: 0,
            point: CapturePoint::Ingress,
            way: Way::Inbound,
            interface: 0,
            kind: Kind::Port,
            name: "c0",
            outer: Outer::Ethernet,
            path: None,
            vni: None,
            verdict: Verdict::Path,
            function: "",
            rule: &rule,
            target: "",
            tunnel: "",
            lost: 0,
            length: 0,
            octets: [&[], &[]],
        };
        let mut octets = Vec::new();
        assert!(record.push(&mut writer) && reader.take(&mut octets));
        assert_eq!(Record::read(&octets).unwrap().rule, "ü".repeat(127));
    }
}
