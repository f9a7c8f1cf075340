//! One end of a packet gets another address and port, and every checksum that covers them is
//! updated by the difference (RFC 1624), so that damage done elsewhere stays visible.

use super::protocol;
use kc_forwarder::frame::Frame;
use kc_forwarder::wire::checksum;
use kc_forwarder::wire::summary::Summary;
use kc_forwarder::wire::{ethernet, icmp, tcp, udp, vlan};
use std::net::IpAddr;

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

/// Writes MAC addresses; `None` leaves one as it is.
pub(crate) fn set_macs(frame: &mut [u8], source: Option<[u8; 6]>, destination: Option<[u8; 6]>) {
    if let Ok(mut ethernet) = ethernet::Packet::new_checked(frame) {
        if let Some(source) = source {
            ethernet.set_source(source);
        }
        if let Some(destination) = destination {
            ethernet.set_destination(destination);
        }
    }
}

/// Moves a frame from VLAN `from`, its outermost, to VLAN `to`; 0 stands for none. Offsets into
/// the frame may be others afterwards.
pub(crate) fn retag(frame: &mut Frame, from: u16, to: u16) {
    if from == to {
        return;
    }
    let tci = match frame.offload.vlan.take() {
        Some(tci) => Some(tci),
        None => (from != 0).then(|| vlan::pull(frame)).flatten(),
    };
    if to != 0 {
        // Priority and drop eligibility stay.
        frame.offload.vlan = Some(tci.unwrap_or(0) & 0xf000 | to);
    }
}

/// Writes `address`, and `port` (an echo's identifier) where given, into one end of the packet
/// that `summary` describes. `None` when the packet has no such fields; then nothing is changed
/// that the caller may send.
pub(crate) fn rewrite(
    frame: &mut [u8],
    summary: &Summary,
    end: End,
    address: IpAddr,
    port: Option<u16>,
) -> Option<()> {
    let (new, length) = match address {
        IpAddr::V4(v4) if summary.is_ipv4() => (pad(&v4.octets()), 4),
        IpAddr::V6(v6) if summary.is_ipv6() => (v6.octets(), 16),
        _ => return None,
    };
    let place = match (length, end) {
        (4, End::Source) => 12,
        (4, End::Destination) => 16,
        (_, End::Source) => 8,
        (_, End::Destination) => 24,
    };
    let ip = frame.get_mut(summary.l3..summary.l3_end)?;
    let field = ip.get_mut(place..place + length)?;
    let old = pad(field);
    let (new, old) = (new.get(..length)?, old.get(..length)?);
    field.copy_from_slice(new);
    if length == 4 {
        update(ip, 10, old, new)?;
    }
    let l4 = summary.l4.map(|l4| l4 - summary.l3);
    let covered = match (summary.protocol, l4) {
        (protocol::TCP, Some(l4)) => Some(l4 + tcp::CHECKSUM_AT),
        (protocol::UDP, Some(l4)) => {
            let at = l4 + udp::CHECKSUM_AT;
            // RFC 768: "An all zero transmitted checksum value means that the transmitter
            // generated no checksum".
            (ip.get(at..at + 2)? != [0, 0]).then_some(at)
        }
        (protocol::ICMPV6, Some(l4)) => Some(l4 + 2),
        _ => None,
    };
    if let Some(at) = covered {
        update(ip, at, old, new)?;
    }
    if let (Some(port), Some(l4)) = (port, l4) {
        let (at, sum) = match (summary.protocol, end) {
            (protocol::TCP | protocol::UDP, End::Source) => (l4, covered),
            (protocol::TCP | protocol::UDP, End::Destination) => (l4 + 2, covered),
            (protocol::ICMP | protocol::ICMPV6, _) if is_echo(ip.get(l4..)?) => {
                (l4 + 4, Some(l4 + 2))
            }
            _ => return Some(()),
        };
        let field = ip.get_mut(at..at + 2)?;
        let old = [field[0], field[1]];
        field.copy_from_slice(&port.to_be_bytes());
        if let Some(sum) = sum {
            update(ip, sum, &old, &port.to_be_bytes())?;
        }
    }
    if let (protocol::UDP, Some(at)) = (summary.protocol, covered) {
        // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
        let field = ip.get_mut(at..at + 2)?;
        if field == [0, 0] {
            field.fill(0xff);
        }
    }
    Some(())
}

fn is_echo(message: &[u8]) -> bool {
    use icmp::kind::{ECHO_REPLY_V4, ECHO_REPLY_V6, ECHO_REQUEST_V4, ECHO_REQUEST_V6};
    matches!(
        message.first(),
        Some(&(ECHO_REPLY_V4 | ECHO_REPLY_V6 | ECHO_REQUEST_V4 | ECHO_REQUEST_V6))
    )
}

fn pad(octets: &[u8]) -> [u8; 16] {
    let mut padded = [0; 16];
    for (place, octet) in padded.iter_mut().zip(octets) {
        *place = *octet;
    }
    padded
}

/// Updates the checksum at `at` for octets that changed at an even place.
pub(super) fn update(data: &mut [u8], at: usize, old: &[u8], new: &[u8]) -> Option<()> {
    let field = data.get_mut(at..at + 2)?;
    let sum = checksum::update_slice(u16::from_be_bytes([field[0], field[1]]), old, new);
    field.copy_from_slice(&sum.to_be_bytes());
    Some(())
}
