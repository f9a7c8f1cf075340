//! ICMP (RFC 792, RFC 4443): echo, and the errors that a forwarder owes a sender.

use super::field::{put, u16_at};
use super::{Error, checksum, ipv4, ipv6, require};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Octets of the fixed part.
pub const HEADER_LEN: usize = 8;

/// Message types.
pub mod kind {
    /// ICMPv4 echo reply.
    pub const ECHO_REPLY_V4: u8 = 0;
    /// ICMPv4 destination unreachable.
    pub const UNREACHABLE_V4: u8 = 3;
    /// ICMPv4 echo request.
    pub const ECHO_REQUEST_V4: u8 = 8;
    /// ICMPv4 time exceeded.
    pub const TIME_EXCEEDED_V4: u8 = 11;
    /// ICMPv6 destination unreachable.
    pub const UNREACHABLE_V6: u8 = 1;
    /// ICMPv6 packet too big.
    pub const TOO_BIG_V6: u8 = 2;
    /// ICMPv6 time exceeded.
    pub const TIME_EXCEEDED_V6: u8 = 3;
    /// ICMPv6 echo request.
    pub const ECHO_REQUEST_V6: u8 = 128;
    /// ICMPv6 echo reply.
    pub const ECHO_REPLY_V6: u8 = 129;
}

/// Whether a message of type `kind` is an error, which quotes a packet.
pub const fn is_error(v6: bool, kind: u8) -> bool {
    if v6 {
        // RFC 4443 section 2.1: errors have types 0 to 127.
        kind < kind::ECHO_REQUEST_V6
    } else {
        // RFC 1122 section 3.2.2: destination unreachable, source quench, redirect, time
        // exceeded, parameter problem.
        matches!(kind, 3 | 4 | 5 | 11 | 12)
    }
}

/// A checked view of an ICMP or ICMPv6 message.
#[derive(Debug, Clone, Copy)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks that the fixed part is there.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        require("ICMP", buffer.as_ref(), HEADER_LEN)?;
        Ok(Self(buffer))
    }

    /// Type.
    pub fn kind(&self) -> u8 {
        self.0.as_ref()[0]
    }

    /// Code.
    pub fn code(&self) -> u8 {
        self.0.as_ref()[1]
    }

    /// Checksum.
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.as_ref(), 2)
    }

    /// Echo identifier.
    pub fn ident(&self) -> u16 {
        u16_at(self.0.as_ref(), 4)
    }

    /// Echo sequence number, or the MTU of an ICMPv4 "fragmentation needed".
    pub fn sequence(&self) -> u16 {
        u16_at(self.0.as_ref(), 6)
    }

    /// What follows: echo data, or the packet an error is about.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes type and code.
    pub fn set_kind(&mut self, kind: u8, code: u8) {
        put(self.0.as_mut(), 0, &[kind, code]);
    }

    /// Writes the checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        put(self.0.as_mut(), 2, &checksum.to_be_bytes());
    }

    /// Writes the echo identifier.
    pub fn set_ident(&mut self, ident: u16) {
        put(self.0.as_mut(), 4, &ident.to_be_bytes());
    }

    /// What follows the fixed part.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.0.as_mut()[HEADER_LEN..]
    }

    /// Computes the ICMPv4 checksum over the whole buffer.
    pub fn fill_checksum_v4(&mut self) {
        self.set_checksum(0);
        let sum = !checksum::fold(checksum::sum(self.0.as_ref()));
        self.set_checksum(sum);
    }
}

/// RFC 1812 section 4.3.2.3: an error carries "as much of the original datagram as possible
/// without the length of the ICMP datagram exceeding 576 bytes".
const MAX_ERROR_V4: usize = 576;

/// RFC 4443 section 2.4: "as much of the invoking packet as possible without the error message
/// exceeding the minimum IPv6 MTU".
const MAX_ERROR_V6: usize = ipv6::MIN_MTU;

/// An ICMPv4 error as a whole IPv4 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorV4<'a> {
    /// Who says so.
    pub source: Ipv4Addr,
    /// Who is told: the original packet's source.
    pub destination: Ipv4Addr,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// MTU for "fragmentation needed" (RFC 1191), otherwise zero.
    pub mtu: u16,
    /// The original IPv4 packet.
    pub original: &'a [u8],
}

impl ErrorV4<'_> {
    fn quoted(&self) -> usize {
        self.original
            .len()
            .min(MAX_ERROR_V4 - ipv4::HEADER_LEN - HEADER_LEN)
    }

    /// Octets that `emit` writes.
    pub fn buffer_len(&self) -> usize {
        ipv4::HEADER_LEN + HEADER_LEN + self.quoted()
    }

    /// Writes IPv4 and ICMP headers and the quotation.
    pub fn emit(&self, buffer: &mut [u8]) {
        let quoted = self.quoted();
        ipv4::Repr {
            source: self.source,
            destination: self.destination,
            protocol: 1,
            payload_len: u16::try_from(HEADER_LEN + quoted).unwrap_or(u16::MAX),
            ttl: 64,
            tos: 0xc0,
            ident: 0,
            dont_fragment: false,
        }
        .emit(buffer);
        let message = &mut buffer[ipv4::HEADER_LEN..ipv4::HEADER_LEN + HEADER_LEN + quoted];
        message[..HEADER_LEN].fill(0);
        put(message, 6, &self.mtu.to_be_bytes());
        put(message, HEADER_LEN, &self.original[..quoted]);
        let mut packet = Packet(message);
        packet.set_kind(self.kind, self.code);
        packet.fill_checksum_v4();
    }
}

/// An ICMPv6 error as a whole IPv6 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorV6<'a> {
    /// Who says so.
    pub source: Ipv6Addr,
    /// Who is told: the original packet's source.
    pub destination: Ipv6Addr,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// MTU for "packet too big", otherwise zero.
    pub mtu: u32,
    /// The original IPv6 packet.
    pub original: &'a [u8],
}

impl ErrorV6<'_> {
    fn quoted(&self) -> usize {
        self.original
            .len()
            .min(MAX_ERROR_V6 - ipv6::HEADER_LEN - HEADER_LEN)
    }

    /// Octets that `emit` writes.
    pub fn buffer_len(&self) -> usize {
        ipv6::HEADER_LEN + HEADER_LEN + self.quoted()
    }

    /// Writes IPv6 and ICMPv6 headers and the quotation.
    pub fn emit(&self, buffer: &mut [u8]) {
        let quoted = self.quoted();
        let length = HEADER_LEN + quoted;
        ipv6::Repr {
            source: self.source,
            destination: self.destination,
            next_header: 58,
            payload_len: u16::try_from(length).unwrap_or(u16::MAX),
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
        }
        .emit(buffer);
        let message = &mut buffer[ipv6::HEADER_LEN..ipv6::HEADER_LEN + length];
        put(message, 0, &[self.kind, self.code, 0, 0]);
        put(message, 4, &self.mtu.to_be_bytes());
        put(message, HEADER_LEN, &self.original[..quoted]);
        let pseudo = checksum::pseudo_header(
            &self.source.octets(),
            &self.destination.octets(),
            58,
            length,
        );
        let sum = !checksum::fold(pseudo + checksum::sum(message));
        put(message, 2, &sum.to_be_bytes());
    }
}
