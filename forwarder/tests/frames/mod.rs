//! Frames that other implementations sent, and a walk through every header in them.

#![expect(clippy::unwrap_used, reason = "a test's own data")]

use kc_forwarder::wire::{
    Error, arp, ethernet, icmp, ipv4, ipv6, nsh, sfc_echo, sfc_oam, summary, tcp, udp, vlan, vxlan,
    vxlan_gpe,
};

/// (name, octets) of every frame in `data/frames.hex`.
pub(crate) fn golden() -> Vec<(&'static str, Vec<u8>)> {
    include_str!("../data/frames.hex")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, hex) = line.split_once(' ').unwrap();
            let octets = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            (name, octets.collect())
        })
        .collect()
}

/// Called with a header's name, what was on the wire and what emitting its meaning wrote.
pub(crate) type Seen<'a> = &'a mut dyn FnMut(&'static str, &[u8], &[u8]);

/// Reads an Ethernet frame down to its transport header.
pub(crate) fn walk_ethernet(data: &[u8], seen: Seen<'_>) -> Result<(), Error> {
    let packet = ethernet::Packet::new_checked(data)?;
    let repr = ethernet::Repr::parse(&packet);
    let mut out = [0xaa; ethernet::HEADER_LEN];
    repr.emit(&mut ethernet::Packet::new_checked(&mut out[..])?);
    seen("ethernet", &data[..repr.buffer_len()], &out);
    walk_type(repr.ethertype, packet.payload(), seen)
}

fn walk_type(kind: u16, data: &[u8], seen: Seen<'_>) -> Result<(), Error> {
    match kind {
        ethernet::ethertype::IPV4 => walk_ipv4(data, seen),
        ethernet::ethertype::IPV6 => walk_ipv6(data, seen),
        ethernet::ethertype::NSH => walk_nsh(data, seen),
        ethernet::ethertype::VLAN | ethernet::ethertype::QINQ => {
            let repr = vlan::Repr::parse(&vlan::Packet::new_checked(data)?);
            let mut out = [0xaa; vlan::HEADER_LEN];
            repr.emit(&mut out);
            seen("vlan", &data[..repr.buffer_len()], &out);
            walk_type(repr.ethertype, &data[vlan::HEADER_LEN..], seen)
        }
        ethernet::ethertype::ARP => {
            let repr = arp::Repr::parse(data)?;
            let mut out = [0xaa; arp::HEADER_LEN];
            repr.emit(&mut out);
            seen("arp", &data[..repr.buffer_len()], &out);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn walk_ipv4(data: &[u8], seen: Seen<'_>) -> Result<(), Error> {
    let packet = ipv4::Packet::new_checked(data)?;
    if let Ok(repr) = ipv4::Repr::parse(&packet) {
        let mut out = [0xaa; ipv4::HEADER_LEN];
        repr.emit(&mut out);
        if packet.header_len() == ipv4::HEADER_LEN && packet.verify_checksum() {
            seen("ipv4", packet.header(), &out);
        }
        walk_transport(repr.protocol, packet.payload(), seen)?;
    }
    Ok(())
}

fn walk_ipv6(data: &[u8], seen: Seen<'_>) -> Result<(), Error> {
    let packet = ipv6::Packet::new_checked(data)?;
    let mut out = [0xaa; ipv6::HEADER_LEN];
    ipv6::Repr::parse(&packet).emit(&mut out);
    seen("ipv6", &data[..ipv6::HEADER_LEN], &out);
    match packet.upper() {
        Some(upper) if upper.first => walk_transport(
            upper.protocol,
            &data[upper.offset..packet.total_len()],
            seen,
        ),
        _ => Ok(()),
    }
}

fn walk_transport(protocol: u8, data: &[u8], seen: Seen<'_>) -> Result<(), Error> {
    match protocol {
        6 => {
            let packet = tcp::Packet::new_checked(data)?;
            let _ = (packet.mss(), packet.payload(), tcp::Repr::parse(&packet));
            Ok(())
        }
        17 => {
            let packet = udp::Packet::new_checked(data)?;
            let mut out = [0xaa; udp::HEADER_LEN];
            udp::Repr::parse(&packet).emit(&mut out);
            seen("udp", &data[..udp::CHECKSUM_AT], &out[..udp::CHECKSUM_AT]);
            match packet.destination() {
                4789 => walk_vxlan(packet.payload(), seen),
                4790 => walk_gpe(packet.payload(), seen),
                _ => Ok(()),
            }
        }
        1 | 58 => {
            let packet = icmp::Packet::new_checked(data)?;
            let _ = (packet.kind(), packet.payload());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Reads a UDP payload as plain VXLAN.
pub(crate) fn walk_vxlan(data: &[u8], seen: Seen<'_>) -> Result<(), Error> {
    // One capture sends VXLAN-GPE to the port of plain VXLAN.
    if data.first().is_some_and(|flags| flags & 0x04 != 0) {
        return walk_gpe(data, seen);
    }
    let repr = vxlan::Repr::parse(data)?;
    let mut out = [0xaa; vxlan::HEADER_LEN];
    repr.emit(&mut out);
    seen("vxlan", &data[..repr.buffer_len()], &out);
    walk_ethernet(&data[vxlan::HEADER_LEN..], seen)
}

/// Reads a UDP payload as VXLAN-GPE.
pub(crate) fn walk_gpe(data: &[u8], seen: Seen<'_>) -> Result<(), Error> {
    let repr = vxlan_gpe::Repr::parse(data)?;
    let mut out = [0xaa; vxlan_gpe::HEADER_LEN];
    repr.emit(&mut out);
    seen("vxlan-gpe", &data[..repr.buffer_len()], &out);
    let payload = &data[vxlan_gpe::HEADER_LEN..];
    match repr.next {
        vxlan_gpe::NextProtocol::Nsh => walk_nsh(payload, seen),
        vxlan_gpe::NextProtocol::Ethernet => walk_ethernet(payload, seen),
        vxlan_gpe::NextProtocol::Ipv4 => walk_ipv4(payload, seen),
        vxlan_gpe::NextProtocol::Ipv6 => walk_ipv6(payload, seen),
        vxlan_gpe::NextProtocol::Other(_) => Ok(()),
    }
}

/// Reads an NSH packet.
pub(crate) fn walk_nsh(data: &[u8], seen: Seen<'_>) -> Result<(), Error> {
    let packet = nsh::Packet::new_checked(data)?;
    let repr = nsh::Repr::parse(&packet);
    let mut out = vec![0xaa; repr.buffer_len()];
    repr.emit(&mut out);
    seen("nsh", packet.header(), &out);
    let _: usize = packet.contexts().map(|context| context.value.len()).sum();
    let payload = packet.payload();
    match packet.next_protocol() {
        nsh::NextProtocol::Ethernet => walk_ethernet(payload, seen),
        nsh::NextProtocol::Ipv4 => walk_ipv4(payload, seen),
        nsh::NextProtocol::Ipv6 => walk_ipv6(payload, seen),
        nsh::NextProtocol::Nsh => walk_nsh(payload, seen),
        nsh::NextProtocol::Other(sfc_oam::NEXT_PROTOCOL) => {
            let (_, message) = sfc_oam::Repr::parse(payload)?;
            let echo = sfc_echo::Packet::new_checked(message)?;
            let _ = (echo.repr(), echo.tlvs().count());
            Ok(())
        }
        nsh::NextProtocol::Mpls | nsh::NextProtocol::Other(_) => Ok(()),
    }
}

/// Feeds octets to everything that reads octets, for whoever only asks that nothing panics.
pub(crate) fn feed(data: &[u8]) {
    let ignore: Seen<'_> = &mut |_, _, _| {};
    let _ = walk_ethernet(data, ignore);
    let _ = walk_gpe(data, ignore);
    let _ = walk_vxlan(data, ignore);
    let _ = walk_nsh(data, ignore);
    let summary = summary::Summary::of(data, None);
    assert!(summary.l3 <= data.len() && summary.l3_end <= data.len());
    assert!(summary.l4.is_none_or(|l4| l4 <= summary.l3_end));
}
