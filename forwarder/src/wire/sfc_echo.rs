//! SFC echo request and reply (RFC 9516 section 6.1). What follows the fixed part is in
//! [`sfc_tlv`](super::sfc_tlv).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---+---------------------------+-------------------------------+
//! | V |         Reserved          |      Echo Request Flags       |
//! +---+-----------+---------------+---------------+---------------+
//! |   Echo Type   |   Reply Mode  |  Return Code  |Return Subcode |
//! +---------------+---------------+---------------+---------------+
//! |                        Sender's Handle                        |
//! +---------------------------------------------------------------+
//! |                        Sequence Number                        |
//! +---------------------------------------------------------------+
//! |                            TLVs …                             |
//! +---------------------------------------------------------------+
//! ```

use super::field::{put, u32_at};
use super::sfc_tlv::Tlvs;
use super::{Error, illegal, require};
use kc_forwarder_api::EchoCode;

/// Octets of the fixed part.
pub const HEADER_LEN: usize = 16;

/// Echo types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Echo request.
    Request,
    /// Echo reply.
    Reply,
    /// Something else.
    Other(u8),
}

impl From<u8> for Kind {
    fn from(value: u8) -> Self {
        match value {
            1 => Self::Request,
            2 => Self::Reply,
            other => Self::Other(other),
        }
    }
}

impl From<Kind> for u8 {
    fn from(value: Kind) -> Self {
        match value {
            Kind::Request => 1,
            Kind::Reply => 2,
            Kind::Other(other) => other,
        }
    }
}

/// How a request wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// Not at all.
    None,
    /// In a UDP datagram to the address of the Source TLV.
    Udp,
    /// Along the service path of the Reply SFP TLV.
    Path,
    /// Private use: behind an NSH, in the encapsulation of the request, to the address of the
    /// Source TLV; without one to whoever handed the request over.
    Transport,
    /// Something else.
    Other(u8),
}

impl From<u8> for ReplyMode {
    fn from(value: u8) -> Self {
        match value {
            1 => Self::None,
            2 => Self::Udp,
            4 => Self::Path,
            252 => Self::Transport,
            other => Self::Other(other),
        }
    }
}

impl From<ReplyMode> for u8 {
    fn from(value: ReplyMode) -> Self {
        match value {
            ReplyMode::None => 1,
            ReplyMode::Udp => 2,
            ReplyMode::Path => 4,
            ReplyMode::Transport => 252,
            ReplyMode::Other(other) => other,
        }
    }
}

/// The number of a return code; 0, "no error", is what a request holds.
pub const fn code_number(code: EchoCode) -> u8 {
    match code {
        EchoCode::Malformed => 1,
        EchoCode::TlvNotUnderstood => 2,
        EchoCode::AuthenticationFailed => 3,
        EchoCode::TtlExceeded => 4,
        EchoCode::EndOfPath => 5,
        EchoCode::ReplyPathMissing => 6,
        EchoCode::ReplyPathNotFound => 7,
        EchoCode::ReplyPathUnverifiable => 8,
        // Private use: the RFC has no code for an SFF that knows nothing to do with the packet.
        EchoCode::NoNextHop => 252,
        EchoCode::Other(code) => code,
    }
}

/// The return code of a number.
pub const fn code_of(number: u8) -> EchoCode {
    match number {
        1 => EchoCode::Malformed,
        2 => EchoCode::TlvNotUnderstood,
        3 => EchoCode::AuthenticationFailed,
        4 => EchoCode::TtlExceeded,
        5 => EchoCode::EndOfPath,
        6 => EchoCode::ReplyPathMissing,
        7 => EchoCode::ReplyPathNotFound,
        8 => EchoCode::ReplyPathUnverifiable,
        252 => EchoCode::NoNextHop,
        other => EchoCode::Other(other),
    }
}

/// A checked view of an echo request or reply.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a>(&'a [u8]);

impl<'a> Packet<'a> {
    /// Checks version and length. TLVs check themselves when they are walked.
    pub fn new_checked(data: &'a [u8]) -> Result<Self, Error> {
        require("SFC echo", data, HEADER_LEN)?;
        if data[0] >> 6 != 0 {
            return Err(illegal("SFC echo", "version", u32::from(data[0] >> 6)));
        }
        Ok(Self(data))
    }

    /// What the fixed part means. Flags nobody assigned are ignored.
    pub fn repr(&self) -> Repr {
        let data = self.0;
        Repr {
            kind: data[4].into(),
            mode: data[5].into(),
            code: data[6],
            subcode: data[7],
            handle: u32_at(data, 8),
            sequence: u32_at(data, 12),
        }
    }

    /// What follows the fixed part.
    pub fn tlvs(&self) -> Tlvs<'a> {
        Tlvs::new(&self.0[HEADER_LEN..])
    }
}

/// The meaning of the fixed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Request or reply.
    pub kind: Kind,
    /// How to answer.
    pub mode: ReplyMode,
    /// Return code, by number; 0 in requests.
    pub code: u8,
    /// Return subcode.
    pub subcode: u8,
    /// Chosen by the sender of the request and given back unchanged.
    pub handle: u32,
    /// Like the handle.
    pub sequence: u32,
}

impl Repr {
    /// Writes the fixed part into the first [`HEADER_LEN`] octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        buffer[..4].fill(0);
        buffer[4] = self.kind.into();
        buffer[5] = self.mode.into();
        buffer[6] = self.code;
        buffer[7] = self.subcode;
        put(buffer, 8, &self.handle.to_be_bytes());
        put(buffer, 12, &self.sequence.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: [u8; 16] = [0, 0, 0, 0, 1, 4, 0, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 7];

    #[test]
    fn a_request_survives_both_ways() {
        let repr = Packet::new_checked(&REQUEST).unwrap().repr();
        assert_eq!((repr.kind, repr.mode), (Kind::Request, ReplyMode::Path));
        assert_eq!((repr.handle, repr.sequence), (0xdead_beef, 7));
        let mut out = [0xff; 16];
        repr.emit(&mut out);
        assert_eq!(out, REQUEST);
    }

    #[test]
    fn every_truncation_and_other_versions_are_refused() {
        for length in 0..HEADER_LEN {
            assert!(Packet::new_checked(&REQUEST[..length]).is_err());
        }
        let mut other = REQUEST;
        other[0] = 0x40;
        assert!(Packet::new_checked(&other).is_err());
    }

    #[test]
    fn numbers_and_names_belong_together() {
        for number in 0..=255 {
            assert_eq!(code_number(code_of(number)), number);
            assert_eq!(u8::from(ReplyMode::from(number)), number);
            assert_eq!(u8::from(Kind::from(number)), number);
        }
    }
}
