//! TLVs of SFC echo requests and replies (RFC 9516 section 6, figure 4). Three are for private
//! use (types 252 to 254): the RFC has no field for who answers and for what is attached there.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------+---------------+-------------------------------+
//! |     Type      |   Reserved    |            Length             |
//! +---------------+---------------+-------------------------------+
//! |                            Value …                            |
//! +---------------------------------------------------------------+
//!   1   Source ID:       UDP port (2), reserved (2), IPv4 or IPv6 address   figure 5
//!   2   Errored TLVs:    the TLVs that were not understood                  figure 6
//!   3   Reply SFP:       SPI (3), SI (1)                                    figure 8
//!   4   SFF record:      SPI (3), reserved (1), SF information of each SF   figure 9
//!   5   SF information:  SI (1), SF type (2), SF ID type (1), SF IDs        figure 10
//! 252   SFF:             MTU of the next hop (2), SI (1), reserved (1), name or address as text
//! 253   Function:        state (1), reserved (3), round trip in us (4), name as text
//! 254   Padding:         anything
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

// Section 9.2.6; 252 to 254 are reserved for private use.
const SOURCE: u8 = 1;
const ERRORED: u8 = 2;
const REPLY_PATH: u8 = 3;
const RECORD: u8 = 4;
const INFORMATION: u8 = 5;
const SFF: u8 = 252;
const FUNCTION: u8 = 253;
const PADDING: u8 = 254;

/// SF ID type for private use (section 9.2.7): names as text, a zero behind each.
pub const ID_NAMES: u8 = 252;

/// The header that an error of a Source ID TLV names: who sees one answers nothing.
pub const SOURCE_ID: &str = "SFC Source ID TLV";

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
    /// Functions of a path at the responder.
    Record {
        /// Service path.
        spi: Spi,
        /// An `Information` TLV for each service index.
        functions: &'a [u8],
    },
    /// The functions at one service index.
    Information {
        /// Service index with which packets reach them.
        si: Si,
        /// What they do (RFC 9015); 0 is reserved there, and says nothing.
        kind: u16,
        /// What `ids` are (section 9.2.7).
        id: u8,
        /// One or more, one behind the other.
        ids: &'a [u8],
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
    /// So many octets without a meaning, a multiple of four.
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
    let (kind, length) = (data[0], u16_at(data, 2));
    let header = if kind == SOURCE { SOURCE_ID } else { "SFC TLV" };
    // Section 6: "TLV is a variable-length construct whose length is multiple four-octet words."
    if length % 4 != 0 {
        return Err(illegal(header, "length", u32::from(length)));
    }
    let end = HEADER_LEN + usize::from(length);
    require(header, data, end)?;
    Ok((kind, &data[HEADER_LEN..end], &data[end..]))
}

fn text(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|&octet| octet == 0);
    &value[..end.unwrap_or(value.len())]
}

impl<'a> Tlv<'a> {
    fn parse(kind: u8, value: &'a [u8]) -> Result<Self, Error> {
        let refuse = |header| {
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            Err(illegal(header, "length", length))
        };
        Ok(match (kind, value.len()) {
            // Section 6.3.1: "The value of the Length field can be 8 or 20. If the value of the
            // field is neither, the Source ID TLV is considered to be malformed."
            (SOURCE, 8) => Self::Source {
                address: IpAddr::from(array_at::<4>(value, 4)),
                port: u16_at(value, 0),
            },
            (SOURCE, 20) => Self::Source {
                address: IpAddr::from(array_at::<16>(value, 4)),
                port: u16_at(value, 0),
            },
            (ERRORED, _) => Self::Errored(value),
            // Section 6.5.1: the length "MUST be equal to 4".
            (REPLY_PATH, 4) => Self::ReplyPath {
                spi: Spi::new(u24_at(value, 0)).unwrap_or(Spi::MAX),
                si: Si::new(value[3]).unwrap_or(Si::MIN),
            },
            (RECORD, 4..) => Self::Record {
                spi: Spi::new(u24_at(value, 0)).unwrap_or(Spi::MAX),
                functions: &value[4..],
            },
            (INFORMATION, 4..) => Self::Information {
                si: Si::new(value[0]).unwrap_or(Si::MIN),
                kind: u16_at(value, 1),
                id: value[3],
                ids: &value[4..],
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
            (SOURCE, _) => return refuse(SOURCE_ID),
            (REPLY_PATH | RECORD | INFORMATION | SFF | FUNCTION, _) => return refuse("SFC TLV"),
            (kind, _) => Self::Unknown { kind, value },
        })
    }

    fn value_len(&self) -> usize {
        match self {
            Self::Source { address, .. } if address.is_ipv4() => 8,
            Self::Source { .. } => 20,
            Self::Errored(value) | Self::Unknown { value, .. } => value.len(),
            Self::ReplyPath { .. } => 4,
            Self::Record { functions, .. } => 4 + functions.len(),
            Self::Information { ids, .. } => 4 + ids.len().next_multiple_of(4),
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
            Self::Record { .. } => RECORD,
            Self::Information { .. } => INFORMATION,
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
            Self::Record { spi, functions } => {
                put(value, 4, &(spi.get() << 8).to_be_bytes());
                put(value, 8, functions);
            }
            Self::Information { si, kind, id, ids } => {
                value[4] = si.get();
                put(value, 5, &kind.to_be_bytes());
                value[7] = *id;
                put(value, 8, ids);
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
mod tests;
