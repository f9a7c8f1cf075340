//! TLVs of SFC echo requests and replies (RFC 9516 section 6). Three are for private use (types
//! 252 to 254): the RFC has no field for who answers and for what is attached there.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |     Type      |   Reserved    |            Length             |
//! +---------------+---------------+-------------------------------+
//! |                            Value …                            |
//! +---------------------------------------------------------------+
//!   1   Source:     UDP port (2), reserved (2), IPv4 or IPv6 address
//!   2   Errored:    the TLVs that were not understood
//!   3   Reply SFP:  SPI (3), SI (1)
//! 252   SFF:        MTU of the next hop (2), SI (1), reserved (1), name or address as text
//! 253   Function:   state (1), reserved (3), round trip in us (4), name as text
//! 254   Padding:    anything
//! ```
//!
//! Texts are filled up with zeroes to a multiple of four octets, so that no TLV needs padding
//! behind it.

use super::field::{array_at, put, u16_at, u24_at, u32_at};
use super::{Error, illegal, require};
use kc_forwarder_api::{HealthState, Si, Spi};
use std::net::IpAddr;

/// Octets in front of a value.
pub const HEADER_LEN: usize = 4;

const SOURCE: u8 = 1;
const ERRORED: u8 = 2;
const REPLY_PATH: u8 = 3;
const SFF: u8 = 252;
const FUNCTION: u8 = 253;
const PADDING: u8 = 254;

/// One TLV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tlv<'a> {
    /// Where to answer.
    Source {
        /// Address.
        address: IpAddr,
        /// UDP port.
        port: u16,
    },
    /// TLVs of the request that were not understood.
    Errored(&'a [u8]),
    /// The service path that the answer shall take.
    ReplyPath {
        /// Service path.
        spi: Spi,
        /// Index to start with.
        si: Si,
    },
    /// Who answers.
    Sff {
        /// Largest inner IP packet that the next hop takes; 0 when unknown.
        mtu: u16,
        /// Service index with which the request came.
        si: Si,
        /// Name or address, as text.
        name: &'a [u8],
    },
    /// A function of the path at the responder.
    Function {
        /// Whether it lives.
        state: HealthState,
        /// Round trip in microseconds; 0 when unknown.
        rtt_us: u32,
        /// Its name, as text.
        name: &'a [u8],
    },
    /// So many octets without a meaning.
    Padding(u16),
    /// Something else, whole.
    Unknown {
        /// Its type.
        kind: u8,
        /// Its value.
        value: &'a [u8],
    },
}

/// Walks TLVs; ends with the first error.
#[derive(Debug, Clone)]
pub struct Tlvs<'a> {
    data: &'a [u8],
}

impl<'a> Tlvs<'a> {
    /// The TLVs in `data`.
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data }
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.data.is_empty() {
            return None;
        }
        match split(self.data) {
            Ok((kind, value, rest)) => {
                self.data = rest;
                Some(Tlv::parse(kind, value))
            }
            Err(error) => {
                self.data = &[];
                Some(Err(error))
            }
        }
    }
}

fn split(data: &[u8]) -> Result<(u8, &[u8], &[u8]), Error> {
    require("SFC TLV", data, HEADER_LEN)?;
    let end = HEADER_LEN + usize::from(u16_at(data, 2));
    require("SFC TLV", data, end)?;
    Ok((data[0], &data[HEADER_LEN..end], &data[end..]))
}

fn text(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|&octet| octet == 0);
    &value[..end.unwrap_or(value.len())]
}

impl<'a> Tlv<'a> {
    fn parse(kind: u8, value: &'a [u8]) -> Result<Self, Error> {
        let refuse = || {
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            Err(illegal("SFC TLV", "length", length))
        };
        Ok(match (kind, value.len()) {
            // Section 6.3: the length of a Source TLV is 8 or 20.
            (SOURCE, 8) => Self::Source {
                address: IpAddr::from(array_at::<4>(value, 4)),
                port: u16_at(value, 0),
            },
            (SOURCE, 20) => Self::Source {
                address: IpAddr::from(array_at::<16>(value, 4)),
                port: u16_at(value, 0),
            },
            (ERRORED, _) => Self::Errored(value),
            (REPLY_PATH, 4) => Self::ReplyPath {
                spi: Spi::new(u24_at(value, 0)).unwrap_or(Spi::MAX),
                si: Si::new(value[3]).unwrap_or(Si::MIN),
            },
            (SFF, 4..) => Self::Sff {
                mtu: u16_at(value, 0),
                si: Si::new(value[2]).unwrap_or(Si::MIN),
                name: text(&value[4..]),
            },
            (FUNCTION, 8..) => Self::Function {
                state: match value[0] {
                    1 => HealthState::Alive,
                    2 => HealthState::Dead,
                    _ => HealthState::Unknown,
                },
                rtt_us: u32_at(value, 4),
                name: text(&value[8..]),
            },
            (PADDING, length) => Self::Padding(u16::try_from(length).unwrap_or(u16::MAX)),
            (SOURCE | REPLY_PATH | SFF | FUNCTION, _) => return refuse(),
            (kind, _) => Self::Unknown { kind, value },
        })
    }

    fn value_len(&self) -> usize {
        match self {
            Self::Source { address, .. } if address.is_ipv4() => 8,
            Self::Source { .. } => 20,
            Self::Errored(value) | Self::Unknown { value, .. } => value.len(),
            Self::ReplyPath { .. } => 4,
            Self::Sff { name, .. } => 4 + name.len().next_multiple_of(4),
            Self::Function { name, .. } => 8 + name.len().next_multiple_of(4),
            Self::Padding(length) => usize::from(*length),
        }
    }

    /// Octets that `emit` writes.
    pub fn buffer_len(&self) -> usize {
        HEADER_LEN + self.value_len()
    }

    /// Writes the TLV into the first [`buffer_len`](Self::buffer_len) octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        let length = self.value_len();
        let value = &mut buffer[..HEADER_LEN + length];
        value.fill(0);
        let kind = match self {
            Self::Source { .. } => SOURCE,
            Self::Errored(_) => ERRORED,
            Self::ReplyPath { .. } => REPLY_PATH,
            Self::Sff { .. } => SFF,
            Self::Function { .. } => FUNCTION,
            Self::Padding(_) => PADDING,
            Self::Unknown { kind, .. } => *kind,
        };
        value[0] = kind;
        let short = u16::try_from(length).unwrap_or(u16::MAX);
        put(value, 2, &short.to_be_bytes());
        match self {
            Self::Source { address, port } => {
                put(value, 4, &port.to_be_bytes());
                match address {
                    IpAddr::V4(address) => put(value, 8, &address.octets()),
                    IpAddr::V6(address) => put(value, 8, &address.octets()),
                }
            }
            Self::Errored(octets) | Self::Unknown { value: octets, .. } => put(value, 4, octets),
            Self::ReplyPath { spi, si } => {
                put(
                    value,
                    4,
                    &(spi.get() << 8 | u32::from(si.get())).to_be_bytes(),
                );
            }
            Self::Sff { mtu, si, name } => {
                put(value, 4, &mtu.to_be_bytes());
                value[6] = si.get();
                put(value, 8, name);
            }
            Self::Function {
                state,
                rtt_us,
                name,
            } => {
                value[4] = match state {
                    HealthState::Unknown => 0,
                    HealthState::Alive => 1,
                    HealthState::Dead => 2,
                };
                put(value, 8, &rtt_us.to_be_bytes());
                put(value, 12, name);
            }
            Self::Padding(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(tlv: &Tlv<'_>) -> Vec<u8> {
        let mut octets = vec![0xee; tlv.buffer_len()];
        tlv.emit(&mut octets);
        octets
    }

    fn all() -> [Tlv<'static>; 8] {
        [
            Tlv::Source {
                address: [192, 0, 2, 1].into(),
                port: 4790,
            },
            Tlv::Source {
                address: "2001:db8::1".parse().unwrap(),
                port: 1,
            },
            Tlv::Errored(&[9, 0, 0, 0]),
            Tlv::ReplyPath {
                spi: Spi::new(0x01_0203).unwrap(),
                si: Si::MAX,
            },
            Tlv::Sff {
                mtu: 1400,
                si: Si::MAX,
                name: b"box-1",
            },
            Tlv::Function {
                state: HealthState::Dead,
                rtt_us: 77,
                name: b"fw",
            },
            Tlv::Padding(6),
            Tlv::Unknown {
                kind: 99,
                value: &[1, 2, 3],
            },
        ]
    }

    #[test]
    fn the_octets_are_where_the_rfc_has_them() {
        let [source, _, errored, path, sff, function, ..] = all();
        assert_eq!(
            emitted(&source),
            [1, 0, 0, 8, 0x12, 0xb6, 0, 0, 192, 0, 2, 1]
        );
        assert_eq!(emitted(&errored), [2, 0, 0, 4, 9, 0, 0, 0]);
        assert_eq!(emitted(&path), [3, 0, 0, 4, 1, 2, 3, 255]);
        let sff = emitted(&sff);
        assert_eq!(sff[..8], [252, 0, 0, 12, 5, 0x78, 255, 0]);
        assert_eq!(sff[8..], *b"box-1\0\0\0");
        let function = emitted(&function);
        assert_eq!(
            function,
            [253, 0, 0, 12, 2, 0, 0, 0, 0, 0, 0, 77, b'f', b'w', 0, 0]
        );
    }

    #[test]
    fn all_survive_one_after_the_other() {
        let octets: Vec<u8> = all().iter().flat_map(emitted).collect();
        let read: Result<Vec<_>, _> = Tlvs::new(&octets).collect();
        assert_eq!(read.unwrap(), all());
    }

    #[test]
    fn a_walk_over_half_a_tlv_ends_with_an_error() {
        for tlv in all() {
            let octets = emitted(&tlv);
            for length in 1..octets.len() {
                let read: Result<Vec<_>, _> = Tlvs::new(&octets[..length]).collect();
                assert!(read.is_err(), "{tlv:?} cut to {length}");
            }
        }
    }

    #[test]
    fn a_length_that_does_not_fit_its_type_is_refused() {
        for octets in [
            &[1, 0, 0, 4, 0, 0, 0, 0][..],
            &[3, 0, 0, 0],
            &[252, 0, 0, 1, 0],
            &[253, 0, 0, 4, 0, 0, 0, 0],
        ] {
            assert!(Tlvs::new(octets).next().unwrap().is_err(), "{octets:?}");
        }
    }
}
