//! tshark reads every kind of frame that we make, and finds nothing wrong with any.
//!
//! What tshark 4.0 does not know of itself, and is told, is in [`PORTS`]. It reads the VXLAN-GPE
//! header without naming it among a frame's protocols, where plain VXLAN is named.

use crate::site::{Site, tunnel};
use crate::wire::{Capture, Frames};
use kc_tests::lab::Forwarder;
use std::path::PathBuf;

/// What ports carry: VXLAN-GPE, and octets that mean nothing.
const PORTS: [&str; 2] = ["udp.port==4790,vxlan_gpe", "tcp.port==5000,data"];

/// UDP of several lengths, odd ones too, from the client to the server.
fn datagrams(site: &Site, port: u16) {
    site.client.python(&format!(
        "import socket\n\
         for family, address in (socket.AF_INET, '192.168.2.2'), (socket.AF_INET6, 'fd02::2'):\n\
         \x20   s = socket.socket(family, socket.SOCK_DGRAM)\n\
         \x20   for n in 0, 1, 2, 17, 100, 1301: s.sendto(bytes(n), (address, {port}))\n"
    ));
}

/// What arrives by `interface` of the far end of a pair while there is `traffic`.
fn sound(frames: Frames, wanted: &[&str]) {
    let frames = PORTS.into_iter().fold(frames, Frames::decode_as);
    assert_eq!(frames.complaints(), Vec::<String>::new());
    let seen = frames.protocols();
    for stack in wanted {
        assert!(seen.contains(*stack), "{stack} is not among {seen:#?}");
    }
}

/// The client's frames by destination port: 2001 with MD type 2, 2002 to the function that
/// understands NSH, 2003 over a LAN in a VLAN, 2004 over one without, everything else over
/// VXLAN-GPE with MD type 1.
fn tables(local: u8, port: &str, mac: &str) -> String {
    let (remote, out, back) = if local == 1 {
        (3, 100, 101)
    } else {
        (1, 101, 100)
    };
    let aware = if local == 1 {
        format!(
            r#"
            [[ports]]
            name = "f0"
            [[functions]]
            name = "aware"
            attachment = {{ nsh-aware = {{ port = "f0", mac = "{mac}" }} }}
            [[paths]]
            spi = 120
            hops = [{{ si = 255, to = {{ function = {{ name = "aware" }} }} }}]
            [[rules]]
            name = "tagged"
            match = {{ port = "{port}", destination-ports = 2003 }}
            action = {{ path = {{ spi = 130, si = 255 }} }}
            [[rules]]
            name = "untagged"
            match = {{ port = "{port}", destination-ports = 2004 }}
            action = {{ path = {{ spi = 131, si = 255 }} }}
            [[paths]]
            spi = 130
            hops = [{{ si = 255, to = {{ tunnel = {{ name = "tagged" }} }} }}]
            [[paths]]
            spi = 131
            hops = [{{ si = 255, to = {{ tunnel = {{ name = "untagged" }} }} }}]
            [[rules]]
            name = "md2"
            match = {{ port = "{port}", destination-ports = 2001 }}
            action = {{ path = {{ spi = {out}, si = 255, metadata = {{ md2 = {{}} }} }} }}
            [[rules]]
            name = "aware"
            match = {{ port = "{port}", destination-ports = 2002 }}
            action = {{ path = {{ spi = 120, si = 255 }} }}
            "#
        )
    } else {
        format!(
            r#"
            [[paths]]
            spi = 130
            hops = [{{ si = 255, to = {{ egress = {{ port = "{port}" }} }} }}]
            [[paths]]
            spi = 131
            hops = [{{ si = 255, to = {{ egress = {{ port = "{port}" }} }} }}]
            "#
        )
    };
    format!(
        r#"
        [underlay]
        address = "192.168.50.{local}"
        mtu = 1700
        [[ports]]
        name = "{port}"
        [[ports]]
        name = "g0"
        [[ports]]
        name = "u0"
        addresses = ["192.168.70.{local}", "fd70::{local}"]
        [[tunnels]]
        name = "tagged"
        transport = {{ ethernet = {{ port = "u0", next-hop = "192.168.70.{remote}", vlan = 9 }} }}
        [[tunnels]]
        name = "untagged"
        transport = {{ ethernet = {{ port = "u0", next-hop = "fd70::{remote}" }} }}
        {}
        {aware}
        [[rules]]
        name = "all"
        match = {{ port = "{port}" }}
        action = {{ path = {{ spi = {out}, si = 255 }} }}
        [[paths]]
        spi = {out}
        mtu = 1400
        hops = [{{ si = 255, to = {{ tunnel = {{ name = "peer" }} }} }}]
        [[paths]]
        spi = {back}
        hops = [{{ si = 255, to = {{ egress = {{ port = "{port}" }} }} }}]
        [[segments]]
        vni = 7
        ports = ["g0"]
        peers = ["192.168.50.{remote}"]
        "#,
        tunnel("peer", &format!("192.168.50.{remote}"), 100)
    )
}

#[test]
fn tshark_finds_nothing_wrong_with_any_frame_of_ours() {
    let Some(site) = Site::build() else { return };
    site.bridge();
    let [function, near, far] = [(); 3].map(|()| site.lab.namespace());
    function.join("e0", &site.first, "f0");
    near.join("e0", &site.first, "g0");
    far.join("e0", &site.last, "g0");
    near.address("e0", "192.168.7.1/24");
    far.address("e0", "192.168.7.2/24");
    let mac = function.run("ip -brief link show e0");
    let mac = mac.split_whitespace().nth(2).unwrap();
    let first = Forwarder::start(&site.lab, &site.first, "first", &tables(1, "c0", mac));
    let _last = Forwarder::start(&site.lab, &site.last, "last", &tables(3, "s0", mac));
    site.ping();

    let underlay = Capture::start(&site.lab, &site.middle, "br0", "udp", 300);
    let underlay = underlay.fill(|| {
        site.ping();
        datagrams(&site, 2001);
        near.run("ping -n -c 1 -w 10 192.168.7.2");
        site.bulk("while tshark listens", "192.168.2.2", 20_000);
    });
    sound(
        underlay,
        &[
            "eth:ethertype:ip:udp:nsh:eth:ethertype:ip:icmp:data",
            "eth:ethertype:ip:udp:nsh:eth:ethertype:ip:tcp",
            "eth:ethertype:ip:udp:nsh:eth:ethertype:ip:udp:data",
            "eth:ethertype:ip:udp:nsh:eth:ethertype:ipv6:icmpv6:data",
            "eth:ethertype:ip:udp:nsh:eth:ethertype:ipv6:udp:data",
            "eth:ethertype:ip:udp:vxlan:eth:ethertype:arp",
            "eth:ethertype:ip:udp:vxlan:eth:ethertype:ip:icmp:data",
        ],
    );
    let aware = Capture::start(&site.lab, &function, "e0", "ether proto 0x894f", 12);
    sound(
        aware.fill(|| datagrams(&site, 2002)),
        &[
            "eth:ethertype:nsh:eth:ethertype:ip:udp:data",
            "eth:ethertype:nsh:eth:ethertype:ipv6:udp:data",
        ],
    );
    let filter = "icmp[0] = 3 and icmp[1] = 4 or icmp6[0] = 2";
    let told = Capture::start(&site.lab, &site.client, "e0", filter, 4);
    let too_long = || {
        // Whoever was told once does not ask again.
        site.client.run("ip route flush cache");
        site.client.run("ip -6 route flush cache");
        for address in ["192.168.2.2", "fd02::2"] {
            site.client
                .output(&format!("ping -n -c 1 -W 1 -M do -s 1450 {address}"));
        }
    };
    sound(
        told.fill(too_long),
        &[
            "eth:ethertype:ip:icmp:ip:icmp:data",
            "eth:ethertype:ipv6:icmpv6:ipv6:icmpv6:data",
        ],
    );
    // What stands behind "vlan" is looked for behind a tag.
    let filter = "ether proto 0x894f or icmp6 or vlan";
    let lan = Capture::start(&site.lab, &site.middle, "br0", filter, 48);
    let mut first = Some(first);
    let frames = lan.fill(|| {
        // One that starts knows none of its neighbours.
        let (file, socket) = first.take().unwrap().kill();
        first = Some(Forwarder::launch(&site.first, file, socket));
        datagrams(&site, 2003);
        datagrams(&site, 2004);
    });
    sound(
        frames,
        &[
            "eth:ethertype:vlan:ethertype:arp",
            "eth:ethertype:vlan:ethertype:nsh:eth:ethertype:ip:udp:data",
            "eth:ethertype:vlan:ethertype:nsh:eth:ethertype:ipv6:udp:data",
            "eth:ethertype:ipv6:icmpv6",
            "eth:ethertype:nsh:eth:ethertype:ip:udp:data",
            "eth:ethertype:nsh:eth:ethertype:ipv6:udp:data",
        ],
    );
}

/// A capture file of one Ethernet frame.
fn recorded(folder: &std::path::Path, frame: &[u8]) -> PathBuf {
    let file = folder.join("one.pcap");
    let length = u32::try_from(frame.len()).unwrap();
    let words = [
        0xa1b2_c3d4,
        2 | 4 << 16,
        0,
        0,
        65_535,
        1,
        0,
        0,
        length,
        length,
    ];
    let mut octets: Vec<u8> = words
        .iter()
        .flat_map(|word: &u32| word.to_ne_bytes())
        .collect();
    octets.extend(frame);
    std::fs::write(&file, octets).unwrap();
    file
}

#[test]
fn tshark_does_complain_of_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([
        0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0xf6, 0xcd, 192, 0, 2, 1, 192, 0, 2, 2,
    ]);
    frame.extend([0, 9, 0, 9, 0, 8, 0, 0]);
    let complaints = |frame: &[u8]| {
        let file = recorded(folder.path(), frame);
        Frames::of(file).complaints()
    };
    assert_eq!(complaints(&frame), Vec::<String>::new());
    // A wrong checksum of IPv4, a UDP length that lies, and an NSH cut short.
    let mut wrong = frame.clone();
    wrong[24] ^= 1;
    assert!(
        complaints(&wrong)[0].contains("Bad checksum"),
        "{:?}",
        complaints(&wrong)
    );
    let mut wrong = frame.clone();
    wrong[39] = 80;
    assert_eq!(complaints(&wrong).len(), 1);
    let mut wrong = frame[..12].to_vec();
    wrong.extend([0x89, 0x4f, 0x0f, 0xc6, 1, 3, 0, 0, 1]);
    assert_eq!(complaints(&wrong).len(), 1);
}
