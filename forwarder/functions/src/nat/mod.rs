//! A source NAT for IPv4 (RFC 4787, RFC 5382, RFC 5508): inside endpoints appear outside as ports
//! of one address. IPv6 and what is no unicast pass untouched.

mod mapping;

use crate::fragments::Fragments;
use crate::function::{Emissions, Legs, ServiceFunction, Side, Verdict};
use crate::packet::{
    End, Kind, Quoted, Reading, answer_neighbour, asked, protocol, retag, rewrite, set_macs,
};
use crate::stats::DropCause;
use kc_forwarder::frame::Frame;
use kc_forwarder::wire::icmp::kind::{ECHO_REPLY_V4, ECHO_REQUEST_V4};
use kc_forwarder::wire::tcp::flags;
use mapping::{Endpoint, Mappings, Refusal};
use serde::Serialize;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};

/// What was decided about a datagram's first fragment.
#[derive(Debug, Clone, Copy)]
enum Translation {
    Out,
    In {
        address: Ipv4Addr,
        mac: [u8; 6],
        vlan: u16,
    },
}

/// What was translated.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Counts {
    outbound: u64,
    inbound: u64,
    hairpinned: u64,
    icmp_errors: u64,
    untouched: u64,
}

/// The NAT and its mappings.
#[derive(Debug)]
pub struct Nat {
    address: Ipv4Addr,
    legs: Legs,
    mappings: Mappings,
    fragments: Fragments<Translation>,
    counts: Counts,
}

/// What stopped a packet.
type Stopped = DropCause;

impl Nat {
    /// A NAT that shows everybody inside as `address`.
    pub fn new(address: Ipv4Addr) -> Self {
        Self {
            address,
            legs: Legs::default(),
            mappings: Mappings::new(),
            fragments: Fragments::new(),
            counts: Counts::default(),
        }
    }

    fn neighbour(
        &self,
        side: Side,
        frame: &Frame,
        reading: &Reading,
        out: &mut Emissions,
    ) -> Verdict {
        let Some(asked) = asked(frame.bytes(), reading) else {
            return Verdict::Pass;
        };
        if asked.target != IpAddr::V4(self.address) {
            return Verdict::Pass;
        }
        if let Some(answer) = answer_neighbour(frame, reading, &asked, self.legs.mac(side)) {
            out.send(side, answer);
        }
        Verdict::Consumed
    }

    fn ipv4(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &mut Frame,
        reading: &Reading,
    ) -> Result<Verdict, Stopped> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) =
            (reading.source(), reading.destination())
        else {
            return Ok(Verdict::Pass);
        };
        if !translatable(source, destination) {
            self.counts.untouched += 1;
            return Ok(Verdict::Pass);
        }
        let inward = destination == self.address;
        match side {
            Side::Outside if !inward => Err(DropCause::NoMapping),
            Side::Outside => self.inward(now_ms, frame, reading),
            // On the only leg an answer cannot be told from a hairpin but by its source.
            Side::Only if inward && !self.is_inside(now_ms, reading, source) => {
                self.inward(now_ms, frame, reading)
            }
            Side::Inside | Side::Only if inward => {
                // RFC 4787 REQ-9: "A NAT MUST support 'Hairpinning'", with the outside address
                // and port as the packet's source.
                self.outward(now_ms, side, frame, reading)?;
                self.inward(now_ms, frame, reading)?;
                set_macs(frame.bytes_mut(), Some(self.legs.mac(side)), None);
                self.counts.hairpinned += 1;
                Ok(Verdict::Return)
            }
            Side::Inside | Side::Only => self.outward(now_ms, side, frame, reading),
        }
    }

    /// Whether the packet's source has a mapping of its own.
    fn is_inside(&self, now_ms: u64, reading: &Reading, source: Ipv4Addr) -> bool {
        let endpoint = Endpoint {
            vlan: reading.vlan(),
            protocol: reading.summary.protocol,
            address: source,
            port: reading.flow.source_port,
        };
        self.mappings.of(now_ms, &endpoint).is_some()
    }

    fn outward(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &mut Frame,
        reading: &Reading,
    ) -> Result<Verdict, Stopped> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) =
            (reading.source(), reading.destination())
        else {
            return Err(DropCause::Unsupported);
        };
        let id = reading.fragment_id(frame.bytes());
        let port = match reading.kind {
            Kind::LaterFragment => match id.and_then(|id| self.fragments.recall(now_ms, &id)) {
                Some(Translation::Out) => None,
                _ => return Err(DropCause::UnknownFragment),
            },
            Kind::IcmpError => return self.error_outward(now_ms, frame, reading),
            _ => {
                let tcp_flags = self.may_leave(now_ms, frame, reading)?;
                let inside = Endpoint {
                    vlan: reading.vlan(),
                    protocol: reading.summary.protocol,
                    address: source,
                    port: reading.flow.source_port,
                };
                let remote = (destination, reading.flow.destination_port);
                let mac = reading.summary.source_mac;
                let mapped = self
                    .mappings
                    .outbound(now_ms, inside, remote, tcp_flags, mac);
                Some(mapped.map_err(|refusal| match refusal {
                    Refusal::TableFull => DropCause::TableFull,
                    Refusal::NoPort => DropCause::NoPort,
                })?)
            }
        };
        let address = self.address.into();
        rewrite(
            frame.bytes_mut(),
            &reading.summary,
            End::Source,
            address,
            port,
        )
        .ok_or(DropCause::Malformed)?;
        set_macs(frame.bytes_mut(), Some(self.legs.mac(side.other())), None);
        if let Some(id) = id {
            self.fragments.remember(now_ms, id, Translation::Out);
        }
        self.counts.outbound += 1;
        Ok(Verdict::Pass)
    }

    /// Refuses what cannot be translated; returns TCP's control bits.
    fn may_leave(
        &self,
        now_ms: u64,
        frame: &Frame,
        reading: &Reading,
    ) -> Result<Option<u8>, Stopped> {
        let tcp_flags = reading.tcp_flags(frame.bytes());
        match reading.summary.protocol {
            protocol::TCP => {
                // A reset alone is no reason to take a port.
                let reset = tcp_flags.is_some_and(|bits| bits & flags::RST != 0);
                let IpAddr::V4(source) = reading.source() else {
                    return Err(DropCause::Unsupported);
                };
                if reset && !self.is_inside(now_ms, reading, source) {
                    return Err(DropCause::NoConnection);
                }
                Ok(tcp_flags)
            }
            protocol::UDP => Ok(None),
            protocol::ICMP => match reading.transport(frame.bytes()).first() {
                Some(&(ECHO_REQUEST_V4 | ECHO_REPLY_V4)) => Ok(None),
                _ => Err(DropCause::Unsupported),
            },
            _ => Err(DropCause::Unsupported),
        }
    }

    fn inward(
        &mut self,
        now_ms: u64,
        frame: &mut Frame,
        reading: &Reading,
    ) -> Result<Verdict, Stopped> {
        let IpAddr::V4(source) = reading.source() else {
            return Err(DropCause::Unsupported);
        };
        let id = reading.fragment_id(frame.bytes());
        let (address, port, mac, vlan) = match reading.kind {
            Kind::LaterFragment => match id.and_then(|id| self.fragments.recall(now_ms, &id)) {
                Some(Translation::In { address, mac, vlan }) => (address, None, mac, vlan),
                _ => return Err(DropCause::UnknownFragment),
            },
            Kind::IcmpError => return self.error_inward(now_ms, frame, reading),
            _ => {
                let protocol = reading.summary.protocol;
                // RFC 5382 REQ-4: "A NAT MUST NOT respond to an unsolicited inbound SYN packet
                // for at least 6 seconds": it is never answered, only dropped.
                let (inside, mapping) = self
                    .mappings
                    .owner(now_ms, protocol, reading.flow.destination_port)
                    .ok_or(DropCause::NoMapping)?;
                let mac = mapping.client_mac;
                let remote = (source, reading.flow.source_port);
                let tcp_flags = reading.tcp_flags(frame.bytes());
                self.mappings.inbound(now_ms, &inside, remote, tcp_flags);
                (inside.address, Some(inside.port), mac, inside.vlan)
            }
        };
        rewrite(
            frame.bytes_mut(),
            &reading.summary,
            End::Destination,
            address.into(),
            port,
        )
        .ok_or(DropCause::Malformed)?;
        set_macs(frame.bytes_mut(), None, Some(mac));
        if let Some(id) = id {
            self.fragments
                .remember(now_ms, id, Translation::In { address, mac, vlan });
        }
        // The mapping knows where the packet belongs, whichever way it came here.
        retag(frame, reading.vlan(), vlan);
        self.counts.inbound += 1;
        Ok(Verdict::Pass)
    }

    /// An error from inside about a packet that was let in.
    fn error_outward(
        &mut self,
        now_ms: u64,
        frame: &mut Frame,
        reading: &Reading,
    ) -> Result<Verdict, Stopped> {
        let quoted = self.sound_quote(frame, reading)?;
        let inside = Endpoint {
            vlan: reading.vlan(),
            protocol: quoted.flow.protocol,
            address: v4(quoted.flow.destination),
            port: quoted.flow.destination_port,
        };
        let mapping = self
            .mappings
            .of(now_ms, &inside)
            .ok_or(DropCause::NoMapping)?;
        let (port, own) = (mapping.outside_port, self.address);
        let bytes = frame.bytes_mut();
        quoted
            .rewrite(bytes, End::Destination, &own.octets(), port)
            .and_then(|()| rewrite(bytes, &reading.summary, End::Source, own.into(), None))
            .and_then(|()| Quoted::refill(bytes, reading))
            .ok_or(DropCause::Malformed)?;
        set_macs(bytes, Some(self.legs.outside), None);
        self.counts.icmp_errors += 1;
        Ok(Verdict::Pass)
    }

    /// An error from outside about a packet that was sent out.
    fn error_inward(
        &mut self,
        now_ms: u64,
        frame: &mut Frame,
        reading: &Reading,
    ) -> Result<Verdict, Stopped> {
        let quoted = self.sound_quote(frame, reading)?;
        if v4(quoted.flow.source) != self.address {
            return Err(DropCause::NoMapping);
        }
        // RFC 5508 REQ-4: an error without a mapping is dropped silently, and an error "MUST NOT
        // refresh or delete the NAT Session".
        let (inside, mapping) = self
            .mappings
            .owner(now_ms, quoted.flow.protocol, quoted.flow.source_port)
            .ok_or(DropCause::NoMapping)?;
        let mac = mapping.client_mac;
        let bytes = frame.bytes_mut();
        quoted
            .rewrite(bytes, End::Source, &inside.address.octets(), inside.port)
            .and_then(|()| {
                let address = inside.address.into();
                rewrite(bytes, &reading.summary, End::Destination, address, None)
            })
            .and_then(|()| Quoted::refill(bytes, reading))
            .ok_or(DropCause::Malformed)?;
        set_macs(bytes, None, Some(mac));
        retag(frame, reading.vlan(), inside.vlan);
        self.counts.icmp_errors += 1;
        Ok(Verdict::Pass)
    }

    fn sound_quote(&self, frame: &Frame, reading: &Reading) -> Result<Quoted, Stopped> {
        // RFC 5508 REQ-3: "If the ICMP checksum fails to validate, the NAT SHOULD silently drop
        // the ICMP Error packet."
        if !Quoted::verify(frame.bytes(), reading) {
            return Err(DropCause::BadChecksum);
        }
        Quoted::find(frame.bytes(), reading).ok_or(DropCause::NoMapping)
    }
}

/// Whether both ends are hosts of the network at large.
fn translatable(source: Ipv4Addr, destination: Ipv4Addr) -> bool {
    let host = |address: Ipv4Addr| {
        !(address.is_multicast()
            || address.is_broadcast()
            || address.is_unspecified()
            || address.is_link_local())
    };
    host(source) && host(destination)
}

/// The IPv4 address in a flow key.
fn v4(octets: [u8; 16]) -> Ipv4Addr {
    let [.., a, b, c, d] = octets;
    Ipv4Addr::new(a, b, c, d)
}

impl ServiceFunction for Nat {
    fn name(&self) -> &'static str {
        "nat"
    }

    fn attach(&mut self, legs: Legs) {
        self.legs = legs;
    }

    fn process(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &mut Frame,
        out: &mut Emissions,
    ) -> Verdict {
        let reading = Reading::of(frame);
        match reading.kind {
            Kind::Malformed => Verdict::Drop(DropCause::Malformed),
            Kind::Arp | Kind::Discovery => self.neighbour(side, frame, &reading, out),
            Kind::Packet | Kind::IcmpError | Kind::LaterFragment if reading.summary.is_ipv4() => {
                self.ipv4(now_ms, side, frame, &reading)
                    .unwrap_or_else(Verdict::Drop)
            }
            _ => {
                self.counts.untouched += 1;
                Verdict::Pass
            }
        }
    }

    fn details(&self) -> serde_json::Value {
        json!({
            "address": self.address,
            "mappings": self.mappings.len(),
            "translated": self.counts,
        })
    }
}

#[cfg(test)]
mod tests;
