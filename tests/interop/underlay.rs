//! Outer checksums: which we send, and which we take.

use crate::scapy::{scapy, told};
use crate::site::{Site, tunnel};
use crate::wire::Capture;
use kc_forwarder_api::DropReason;
use kc_tests::lab::Forwarder;
use std::collections::BTreeSet;

/// Three datagrams of an unknown VNI over each family: without a checksum, with a right one, with
/// a wrong one.
const DATAGRAMS: &str = r"
from scapy.all import conf, send
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.vxlan import VXLAN
conf.verb = 0
for ip in IP(src='192.168.50.2', dst='192.168.50.1'), IPv6(src='fd50::2', dst='fd50::1'):
    for checksum in 0, None, 0x1234:
        send(ip / UDP(sport=50000, dport=4790, chksum=checksum)
             / VXLAN(flags=0x0c, NextProtocol=4, vni=0xabcdef))
";

#[test]
fn outer_checksums_are_sent_and_taken_as_the_rfcs_say() {
    let Some(site) = Site::build() else { return };
    site.bridge();
    let tables = |local: u8, remote: &str, port: &str, backend: &str| {
        let (out, back) = if local == 1 { (100, 101) } else { (101, 100) };
        format!(
            r#"
            [underlay]
            address = ["192.168.50.{local}", "fd50::{local}"]
            mtu = 1700
            backend = "{backend}"
            [[ports]]
            name = "{port}"
            {}
            {}
            [[rules]]
            name = "all"
            match = {{ port = "{port}" }}
            action = {{ path = {{ spi = {out}, si = 255 }} }}
            [[paths]]
            spi = {out}
            hops = [{{ si = 255, to = {{ tunnel = {{ name = "peer" }} }} }}]
            [[paths]]
            spi = {back}
            hops = [{{ si = 255, to = {{ egress = {{ port = "{port}" }} }} }}]
            "#,
            tunnel("peer", remote, 100),
            tunnel(
                "other",
                if remote.contains(':') {
                    "192.168.50.2"
                } else {
                    "fd50::2"
                },
                100
            ),
        )
    };
    // There over IPv4, back over IPv6.
    let first = |backend| tables(1, "192.168.50.3", "c0", backend).replace("fd50::2", "fd50::3");
    let last =
        |backend| tables(3, "fd50::1", "s0", backend).replace("192.168.50.2", "192.168.50.1");
    let by_one = Forwarder::start(&site.lab, &site.first, "first", &first("udp"));
    let last_by_one = Forwarder::start(&site.lab, &site.last, "last", &last("udp"));
    site.ping();
    let capture = Capture::start(&site.lab, &site.middle, "br0", "udp port 4790", 40);
    let frames = capture.fill(|| site.ping());
    assert_eq!(frames.complaints(), Vec::<String>::new());
    let zero = |family: &str| {
        let sums = frames.fields(family, &["udp.checksum"]);
        assert!(!sums.is_empty(), "nothing over {family}");
        let zero = sums.iter().map(|line| line[0] == "0x0000");
        zero.collect::<BTreeSet<bool>>()
    };
    // RFC 7348 section 5 over IPv4; RFC 8200 section 8.1 over IPv6.
    assert_eq!(zero("ip.dst == 192.168.50.3"), BTreeSet::from([true]));
    assert_eq!(zero("ipv6.dst == fd50::1"), BTreeSet::from([false]));
    drop((by_one, last_by_one));

    // What leaves in runs has a checksum, which tshark would complain about were it wrong.
    let first = Forwarder::start(&site.lab, &site.first, "first", &first("udp-gso"));
    let _last = Forwarder::start(&site.lab, &site.last, "last", &last("udp-gso"));
    site.ping();
    let capture = Capture::start(&site.lab, &site.middle, "br0", "udp port 4790", 40);
    let frames = capture.fill(|| site.ping());
    assert_eq!(frames.complaints(), Vec::<String>::new());
    let sums = frames.fields("ip.dst == 192.168.50.3", &["udp.checksum"]);
    assert!(!sums.is_empty() && sums.iter().all(|line| line[0] != "0x0000"));

    told(scapy(&site.middle, DATAGRAMS));
    let taken = |client: &mut kc_forwarder::control::Client| {
        let drops = client.counters().unwrap().drops;
        drops.get(&DropReason::UnknownVni).copied().unwrap_or(0) >= 4
    };
    first.wait(taken, "all that are not wrong");
    // The wrong ones were sent before the last right one, or are refused with it.
    site.ping();
    assert_eq!(first.counters().drops[&DropReason::UnknownVni], 4);
}
