//! Whose probe a frame is, or tells about: frames on their way out by what stands in them, and
//! ICMP errors by the packet they quote (RFC 792, RFC 4443).

use crate::pipeline::Packet;
use crate::wire::icmp::kind;
use kc_forwarder_api::ProbeError;
use std::net::IpAddr;

/// What tells one probe from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// ICMP identifier and sequence number.
    Echo(u16, u16),
    /// UDP source port, and the sequence number in the payload, where that is to be seen.
    Datagram(u16, Option<u32>),
    /// TCP source port.
    Connection(u16),
}

/// An outgoing packet as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) mark: Mark,
    /// Whether it is the probe's first packet: of TCP, the one with SYN.
    pub(super) asks: bool,
}

/// What a frame that is about to leave belongs to.
pub(super) fn outgoing(frame: &[u8]) -> Option<Outgoing> {
    let packet = Packet::parse(frame)?;
    let ip = packet.ip?;
    let l4 = frame.get(ip.l4..ip.end)?;
    let mark = mark(ip.protocol, l4)?;
    let asks = match mark {
        Mark::Connection(_) => l4.get(13)? & 0x02 != 0,
        Mark::Echo(..) | Mark::Datagram(..) => true,
    };
    Some(Outgoing { mark, asks })
}

/// An ICMP error and the packet it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Complaint {
    /// What it says.
    pub(super) error: ProbeError,
    /// To whom the packet was.
    pub(super) destination: IpAddr,
    /// Whose packet.
    pub(super) mark: Mark,
}

/// The ICMP error in a frame, if it is one.
pub(super) fn complaint(frame: &[u8]) -> Option<Complaint> {
    let packet = Packet::parse(frame)?;
    let ip = packet.ip.filter(|ip| !ip.fragment)?;
    let icmp = frame.get(ip.l4..ip.end)?;
    let (&kind, &code) = (icmp.first()?, icmp.get(1)?);
    let error = match (ip.protocol, kind, code) {
        (1, kind::UNREACHABLE_V4, 2 | 3) => ProbeError::Refused,
        (1, kind::UNREACHABLE_V4, 4) => ProbeError::TooBig,
        (1, kind::UNREACHABLE_V4, _) => ProbeError::Unreachable,
        (1, kind::TIME_EXCEEDED_V4, _) => ProbeError::TtlExpired,
        (58, kind::UNREACHABLE_V6, 4) => ProbeError::Refused,
        (58, kind::UNREACHABLE_V6, _) => ProbeError::Unreachable,
        (58, kind::TOO_BIG_V6, _) => ProbeError::TooBig,
        (58, kind::TIME_EXCEEDED_V6, _) => ProbeError::TtlExpired,
        _ => return None,
    };
    // What is quoted may be cut anywhere behind its first eight octets.
    let quoted = icmp.get(8..)?;
    let (protocol, destination, l4) = if ip.v6 {
        let address: [u8; 16] = quoted.get(24..40)?.try_into().ok()?;
        (*quoted.get(6)?, IpAddr::from(address), quoted.get(40..)?)
    } else {
        let header = usize::from(quoted.first()? & 0x0f) * 4;
        let address: [u8; 4] = quoted.get(16..20)?.try_into().ok()?;
        let l4 = quoted.get(header.max(20)..)?;
        (*quoted.get(9)?, IpAddr::from(address), l4)
    };
    let mark = mark(protocol, l4)?;
    Some(Complaint {
        error,
        destination,
        mark,
    })
}

fn mark(protocol: u8, l4: &[u8]) -> Option<Mark> {
    let word = |at: usize| {
        let word = l4.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(word))
    };
    match protocol {
        1 | 58 if matches!(l4.first()?, &kind::ECHO_REQUEST_V4 | &kind::ECHO_REQUEST_V6) => {
            Some(Mark::Echo(word(4)?, word(6)?))
        }
        17 => Some(Mark::Datagram(word(0)?, sequence(l4.get(8..)?))),
        6 => Some(Mark::Connection(word(0)?)),
        _ => None,
    }
}

/// Tells our datagrams from others.
const MAGIC: [u8; 4] = *b"kcpr";

/// `payload` filled for probe `sequence`.
pub(super) fn fill(payload: &mut [u8], sequence: u32) {
    let start = MAGIC.into_iter().chain(sequence.to_be_bytes());
    let rest = (0..=u8::MAX).cycle();
    for (octet, value) in payload.iter_mut().zip(start.chain(rest)) {
        *octet = value;
    }
}

/// The number of the probe whose payload this is.
pub(super) fn sequence(payload: &[u8]) -> Option<u32> {
    let (magic, rest) = payload.split_first_chunk::<4>()?;
    let number = rest.first_chunk::<4>()?;
    (*magic == MAGIC).then(|| u32::from_be_bytes(*number))
}
