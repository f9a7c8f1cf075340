//! ARP (RFC 826) and IPv6 neighbour solicitation (RFC 4861) for a function's own addresses.

use super::reading::{Kind, Reading};
use kc_forwarder::frame::{Checksum, Frame};
use kc_forwarder::wire::{arp, ndp};
use std::net::{IpAddr, Ipv6Addr};

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
            let question = ndp::Repr::parse(frame.get(reading.summary.l3..)?).ok()?;
            let ndp::Message::Solicitation { .. } = question.message else {
                return None;
            };
            Some(Asked {
                by: question.source.into(),
                by_mac: reading.summary.source_mac,
                target: question.target.into(),
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
    let alone = !by.is_unspecified();
    let advertisement = ndp::Repr {
        source: target,
        destination: if alone { by } else { ndp::ALL_NODES },
        target,
        message: ndp::Message::Advertisement {
            router: false,
            solicited: alone,
            overrides: true,
            target_mac: Some(mac),
        },
    };
    let at = answer.len();
    answer.resize(at + advertisement.buffer_len());
    advertisement.emit(answer.bytes_mut().get_mut(at..)?);
    Some(())
}
