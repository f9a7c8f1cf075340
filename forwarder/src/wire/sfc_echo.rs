//! SFC echo request and reply (RFC 9516 section 6, figure 3). What follows the fixed part is in
//! [`sfc_tlv`](super::sfc_tlv).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+-------------------------------+
//! |      Echo Request Flags       |           Reserved            |
//! +---------------+---------------+---------------+---------------+
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
use super::{Error, require};
use kc_forwarder_api::EchoCode;

/// Octets of the fixed part.
pub const HEADER_LEN: usize = 16;

/// Echo types (section 9.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Echo request.
    Request,
    /// Echo reply.
    Reply,
    /// SFP consistency verification request (CVReq).
    ConsistencyRequest,
    /// SFP consistency verification reply (CVRep).
    ConsistencyReply,
    /// Something else.
    Other(u8),
}

impl From<u8> for Kind {
    fn from(value: u8) -> Self {
        match value {
            1 => Self::Request,
            2 => Self::Reply,
            3 => Self::ConsistencyRequest,
            4 => Self::ConsistencyReply,
            other => Self::Other(other),
        }
    }
}

impl From<Kind> for u8 {
    fn from(value: Kind) -> Self {
        match value {
            Kind::Request => 1,
            Kind::Reply => 2,
            Kind::ConsistencyRequest => 3,
            Kind::ConsistencyReply => 4,
            Kind::Other(other) => other,
        }
    }
}

/// How a request wants to be answered (section 9.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// Not at all.
    None,
    /// In a UDP datagram to the address of the Source ID TLV.
    Udp,
    /// Along the service path of the Reply SFP TLV.
    Path,
    /// Like `Udp`, behind a MAC of RFC 9145.
    ProtectedUdp,
    /// Like `Path`, behind a MAC of RFC 9145.
    ProtectedPath,
    /// Private use: back across the link it came by, behind an NSH.
    Link,
    /// Something else.
    Other(u8),
}

impl From<u8> for ReplyMode {
    fn from(value: u8) -> Self {
        match value {
            1 => Self::None,
            2 => Self::Udp,
            4 => Self::Path,
            5 => Self::ProtectedUdp,
            7 => Self::ProtectedPath,
            252 => Self::Link,
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
            ReplyMode::ProtectedUdp => 5,
            ReplyMode::ProtectedPath => 7,
            ReplyMode::Link => 252,
            ReplyMode::Other(other) => other,
        }
    }
}

/// The number of a return code (section 9.2.5); 0 is also what a request holds.
pub const fn code_number(code: EchoCode) -> u8 {
    match code {
        EchoCode::NoError => 0,
        EchoCode::Malformed => 1,
        EchoCode::TlvNotUnderstood => 2,
        EchoCode::AuthenticationFailed => 3,
        EchoCode::TtlExceeded => 4,
        EchoCode::EndOfPath => 5,
        EchoCode::ReplyPathMissing => 6,
        EchoCode::ReplyPathNotFound => 7,
        EchoCode::ReplyPathUnverifiable => 8,
        // Private use: to the RFC an SFF that has no next hop does not look at the packet at all.
        EchoCode::NoNextHop => 252,
        EchoCode::Other(code) => code,
    }
}

/// The return code of a number.
pub const fn code_of(number: u8) -> EchoCode {
    match number {
        0 => EchoCode::NoError,
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
    /// Checks the length. TLVs check themselves when they are walked.
    pub fn new_checked(data: &'a [u8]) -> Result<Self, Error> {
        require("SFC echo", data, HEADER_LEN)?;
        Ok(Self(data))
    }

    /// What the fixed part means. Section 6: "Flags MUST be zeroed on transmission and ignored on
    /// receipt", and so what is reserved.
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
    /// Return subcode. Section 6: for all return codes there are it "MUST be set to zero".
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

    /// Figure 3 of RFC 9516: Echo Request Flags, Reserved; Echo Type 1, Reply Mode 4, Return Code,
    /// Return Subcode; Sender's Handle; Sequence Number.
    const FIGURE_3: [u8; 16] = [
        0, 0, 0, 0, //
        1, 4, 0, 0, //
        0xde, 0xad, 0xbe, 0xef, //
        0, 0, 0, 7,
    ];

    #[test]
    fn an_echo_is_that_of_figure_3() {
        let repr = Packet::new_checked(&FIGURE_3).unwrap().repr();
        assert_eq!((repr.kind, repr.mode), (Kind::Request, ReplyMode::Path));
        assert_eq!((repr.code, repr.subcode), (0, 0));
        assert_eq!((repr.handle, repr.sequence), (0xdead_beef, 7));
        let mut out = [0xff; 16];
        repr.emit(&mut out);
        assert_eq!(out, FIGURE_3);
    }

    #[test]
    fn flags_and_reserved_bits_of_an_echo_are_ignored() {
        let mut octets = FIGURE_3;
        octets[..4].fill(0xff);
        let repr = Packet::new_checked(&octets).unwrap().repr();
        assert_eq!(repr, Packet::new_checked(&FIGURE_3).unwrap().repr());
    }

    #[test]
    fn every_truncation_of_an_echo_is_refused() {
        for length in 0..HEADER_LEN {
            assert!(Packet::new_checked(&FIGURE_3[..length]).is_err());
        }
    }

    #[test]
    fn code_points_are_those_of_the_registries() {
        // Section 9.2.3.
        let kinds = [
            Kind::Request,
            Kind::Reply,
            Kind::ConsistencyRequest,
            Kind::ConsistencyReply,
        ];
        assert_eq!(kinds.map(u8::from), [1, 2, 3, 4]);
        // Section 9.2.4; 252 to 254 are reserved for private use.
        let modes = [
            ReplyMode::None,
            ReplyMode::Udp,
            ReplyMode::Path,
            ReplyMode::ProtectedUdp,
            ReplyMode::ProtectedPath,
            ReplyMode::Link,
        ];
        assert_eq!(modes.map(u8::from), [1, 2, 4, 5, 7, 252]);
        // Section 9.2.5; 252 to 254 are reserved for private use.
        let codes = [
            EchoCode::NoError,
            EchoCode::Malformed,
            EchoCode::TlvNotUnderstood,
            EchoCode::AuthenticationFailed,
            EchoCode::TtlExceeded,
            EchoCode::EndOfPath,
            EchoCode::ReplyPathMissing,
            EchoCode::ReplyPathNotFound,
            EchoCode::ReplyPathUnverifiable,
            EchoCode::NoNextHop,
        ];
        assert_eq!(codes.map(code_number), [0, 1, 2, 3, 4, 5, 6, 7, 8, 252]);
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
