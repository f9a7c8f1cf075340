//! Frames to send, written by hand where it matters and by the wire code elsewhere.

use kc_forwarder::wire::{checksum, ethernet, ipv4, ipv6, nsh, tcp, udp, vxlan, vxlan_gpe};
use kc_forwarder_api::{Si, Spi, Ttl, Vni};
use std::net::IpAddr;

pub(crate) const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// An Ethernet frame.
pub(crate) fn ethernet(
    destination: [u8; 6],
    source: [u8; 6],
    ethertype: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend(destination);
    frame.extend(source);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Where a packet comes from and goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) source: (&'static str, u16),
    pub(crate) destination: (&'static str, u16),
}

/// From the client to the server's port 80.
pub(crate) const WEB: Flow = Flow {
    source: ("10.0.0.1", 40_000),
    destination: ("10.0.0.2", 80),
};

impl Flow {
    /// The way back.
    pub(crate) fn back(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
        }
    }

    fn ip(self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let payload_len = u16::try_from(payload.len()).unwrap();
        let addresses: (IpAddr, IpAddr) = (
            self.source.0.parse().unwrap(),
            self.destination.0.parse().unwrap(),
        );
        let mut packet = match addresses {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = vec![0; 20];
                let (ttl, tos, ident, dont_fragment) = (64, 0, 0x1234, true);
                ipv4::Repr {
                    source,
                    destination,
                    protocol,
                    payload_len,
                    ttl,
                    tos,
                    ident,
                    dont_fragment,
                }
                .emit(&mut header);
                header
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut header = vec![0; 40];
                let (next_header, hop_limit, traffic_class, flow_label) = (protocol, 64, 0, 0);
                ipv6::Repr {
                    source,
                    destination,
                    next_header,
                    payload_len,
                    hop_limit,
                    traffic_class,
                    flow_label,
                }
                .emit(&mut header);
                header
            }
            _ => panic!("two families"),
        };
        packet.extend(payload);
        checksum::fill(&mut packet);
        let v6 = packet[0] >> 4 == 6;
        let forward = self.source.1 > self.destination.1;
        let (destination, source) = if forward {
            (SERVER, CLIENT)
        } else {
            (CLIENT, SERVER)
        };
        ethernet(
            destination,
            source,
            if v6 { 0x86dd } else { 0x0800 },
            &packet,
        )
    }

    /// A TCP segment with these flags and options.
    pub(crate) fn tcp(self, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; 20];
        let repr = tcp::Repr {
            source: self.source.1,
            destination: self.destination.1,
            sequence: 1000,
            acknowledgment: 7,
            flags,
            window: 512,
        };
        repr.emit(&mut segment);
        segment.extend(options);
        segment[12] = u8::try_from(segment.len() / 4).unwrap() << 4;
        segment.extend(payload);
        self.ip(6, &segment)
    }

    /// A UDP datagram.
    pub(crate) fn udp(self, payload: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0; 8];
        let (source, destination) = (self.source.1, self.destination.1);
        let payload_len = u16::try_from(payload.len()).unwrap();
        udp::Repr {
            source,
            destination,
            payload_len,
        }
        .emit(&mut datagram);
        datagram.extend(payload);
        self.ip(17, &datagram)
    }
}

/// An ARP request.
pub(crate) fn arp_request() -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
    body.extend(CLIENT);
    body.extend([10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    ethernet([0xff; 6], CLIENT, ethernet::ethertype::ARP, &body)
}

/// Its answer.
pub(crate) fn arp_reply() -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 2];
    body.extend(SERVER);
    body.extend([10, 0, 0, 2]);
    body.extend(CLIENT);
    body.extend([10, 0, 0, 1]);
    ethernet(CLIENT, SERVER, ethernet::ethertype::ARP, &body)
}

/// NSH with MD type 1 and this context in front of `inner`.
pub(crate) fn nsh(spi: u32, si: u8, ttl: u8, context: [u8; 16], inner: &[u8]) -> Vec<u8> {
    let repr = nsh::Repr {
        oam: false,
        ttl: Ttl::new(ttl).unwrap(),
        next: nsh::NextProtocol::Ethernet,
        spi: Spi::new(spi).unwrap(),
        si: Si::new(si).unwrap(),
        metadata: nsh::MetadataRepr::One(context),
    };
    let mut packet = vec![0; repr.buffer_len()];
    repr.emit(&mut packet);
    packet.extend(inner);
    packet
}

/// VXLAN-GPE in front of an NSH.
pub(crate) fn gpe(vni: u32, inner: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 8];
    let (vni, next) = (Vni::new(vni).unwrap(), vxlan_gpe::NextProtocol::Nsh);
    vxlan_gpe::Repr {
        vni,
        next,
        oam: false,
    }
    .emit(&mut packet);
    packet.extend(inner);
    packet
}

/// VXLAN in front of a frame.
pub(crate) fn vxlan(vni: u32, inner: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 8];
    vxlan::Repr {
        vni: Vni::new(vni).unwrap(),
    }
    .emit(&mut packet);
    packet.extend(inner);
    packet
}

/// SPI, SI, TTL and inner frame of a VXLAN-GPE payload.
pub(crate) fn opened(payload: &[u8]) -> (u32, u8, u8, Vec<u8>) {
    let header = vxlan_gpe::Repr::parse(payload).unwrap();
    assert_eq!(header.next, vxlan_gpe::NextProtocol::Nsh);
    let packet = nsh::Packet::new_checked(&payload[8..]).unwrap();
    (
        packet.spi().get(),
        packet.si().get(),
        packet.ttl(),
        packet.payload().to_vec(),
    )
}

/// Whether IPv4 header and transport checksums of a frame are right.
pub(crate) fn is_sound(frame: &[u8]) -> bool {
    let ip = &frame[14..];
    let transport = checksum::state(ip) != checksum::State::Wrong
        && checksum::state(ip) != checksum::State::Unfinished;
    let header = ipv4::Packet::new_checked(ip).map_or(true, |ip| ip.verify_checksum());
    transport && header
}
