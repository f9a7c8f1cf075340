//! scapy as a peer: one that sends what nobody should, one that ends a path, and one that looks
//! whether its packets come back as they went.

use crate::site::{Site, lossless, tunnel};
use kc_forwarder_api::DropReason;
use kc_tests::lab::{Forwarder, Namespace, Process, unexpected_drops};
use std::collections::BTreeMap;
use std::process::Command;

/// Python with scapy: Debian's, whatever else is called python3.
pub(crate) fn scapy(namespace: &Namespace, program: &str) -> Command {
    let mut command = namespace.command("/usr/bin/python3");
    command.args(["-u", "-c", program]);
    command
}

/// What a program printed, which must have ended well.
pub(crate) fn told(mut command: Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Two forwarders that carry good traffic on paths 100 and 101, and scapy on the same underlay.
struct Scene {
    site: Site,
    first: Forwarder,
    last: Forwarder,
}

impl Scene {
    fn build() -> Option<Self> {
        let site = Site::build()?;
        site.bridge();
        site.middle.address("br0", "192.168.50.9/24");
        // A segment's member whose other end nobody listens at.
        site.first.join("s7", &site.first, "s7-end");
        let tables = |local: u8, peer: u8, port: &str, rest: &str| {
            let (out, back) = if local == 1 { (100, 101) } else { (101, 100) };
            format!(
                r#"
                {rest}
                [underlay]
                address = "192.168.50.{local}"
                mtu = 1700
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
                [[paths]]
                spi = 400
                hops = [{{ si = 255, to = {{ tunnel = {{ name = "peer" }} }} }}]
                "#,
                tunnel("peer", &format!("192.168.50.{peer}"), 100),
                tunnel("scapy", "192.168.50.2", 100),
            )
        };
        let first = tables(1, 3, "c0", "") + FIRST;
        let first = Forwarder::start(&site.lab, &site.first, "first", &first);
        let last = Forwarder::start(&site.lab, &site.last, "last", &tables(3, 1, "s0", ""));
        site.ping();
        Some(Self { site, first, last })
    }

    /// Waits until a forwarder has dropped `count` frames for `reason`.
    fn dropped(forwarder: &Forwarder, reason: DropReason, count: u64) {
        let reached = |client: &mut kc_forwarder::control::Client| {
            client
                .counters()
                .unwrap()
                .drops
                .get(&reason)
                .copied()
                .unwrap_or(0)
                >= count
        };
        forwarder.wait(reached, reason.as_str());
    }
}

/// What only the first forwarder has: paths for scapy, and a segment.
const FIRST: &str = r#"
[[ports]]
name = "s7"
[[paths]]
spi = 300
hops = [{ si = 255, to = { tunnel = { name = "scapy" } } }]
[[paths]]
spi = 301
hops = [{ si = 255, to = { egress = { port = "c0" } } }]
[[paths]]
spi = 302
hops = [{ si = 255, to = { egress = { port = "s7" } } }]
[[segments]]
vni = 7
ports = ["s7"]
peers = ["192.168.50.2"]
"#;

#[test]
fn what_scapy_should_not_send_is_dropped_by_name_while_good_traffic_goes_on() {
    let Some(scene) = Scene::build() else { return };
    let mut hostile = scapy(&scene.site.middle, include_str!("hostile.py"));
    hostile.args(["20", "20000"]);
    let hostile = std::thread::spawn(move || told(hostile));
    let mut good = 0;
    while !hostile.is_finished() {
        scene.site.ping();
        good += 1;
    }
    let expected = hostile.join().unwrap();
    let expected: BTreeMap<DropReason, u64> = serde_json::from_str(&expected).unwrap();
    // What a full socket lost is the kernel's to count.
    let lost = lost_by_socket(&scene.site.first);
    let all: u64 = expected.values().sum();
    let seen = |client: &mut kc_forwarder::control::Client| {
        client.counters().unwrap().drops.values().sum::<u64>() + lost >= all
    };
    scene.first.wait(seen, "all of it dropped");
    let mut drops = scene.first.counters().drops;
    if lost > 0 {
        *drops.entry(DropReason::UnknownVni).or_default() += lost;
    }
    assert_eq!(drops, expected);
    assert!(good > 0);
    println!("{all} hostile frames, {lost} lost by the socket, {good} rounds of pings");
    scene.site.ping();
    lossless(&[&scene.last]);
}

/// Datagrams that found a full socket.
fn lost_by_socket(namespace: &Namespace) -> u64 {
    let text = namespace.run("cat /proc/net/snmp");
    let lines: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("Udp:"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let place = lines[0]
        .iter()
        .position(|name| *name == "RcvbufErrors")
        .unwrap();
    lines[1][place].parse().unwrap()
}

#[test]
fn scapy_gets_back_what_it_sent_but_for_the_ttl() {
    let Some(scene) = Scene::build() else { return };
    let checked = told(scapy(&scene.site.middle, include_str!("mirror.py")));
    println!("{} kinds of packets", checked.trim());
    lossless(&[&scene.first, &scene.last]);
}

#[test]
fn scapy_ends_a_path_and_answers_on_another() {
    let Some(scene) = Scene::build() else { return };
    let peer = scapy(&scene.site.middle, include_str!("peer.py"));
    let _peer = Process::start_until(peer, "ready");
    let mut client = scene.first.client();
    let mut tables = client.tables().unwrap();
    for metadata in ["md1 = { context = [1, 2, 3, 4] }", "md2 = {}"] {
        tables.generation += 1;
        tables.rules.retain(|rule| rule.name == "all");
        let rule = format!(
            "name = \"scapy\"\nmatch = {{ port = \"c0\", destination = \"192.168.2.77/32\" }}\n\
             action = {{ path = {{ spi = 300, si = 255, metadata = {{ {metadata} }} }} }}\n"
        );
        let arp = format!(
            "name = \"arp\"\nmatch = {{ port = \"c0\", ethertype = 0x0806 }}\n\
             action = {{ path = {{ spi = 300, si = 255, metadata = {{ {metadata} }} }} }}\n"
        );
        tables.rules.insert(0, toml::from_str(&rule).unwrap());
        tables.rules.insert(0, toml::from_str(&arp).unwrap());
        client.apply(tables.clone()).unwrap();
        scene.site.client.run("ip neighbour flush dev e0");
        scene
            .site
            .client
            .run("ping -n -c 3 -i 0.02 -w 10 192.168.2.77");
    }
    lossless(&[&scene.first]);
}

#[test]
fn a_loop_between_two_forwarders_ends_with_the_ttl() {
    let Some(scene) = Scene::build() else { return };
    told(scapy(
        &scene.site.middle,
        "import socket\n\
         from scapy.contrib.nsh import NSH\n\
         from scapy.layers.l2 import Ether\n\
         from scapy.layers.vxlan import VXLAN\n\
         wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         wire.bind(('192.168.50.2', 0))\n\
         for _ in range(10):\n\
         \x20   packet = VXLAN(flags=0x0c, NextProtocol=4, vni=100) / NSH(spi=400) / Ether()\n\
         \x20   wire.sendto(bytes(packet) + bytes(46), ('192.168.50.1', 4790))\n",
    ));
    // 63 SFFs are one too many: the last of them is the first one again.
    Scene::dropped(&scene.first, DropReason::TtlExpired, 10);
    let turns = |forwarder: &Forwarder| {
        let counters = forwarder.counters();
        let path = counters
            .paths
            .iter()
            .find(|path| path.spi.get() == 400)
            .unwrap()
            .packets;
        (path, unexpected_drops(&counters, &["ttl-expired"]))
    };
    assert_eq!(turns(&scene.first), (310, Vec::new()));
    assert_eq!(turns(&scene.last), (310, Vec::new()));
    assert_eq!(scene.first.counters().drops[&DropReason::TtlExpired], 10);
    lossless(&[&scene.last]);
}
