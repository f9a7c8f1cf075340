//! The packet that an ICMP error quotes, changed together with the error.

use super::reading::{Kind, Reading};
use super::rewrite::{End, update};
use super::{Reading as Outer, protocol};
use kc_forwarder::wire::checksum;
use kc_forwarder::wire::ethernet::ethertype;
use kc_forwarder::wire::flow::FlowKey;
use kc_forwarder::wire::quoted as wire;

/// A quoted packet and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quoted {
    /// Its flow, in the direction in which it was sent.
    pub(crate) flow: FlowKey,
    start: usize,
    l4: usize,
    end: usize,
}

impl Quoted {
    /// Finds the quoted packet in an ICMP error; `None` when too little is quoted, or a later
    /// fragment.
    pub(crate) fn find(frame: &[u8], reading: &Outer) -> Option<Self> {
        if reading.kind != Kind::IcmpError {
            return None;
        }
        let (l4, end) = (reading.summary.l4?, reading.summary.l3_end);
        let quoted = wire::Quoted::find(frame, l4..end, reading.summary.is_ipv6())?;
        Some(Self {
            flow: quoted.flow,
            start: quoted.start,
            l4: quoted.l4,
            end,
        })
    }

    /// Writes another IPv4 address and port into one end of the quoted packet; the error's own
    /// checksum is left to [`refill`](Self::refill).
    ///
    /// RFC 5508 section 4.2: the NAT revises "the IP and transport headers of the embedded packet".
    pub(crate) fn rewrite(
        &self,
        frame: &mut [u8],
        end: End,
        address: &[u8],
        port: u16,
    ) -> Option<()> {
        let v4 = self.flow.ethertype == ethertype::IPV4;
        let place = match (v4, end) {
            (true, End::Source) => 12,
            (true, End::Destination) => 16,
            (false, End::Source) => 8,
            (false, End::Destination) => 24,
        };
        let packet = frame.get_mut(self.start..self.end)?;
        let field = packet.get_mut(place..place + address.len())?;
        let mut old = [0; 16];
        let old = old.get_mut(..address.len())?;
        old.copy_from_slice(field);
        field.copy_from_slice(address);
        if v4 {
            update(packet, 10, old, address)?;
        }
        let l4 = self.l4 - self.start;
        let (at, sum) = match self.flow.protocol {
            protocol::TCP => (l4, l4 + 16),
            protocol::UDP => (l4, l4 + 6),
            _ => (l4 + 4, l4 + 2),
        };
        let at = match end {
            End::Destination if sum != l4 + 2 => at + 2,
            _ => at,
        };
        let field = packet.get_mut(at..at + 2)?;
        let former = [field[0], field[1]];
        field.copy_from_slice(&port.to_be_bytes());
        // A TCP checksum may lie beyond the eight octets quoted; zero in UDP means none.
        if packet.get(sum..sum + 2).is_some_and(|sum| sum != [0, 0]) {
            if self.flow.protocol != protocol::ICMP {
                update(packet, sum, old, address)?;
            }
            update(packet, sum, &former, &port.to_be_bytes())?;
        }
        Some(())
    }

    /// Whether the error's own checksum is right, which covers the quoted packet.
    pub(crate) fn verify(frame: &[u8], reading: &Reading) -> bool {
        let message = reading.transport(frame);
        checksum::fold(pseudo(reading, message.len()) + checksum::sum(message)) == 0xffff
    }

    /// Computes the error's own checksum anew.
    pub(crate) fn refill(frame: &mut [u8], reading: &Reading) -> Option<()> {
        let start = reading.summary.l4?;
        // The error's own addresses may have changed since it was read.
        let addresses = if reading.summary.is_ipv6() {
            let header = frame.get(reading.summary.l3 + 8..reading.summary.l3 + 40)?;
            checksum::sum(header)
                + u64::from(protocol::ICMPV6)
                + (reading.summary.l3_end - start) as u64
        } else {
            0
        };
        let message = frame.get_mut(start..reading.summary.l3_end)?;
        message.get_mut(2..4)?.fill(0);
        let sum = !checksum::fold(addresses + checksum::sum(message));
        message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
        Some(())
    }
}

fn pseudo(reading: &Reading, length: usize) -> u64 {
    if reading.summary.is_ipv6() {
        let (source, destination) = (&reading.summary.source, &reading.summary.destination);
        checksum::pseudo_header(source, destination, protocol::ICMPV6, length)
    } else {
        0
    }
}
