//! The records of `bpf/fast.bpf.c`, word by word. Numbers are in this machine's order, addresses
//! and UDP ports in the network's.

use kc_forwarder_api::Vni;
use std::net::{IpAddr, SocketAddr};

/// Words of a hop, keyed by its service path header.
pub(crate) const HOP: usize = 4;
/// Words of a remote VTEP.
pub(crate) const REMOTE: usize = 8;
/// Words of an interface.
pub(crate) const DOOR: usize = 8;
/// Words of a LAN.
pub(crate) const LAN: usize = 2;
/// Words of a station on a LAN.
pub(crate) const STATION: usize = 4;
/// Words of a way out.
pub(crate) const OUT: usize = 8;
/// Words of a next hop.
pub(crate) const VIA: usize = 6;

/// What an interface may bring, `DOOR_`.
pub(crate) mod door {
    /// VXLAN-GPE to our VTEP.
    pub(crate) const UNDERLAY: u16 = 1;
    /// NSH of other SFFs.
    pub(crate) const LAN: u16 = 2;
    /// NSH of a function.
    pub(crate) const LEG: u16 = 4;
    /// It runs in generic mode.
    pub(crate) const GENERIC: u16 = 8;
}

/// How a packet may leave by an interface, `VIA_`.
pub(crate) mod via {
    /// By redirection.
    pub(crate) const REDIRECT: u32 = 1;
    /// In several buffers.
    pub(crate) const FRAGMENTS: u32 = 2;
    /// By the interface that it came in by.
    pub(crate) const BACK: u32 = 4;
}

/// How a packet is wrapped, `OUT_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrap {
    /// VXLAN-GPE.
    Gpe {
        /// Remote VTEP and its UDP port.
        remote: SocketAddr,
        /// VNI on the wire.
        vni: Vni,
    },
    /// Ethernet, tagged unless the tag is 0.
    Ethernet {
        /// 802.1Q tag.
        tag: u16,
    },
}

/// Bytes as words in this machine's order; what is missing is zero.
fn words<const N: usize>(parts: &[&[u8]]) -> [u32; N] {
    let mut bytes = parts.iter().flat_map(|part| part.iter().copied());
    std::array::from_fn(|_| {
        let word = std::array::from_fn(|_| bytes.next().unwrap_or(0));
        u32::from_ne_bytes(word)
    })
}

/// An address as 16 octets, IPv4 as ::ffff:a.b.c.d.
pub(crate) fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Both halves of an address as the program loads them.
pub(crate) fn halves(address: IpAddr) -> [u64; 2] {
    let octets = sixteen(address);
    let (halves, _) = octets.as_chunks::<8>();
    [0, 1].map(|half| halves.get(half).map_or(0, |half| u64::from_ne_bytes(*half)))
}

/// One (SPI, SI), its counter and its way out.
pub(crate) const fn hop(path: u32, number: u32, out: u32) -> [u32; HOP] {
    [path, number, out, 1]
}

/// The key of a record of [`remote`], mixed.
pub(crate) fn remote_key(record: &[u32; REMOTE]) -> u64 {
    let [a, b, c, d, vni, ..] = record.map(u32::to_ne_bytes);
    let half = |first: [u8; 4], second: [u8; 4]| {
        let [a, b, c, d] = first;
        let [e, f, g, h] = second;
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    };
    let (high, low) = (half(a, b), half(c, d));
    high ^ (low << 1) ^ low ^ (u64::from(u32::from_ne_bytes(vni)) << 20)
}

/// Who may send NSH, with which VNI, and the number of its tunnel.
pub(crate) fn remote(remote: IpAddr, vni: u32, tunnel: u16) -> [u32; REMOTE] {
    let number = u32::from(tunnel) + 1;
    words(&[&sixteen(remote), &vni.to_ne_bytes(), &number.to_ne_bytes()])
}

/// An interface: what it may bring, the port it is, and where what comes in is counted that no
/// tunnel is known for.
pub(crate) fn door(ifindex: u32, flags: u16, port: u16, at: u32, mac: [u8; 6]) -> [u32; DOOR] {
    let (flags, port) = (flags.to_ne_bytes(), port.to_ne_bytes());
    words(&[
        &ifindex.to_ne_bytes(),
        &flags,
        &port,
        &at.to_ne_bytes(),
        &mac,
    ])
}

/// The key of a LAN: its port and its tag.
pub(crate) fn lan_key(port: u16, tag: u16) -> u32 {
    (u32::from(port) << 16 | u32::from(tag)) + 1
}

/// The key of a station, which is never 0.
pub(crate) fn station_key(lan: u16, mac: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = mac;
    u64::from(lan) << 48 | u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// A station, and where what it sends is counted.
pub(crate) fn station(key: u64, at: u32) -> [u32; STATION] {
    words(&[&key.to_ne_bytes(), &u64::from(at).to_ne_bytes()])
}

/// A way out by the next hop `via`.
pub(crate) fn out(via: u32, wrap: Option<Wrap>) -> [u32; OUT] {
    let via = via.to_ne_bytes();
    match wrap {
        None => words(&[&via]),
        Some(Wrap::Ethernet { tag }) => words(&[&via, &[3, 0], &tag.to_ne_bytes()]),
        Some(Wrap::Gpe { remote, vni }) => {
            let vni = (vni.get() << 8).to_be_bytes();
            let port = remote.port().to_be_bytes();
            let (kind, address) = match remote.ip() {
                IpAddr::V4(v4) => (1, words::<4>(&[&v4.octets()])),
                IpAddr::V6(v6) => (2, words(&[&v6.octets()])),
            };
            let [a, b, c, d] = address.map(u32::to_ne_bytes);
            words(&[&via, &[kind, 0, 0, 0], &vni, &port, &[0, 0], &a, &b, &c, &d])
        }
    }
}

/// A next hop: MAC addresses of both ends, the interface, its MTU and what it takes.
pub(crate) fn via(to: [u8; 6], from: [u8; 6], ifindex: u32, mtu: u16, flags: u32) -> [u32; VIA] {
    let mtu = u32::from(mtu).to_ne_bytes();
    words(&[
        &to,
        &from,
        &ifindex.to_ne_bytes(),
        &mtu,
        &flags.to_ne_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets<const N: usize>(words: [u32; N]) -> Vec<u8> {
        words.into_iter().flat_map(u32::to_ne_bytes).collect()
    }

    #[test]
    fn records_are_where_the_program_has_their_fields() {
        let door = octets(door(0x0102_0304, 5, 6, 7, [1, 2, 3, 4, 5, 6]));
        assert_eq!(door[..4], 0x0102_0304_u32.to_ne_bytes());
        assert_eq!(
            door[4..8],
            [5_u16.to_ne_bytes(), 6_u16.to_ne_bytes()].concat()
        );
        assert_eq!(
            (door[12..18].to_vec(), door.len()),
            (vec![1, 2, 3, 4, 5, 6], 32)
        );

        let vni = Vni::new(0x1234).unwrap();
        let remote_at = "10.0.0.9:4790".parse().unwrap();
        let gpe = octets(out(
            3,
            Some(Wrap::Gpe {
                remote: remote_at,
                vni,
            }),
        ));
        assert_eq!(gpe[4..8], [1, 0, 0, 0]);
        assert_eq!(gpe[8..12], [0, 0x12, 0x34, 0]);
        assert_eq!(gpe[12..20], [0x12, 0xb6, 0, 0, 10, 0, 0, 9]);
        let lan = octets(out(0, Some(Wrap::Ethernet { tag: 7 })));
        assert_eq!(
            (lan[4], lan[6..8].to_vec()),
            (3, 7_u16.to_ne_bytes().to_vec())
        );

        let from = octets(remote([10, 0, 0, 9].into(), 0x1234, 4));
        assert_eq!(from[8..16], [0, 0, 0xff, 0xff, 10, 0, 0, 9]);
        assert_eq!(from[16..20], 0x1234_u32.to_ne_bytes());
        assert_eq!(from[20..24], 5_u32.to_ne_bytes());

        let next = octets(via([1; 6], [2; 6], 9, 1500, 5));
        assert_eq!(next[..12], [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
        assert_eq!(next[16..20], 1500_u32.to_ne_bytes());
    }

    #[test]
    fn no_key_of_a_station_is_a_free_slot() {
        let key = station_key(1, [0; 6]);
        assert_ne!(station(key, 0), [0; STATION]);
        assert_ne!(
            station_key(1, [0, 0, 0, 0, 0, 1]),
            station_key(2, [0, 0, 0, 0, 0, 1])
        );
    }
}
