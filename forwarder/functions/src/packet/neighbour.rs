//! ARP (RFC 826) and IPv6 neighbour solicitation (RFC 4861) for a function's own addresses.

use super::protocol;
use super::reading::{Kind, Reading};
use kc_forwarder::frame::{Checksum, Frame};
use kc_forwarder::wire::{arp, checksum, ipv6};
use std::net::{IpAddr, Ipv6Addr};

/// Neighbour solicitation and advertisement.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Solicited and override flags of an advertisement.
const SOLICITED_OVERRIDE: u8 = 0x60;

/// Source and target link-layer address options.
const TARGET_ADDRESS: u8 = 2;

/// Who asks for which address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The asker; unspecified when it only wants to know whether the address is free.
    pub(crate) by: IpAddr,
    /// Its MAC address.
    pub(crate) by_mac: [u8; 6],
    /// The address asked for.
    pub(crate) target: IpAddr,
}

/// Reads an ARP request or neighbour solicitation.
pub(crate) fn asked(frame: &[u8], reading: &Reading) -> Option<Asked> {
    match reading.kind {
        Kind::Arp => {
            let request = arp::Repr::parse(frame.get(reading.summary.l3..)?).ok()?;
            (request.operation == arp::Operation::Request).then_some(Asked {
                by: request.sender.into(),
                by_mac: request.sender_mac,
                target: request.target.into(),
            })
        }
        Kind::Discovery => {
            let message = reading.transport(frame);
            // RFC 4861 section 7.1.1: "The IP Hop Limit field has a value of 255".
            let hop_limit = *frame.get(reading.summary.l3 + 7)?;
            if *message.first()? != SOLICITATION || hop_limit != 255 {
                return None;
            }
            let target: [u8; 16] = message.get(8..24)?.try_into().ok()?;
            Some(Asked {
                by: reading.source(),
                by_mac: reading.summary.source_mac,
                target: Ipv6Addr::from(target).into(),
            })
        }
        _ => None,
    }
}

/// The answer to `asked`: its target has address `mac`.
pub(crate) fn answer_neighbour(
    frame: &Frame,
    reading: &Reading,
    asked: &Asked,
    mac: [u8; 6],
) -> Option<Frame> {
    let mut answer = Frame::with_capacity(128);
    answer.extend(&asked.by_mac);
    answer.extend(&mac);
    answer.extend(frame.bytes().get(12..reading.summary.l3)?);
    answer.offload.vlan = frame.offload.vlan;
    answer.offload.checksum = Checksum::Complete;
    match (asked.by, asked.target) {
        (IpAddr::V4(by), IpAddr::V4(target)) => {
            let reply = arp::Repr {
                operation: arp::Operation::Reply,
                sender_mac: mac,
                sender: target,
                target_mac: asked.by_mac,
                target: by,
            };
            emit_arp(&mut answer, &reply)?;
        }
        (IpAddr::V6(by), IpAddr::V6(target)) => advertise(&mut answer, by, target, mac)?,
        _ => return None,
    }
    Some(answer)
}

fn emit_arp(frame: &mut Frame, repr: &arp::Repr) -> Option<()> {
    let at = frame.len();
    frame.resize(at + repr.buffer_len());
    repr.emit(frame.bytes_mut().get_mut(at..)?);
    Some(())
}

fn advertise(answer: &mut Frame, by: Ipv6Addr, target: Ipv6Addr, mac: [u8; 6]) -> Option<()> {
    // RFC 4861 section 7.2.4: "If the source of the solicitation is the unspecified address, the
    // node MUST set the Solicited flag to zero and multicast the advertisement to the all-nodes
    // address."
    let (destination, flags) = if by.is_unspecified() {
        (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0x20)
    } else {
        (by, SOLICITED_OVERRIDE)
    };
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    message.extend([TARGET_ADDRESS, 1]);
    message.extend(mac);
    let pseudo = checksum::pseudo_header(
        &target.octets(),
        &destination.octets(),
        protocol::ICMPV6,
        message.len(),
    );
    let sum = !checksum::fold(pseudo + checksum::sum(&message));
    message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    let at = answer.len();
    answer.resize(at + ipv6::HEADER_LEN);
    let header = ipv6::Repr {
        source: target,
        destination,
        next_header: protocol::ICMPV6,
        payload_len: u16::try_from(message.len()).ok()?,
        hop_limit: 255,
        traffic_class: 0,
        flow_label: 0,
    };
    header.emit(answer.bytes_mut().get_mut(at..)?);
    answer.extend(&message);
    Some(())
}
