//! More frames than anybody takes in time: what the kernel drops at our sockets is counted, and
//! nothing is missing. The forwarder is stopped while they come, so that its sockets overflow.

#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder_api::{Backend, Counters, DropReason};
use kc_tests::lab::{Forwarder, Lab, Namespace, PATIENCE};
use std::time::Instant;

/// More than fills a socket's 8 MiB, even if the kernel counted nothing but their octets.
const FLOOD: u64 = 20_000;

/// Octets of each frame behind its headers.
const PAYLOAD: usize = 900;

/// peer e0 - c0 [box] u0 - v0 peer; nobody speaks there of his own accord.
struct Site {
    peer: Namespace,
    forwarder: Forwarder,
    _box: Namespace,
    _lab: Lab,
}

impl Site {
    fn build(backend: Backend) -> Option<Self> {
        let lab = Lab::open()?;
        let [peer, node] = std::array::from_fn(|_| lab.namespace());
        for namespace in [&peer, &node] {
            namespace.run("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
        }
        peer.join("e0", &node, "c0");
        peer.join("v0", &node, "u0");
        peer.address("v0", "192.168.50.2/24");
        node.address("u0", "192.168.50.1/24");
        let tables = format!(
            r#"
            underlay = {{ address = "192.168.50.1" }}
            ports = [{{ name = "c0", backend = "{backend}" }}]
            rules = [{{ name = "none", match = {{ port = "c0" }}, action = "drop" }}]
            [[tunnels]]
            name = "peer"
            transport = {{ vxlan-gpe = {{ remote = "192.168.50.2", vni = 100 }} }}
            "#
        );
        let forwarder = Forwarder::start(&lab, &node, "box", &tables);
        Some(Self {
            peer,
            forwarder,
            _box: node,
            _lab: lab,
        })
    }

    /// Runs `flood` while the forwarder stands still, and returns what it has counted once all
    /// frames are `accounted` for.
    fn overflow(&self, flood: &str, accounted: impl Fn(&Counters) -> u64) -> Counters {
        let pid = self.forwarder.client().status().unwrap().pid;
        self.forwarder.signal("STOP");
        let begin = Instant::now();
        let stopped = |state: &str| state.contains("\nState:\tT");
        while !stopped(&std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap()) {
            assert!(begin.elapsed() < PATIENCE, "it does not stop");
            std::thread::yield_now();
        }
        self.peer.python(flood);
        self.forwarder.signal("CONT");
        self.forwarder.wait(
            |client| accounted(&client.counters().unwrap()) >= FLOOD,
            "all frames accounted for",
        );
        self.forwarder.counters()
    }
}

fn dropped(counters: &Counters, reason: DropReason) -> u64 {
    counters.drops.get(&reason).copied().unwrap_or(0)
}

#[test]
fn frames_that_a_ports_socket_had_no_room_for_are_counted() {
    for backend in [Backend::Packet, Backend::Pnet] {
        let Some(site) = Site::build(backend) else {
            return;
        };
        let flood = format!(
            "import socket\n\
             s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('e0', 0))\n\
             frame = bytes.fromhex('02000000000e' '020000000001' '88b5') + bytes({PAYLOAD})\n\
             for _ in range({FLOOD}): s.send(frame)\n"
        );
        let mut sent = 0;
        // The kernel's own counter begins anew whenever it is read: ours does not.
        for round in 1..=2 {
            let counters = site.overflow(&flood, |counters| {
                counters.ports[0].rx_packets + counters.ports[0].rx_dropped - sent
            });
            sent += FLOOD;
            let port = &counters.ports[0];
            println!(
                "{backend}, flood {round}: {} taken, {} dropped by the kernel",
                port.rx_packets, port.rx_dropped
            );
            assert_eq!(port.rx_packets + port.rx_dropped, sent);
            assert!(port.rx_packets >= round && port.rx_dropped >= round);
            assert_eq!(dropped(&counters, DropReason::RuleDrop), port.rx_packets);
            assert_eq!(counters.rules[0].packets, port.rx_packets);
            assert_eq!(counters.underlay.rx_dropped, 0);
        }
    }
}

#[test]
fn datagrams_that_the_underlays_socket_had_no_room_for_are_counted() {
    let Some(site) = Site::build(Backend::Packet) else {
        return;
    };
    // VXLAN-GPE with VNI 100, NSH on a path that is not here, of MD type 2 without context.
    let flood = format!(
        "import socket\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('192.168.50.2', 50000))\n\
         packet = bytes.fromhex('0c00000400006400' '0fc2020300000aff') + bytes({PAYLOAD})\n\
         for _ in range({FLOOD}): s.sendto(packet, ('192.168.50.1', 4790))\n"
    );
    // Found before the flood, which must not wait for it.
    site.peer.run("ping -n -c 1 -W 10 192.168.50.1");
    let counters = site.overflow(&flood, |counters| {
        counters.tunnels[0].rx_packets + counters.underlay.rx_dropped
    });
    let (tunnel, lost) = (&counters.tunnels[0], counters.underlay.rx_dropped);
    println!(
        "{} datagrams taken, {lost} dropped by the kernel",
        tunnel.rx_packets
    );
    assert_eq!(tunnel.rx_packets + lost, FLOOD);
    assert!(tunnel.rx_packets > 0 && lost > 0);
    assert_eq!(dropped(&counters, DropReason::NoPath), tunnel.rx_packets);
    assert_eq!(counters.ports[0].rx_dropped, 0);
    // Other tables, the same sockets: what was lost stays told.
    let mut client = site.forwarder.client();
    let mut tables = client.tables().unwrap();
    tables.generation += 1;
    tables.underlay.as_mut().unwrap().mtu = 1400;
    client.apply(tables).unwrap();
    assert_eq!(client.counters().unwrap().underlay.rx_dropped, lost);
}
