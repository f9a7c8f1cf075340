//! The fields a rule can look at, packed into a few words so that masking, comparing and
//! hashing them is word arithmetic.
//!
//! ```text
//! word 0   ingress port | VLAN | ethertype | protocol | flags
//! word 1   source MAC (48) | source port (16)
//! word 2   destination MAC (48) | destination port (16)
//! word 3-4 source address, IPv4 in its highest 32 bits
//! word 5-6 destination address likewise
//! ```

use ipnet::IpNet;
use std::net::IpAddr;

const WORDS: usize = 7;

/// Values of all fields, or a mask over them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fields([u64; WORDS]);

/// Flag: the frame carries IPv4.
const IPV4: u64 = 1;
/// Flag: the frame carries IPv6.
const IPV6: u64 = 2;
/// Flag: the frame has transport ports.
const PORTS: u64 = 4;

/// One field with as many leading bits as matter, of value and mask.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    /// Ingress port.
    Port(u16),
    /// VLAN identifier, 0 for untagged.
    Vlan(u16),
    /// Source MAC address.
    SourceMac([u8; 6]),
    /// Destination MAC address.
    DestinationMac([u8; 6]),
    /// EtherType behind VLAN tags.
    EtherType(u16),
    /// IP protocol, of either version.
    Protocol(u8),
    /// Source prefix.
    Source(IpNet),
    /// Destination prefix.
    Destination(IpNet),
    /// Leading bits of the source port.
    SourcePort(u16, u8),
    /// Leading bits of the destination port.
    DestinationPort(u16, u8),
}

fn mac(octets: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = octets;
    u64::from_be_bytes([a, b, c, d, e, f, 0, 0])
}

fn address(address: IpAddr) -> [u64; 2] {
    let bits = match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    words(bits)
}

fn words(bits: u128) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bits.to_be_bytes();
    [
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u64::from_be_bytes([i, j, k, l, m, n, o, p]),
    ]
}

fn leading_128(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

fn leading_16(length: u8) -> u64 {
    u64::from(u16::MAX) & (u64::MAX << (16 - u32::from(length.min(16))))
}

impl Fields {
    /// Adds one condition to a rule's values and mask.
    pub(crate) fn require(value: &mut Self, mask: &mut Self, field: Field) {
        let Self([v0, v1, v2, v3, v4, v5, v6]) = value;
        let Self([m0, m1, m2, m3, m4, m5, m6]) = mask;
        let mut word0 = |bits: u64, of: u64| {
            *v0 |= bits;
            *m0 |= of;
        };
        match field {
            Field::Port(port) => word0(u64::from(port) << 48, 0xffff << 48),
            Field::Vlan(vlan) => word0(u64::from(vlan) << 32, 0xffff << 32),
            Field::EtherType(ethertype) => word0(u64::from(ethertype) << 16, 0xffff << 16),
            Field::Protocol(protocol) => word0(u64::from(protocol) << 8, 0xff << 8),
            Field::SourceMac(octets) => {
                *v1 |= mac(octets);
                *m1 |= mac([0xff; 6]);
            }
            Field::DestinationMac(octets) => {
                *v2 |= mac(octets);
                *m2 |= mac([0xff; 6]);
            }
            Field::Source(net) | Field::Destination(net) => {
                let version = if net.addr().is_ipv4() { IPV4 } else { IPV6 };
                word0(version, version);
                let lead = words(leading_128(net.prefix_len()));
                let bits = address(net.trunc().addr());
                let (value, mask) = match field {
                    Field::Source(_) => ([v3, v4], [m3, m4]),
                    _ => ([v5, v6], [m5, m6]),
                };
                for (place, (value, mask)) in value.into_iter().zip(mask).enumerate() {
                    *value |= bits.get(place).copied().unwrap_or(0);
                    *mask |= lead.get(place).copied().unwrap_or(0);
                }
            }
            Field::SourcePort(port, length) => {
                word0(PORTS, PORTS);
                *v1 |= u64::from(port) & leading_16(length);
                *m1 |= leading_16(length);
            }
            Field::DestinationPort(port, length) => {
                word0(PORTS, PORTS);
                *v2 |= u64::from(port) & leading_16(length);
                *m2 |= leading_16(length);
            }
        }
    }

    /// The fields of a frame.
    pub(crate) fn of(subject: &Subject) -> Self {
        let (mut value, mut mask) = (Self::default(), Self::default());
        let mut set = |field| Self::require(&mut value, &mut mask, field);
        set(Field::Port(subject.port));
        set(Field::Vlan(subject.vlan));
        set(Field::SourceMac(subject.source_mac));
        set(Field::DestinationMac(subject.destination_mac));
        set(Field::EtherType(subject.ethertype));
        if let Some((source, destination, protocol)) = subject.ip {
            set(Field::Source(source.into()));
            set(Field::Destination(destination.into()));
            set(Field::Protocol(protocol));
            if let Some((source, destination)) = subject.ports {
                set(Field::SourcePort(source, 16));
                set(Field::DestinationPort(destination, 16));
            }
        }
        value
    }

    /// What is left under `mask`.
    pub(crate) fn masked(&self, mask: &Self) -> Self {
        let Self(mut words) = *self;
        for (word, mask) in words.iter_mut().zip(mask.0) {
            *word &= mask;
        }
        Self(words)
    }

    /// Whether every bit of `mask` agrees with `value`.
    pub(crate) fn meets(&self, value: &Self, mask: &Self) -> bool {
        let words = self.0.iter().zip(value.0).zip(mask.0);
        words.fold(0, |differs, ((word, value), mask)| {
            differs | ((word & mask) ^ value)
        }) == 0
    }

    /// Source and destination port.
    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        let Self([flags, source, destination, ..]) = self;
        let low = |word: &u64| u16::try_from(word & 0xffff).unwrap_or(0);
        (flags & PORTS != 0).then(|| (low(source), low(destination)))
    }
}

/// What the classifier looks at in one frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    /// Ingress port.
    pub(crate) port: u16,
    /// VLAN identifier, 0 for untagged.
    pub(crate) vlan: u16,
    /// EtherType behind VLAN tags.
    pub(crate) ethertype: u16,
    /// Source MAC address.
    pub(crate) source_mac: [u8; 6],
    /// Destination MAC address.
    pub(crate) destination_mac: [u8; 6],
    /// Source, destination and protocol.
    pub(crate) ip: Option<(IpAddr, IpAddr, u8)>,
    /// Source and destination port of TCP, UDP or SCTP.
    pub(crate) ports: Option<(u16, u16)>,
}
