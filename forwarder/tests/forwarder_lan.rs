//! NSH in Ethernet over a real bridge, tagged and untagged, with next hops found by the kernel's
//! own ARP and neighbour discovery; both address families under one forwarder.
#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder_api::{Counters, Encapsulation};
use kc_tests::lab::{Forwarder, Lab, Namespace, PATIENCE, Process, Tcp, unexpected_drops};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A bridge that lets tagged frames pass as they are.
struct Switch {
    namespace: Namespace,
    ports: usize,
}

impl Switch {
    fn new(lab: &Lab) -> Self {
        let namespace = lab.namespace();
        namespace.run("ip link add br0 type bridge");
        namespace.run("ip link set br0 up");
        Self {
            namespace,
            ports: 0,
        }
    }

    /// Joins `interface` of `host`.
    fn join(&mut self, host: &Namespace, interface: &str) {
        self.ports += 1;
        let port = format!("p{}", self.ports);
        host.join(interface, &self.namespace, &port);
        self.namespace
            .run(&format!("ip link set {port} master br0"));
    }
}

/// Pings, three answers in ten seconds.
fn ping(from: &Namespace, arguments: &str) {
    let output = from.output(&format!("ping -n -c 3 -i 0.05 -w 10 {arguments}"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
}

/// Tables of a box in the middle or at an end, with `rest` for its ports, tunnels and paths.
fn tables(ports: &str, tunnels: &[(&str, &str)], rest: &str) -> String {
    let tunnels = tunnels.iter().map(|(name, transport)| {
        format!("[[tunnels]]\nname = \"{name}\"\ntransport = {{ {transport} }}\n")
    });
    format!("{ports}\n{}\n{rest}", tunnels.collect::<String>())
}

/// client - c0 [box 1] l0 - untagged - l0 [box 2] l0 - VLAN 7 - l0 [box 3] s0 - server.
struct Chain {
    client: Namespace,
    server: Namespace,
    middle: Namespace,
    forwarders: [Forwarder; 3],
    _switch: Switch,
    _ends: [Namespace; 2],
    lab: Lab,
}

impl Chain {
    fn start() -> Option<Self> {
        let lab = Lab::open()?;
        let [client, server, box1, middle, box3] = std::array::from_fn(|_| lab.namespace());
        let mut switch = Switch::new(&lab);
        client.join("e0", &box1, "c0");
        server.join("e0", &box3, "s0");
        for host in [&box1, &middle, &box3] {
            switch.join(host, "l0");
        }
        for (end, host) in [(&client, 1), (&server, 2)] {
            end.address("e0", &format!("192.168.2.{host}/24"));
            end.address("e0", &format!("fd00::{host}/64"));
        }
        let end = |port: &str, (out, back): (u32, u32), first: &str| {
            format!(
                r#"
                [[rules]]
                name = "all"
                match = {{ port = "{port}" }}
                action = {{ path = {{ spi = {out}, si = 255 }} }}
                [[paths]]
                spi = {out}
                hops = [{{ si = 255, to = {{ tunnel = {{ name = "{first}" }} }} }}]
                [[paths]]
                spi = {back}
                hops = [{{ si = 255, to = {{ egress = {{ port = "{port}" }} }} }}]
                "#
            )
        };
        let lan = |own: &str| format!("[[ports]]\nname = \"l0\"\naddresses = [{own}]");
        let first = tables(
            &format!("[[ports]]\nname = \"c0\"\n{}", lan("\"10.0.0.1\"")),
            &[(
                "box2",
                r#"ethernet = { port = "l0", next-hop = "10.0.0.2" }"#,
            )],
            &end("c0", (100, 101), "box2"),
        );
        let transit = tables(
            &lan("\"10.0.0.2\", \"fd10::2\""),
            &[
                (
                    "box1",
                    r#"ethernet = { port = "l0", next-hop = "10.0.0.1" }"#,
                ),
                (
                    "box3",
                    r#"ethernet = { port = "l0", next-hop = "fd10::3", vlan = 7 }"#,
                ),
            ],
            r#"
            [[paths]]
            spi = 100
            hops = [{ si = 255, to = { tunnel = { name = "box3" } } }]
            [[paths]]
            spi = 101
            hops = [{ si = 255, to = { tunnel = { name = "box1" } } }]
            "#,
        );
        let last = tables(
            &format!("[[ports]]\nname = \"s0\"\n{}", lan("\"fd10::3\"")),
            &[(
                "box2",
                r#"ethernet = { port = "l0", next-hop = "fd10::2", vlan = 7 }"#,
            )],
            &end("s0", (101, 100), "box2"),
        );
        let forwarders = [
            Forwarder::start(&lab, &box1, "box1", &first),
            Forwarder::start(&lab, &middle, "box2", &transit),
            Forwarder::start(&lab, &box3, "box3", &last),
        ];
        Some(Self {
            client,
            server,
            middle,
            forwarders,
            _switch: switch,
            _ends: [box1, box3],
            lab,
        })
    }
}

#[test]
fn a_path_over_an_untagged_and_a_tagged_lan_carries_pings_and_tcp_unchanged() {
    let Some(chain) = Chain::start() else { return };
    ping(&chain.client, "192.168.2.2");
    ping(&chain.client, "fd00::2");
    for address in ["192.168.2.2", "fd00::2"] {
        let _server = Tcp::serve(&chain.server, address);
        let rate = Tcp::exchange(&chain.client, address, 4 << 20);
        println!("over two LANs, {address}: {rate}");
    }
    for forwarder in &chain.forwarders {
        let counters = forwarder.counters();
        // The boxes' own kernels talk on the LAN a little; that is nobody's.
        let drops = unexpected_drops(&counters, &["no-match"]);
        assert!(drops.is_empty(), "{drops:?}");
    }
    let counters = chain.forwarders[1].counters();
    for tunnel in &counters.tunnels {
        assert_eq!(tunnel.encapsulation.known(), Some(&Encapsulation::Ethernet));
        assert!(
            tunnel.rx_packets > 1_000 && tunnel.tx_packets > 1_000,
            "{tunnel:?}"
        );
    }
    assert_eq!(counters.tunnels[1].vlan.unwrap().get(), 7);
}

#[test]
fn the_mtu_of_a_lan_is_told_and_holds_with_a_tag_too() {
    let Some(chain) = Chain::start() else { return };
    ping(&chain.client, "192.168.2.2");
    // 1500 - NSH 24 - Ethernet 14 = 1462; the tag takes nothing.
    let output = chain
        .client
        .output("ping -n -c 1 -W 2 -M do -s 1472 192.168.2.2");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("Frag needed and DF set (mtu = 1462)"),
        "{text}"
    );
    ping(&chain.client, "-M do -s 1434 192.168.2.2");
}

#[test]
fn tshark_decodes_both_lans() {
    let Some(chain) = Chain::start() else { return };
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("skipped: no tshark here");
        return;
    }
    let file = chain.lab.folder().join("lan.pcap");
    let mut capture = chain.middle.command("tshark");
    // What the box itself sends past the queueing discipline is seen at the other end only.
    let filter = "ether proto 0x894f or (vlan and ether proto 0x894f)";
    capture
        .args(["-q", "-l", "-i", "l0", "-f", filter, "-c", "20", "-P", "-w"])
        .arg(&file);
    let mut capture = Process::start_capture(capture);
    let begin = Instant::now();
    while !capture.ended() {
        ping(&chain.client, "192.168.2.2");
        assert!(begin.elapsed() < PATIENCE, "nothing captured");
    }
    let fields = [
        "vlan.id",
        "nsh.spi",
        "nsh.si",
        "nsh.ttl",
        "icmp.type",
        "_ws.malformed",
    ];
    let output = Command::new("tshark")
        .arg("-r")
        .arg(&file)
        .args(["-T", "fields"])
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let seen = |line: &str| text.lines().filter(|found| *found == line).count();
    assert!(seen("\t100\t255\t0x003f\t8\t") > 2, "{text}");
    assert!(seen("7\t101\t255\t0x003f\t0\t") > 2, "{text}");
}

/// The MAC address of an interface. Not from sysfs, which shows another namespace.
fn mac(namespace: &Namespace, interface: &str) -> String {
    let text = namespace.run(&format!("ip -o link show {interface}"));
    let mut words = text.split_whitespace();
    words.find(|word| *word == "link/ether").unwrap();
    words.next().unwrap().to_owned()
}

/// A station with the kernel's own ARP and neighbour discovery, next hop of a forwarder, that
/// tells where each NSH frame that it gets was sent to.
struct Station {
    namespace: Namespace,
    listener: Child,
    heard: Receiver<String>,
}

impl Station {
    fn start(namespace: Namespace) -> Self {
        let program = "import socket\n\
             s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x894f))\n\
             print('ready', flush=True)\n\
             while True:\n\
             \x20   try:\n\
             \x20       d, a = s.recvfrom(4096)\n\
             \x20   except OSError:\n\
             \x20       continue\n\
             \x20   if a[2] != 4: print(d[:6].hex(':'), d[-4:].hex(), flush=True)\n";
        let mut listener = namespace
            .command("python3")
            .args(["-u", "-c", program])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(listener.stdout.take().unwrap()).lines();
        let (sender, heard) = channel();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let station = Self {
            namespace,
            listener,
            heard,
        };
        assert_eq!(station.next(), "ready");
        station
    }

    /// What is heard next: destination and number.
    #[track_caller]
    fn next(&self) -> String {
        self.heard.recv_timeout(PATIENCE).unwrap()
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}

/// client - c0 [box] l0 - switch - e0 station.
struct Site {
    client: Namespace,
    host: Namespace,
    forwarder: Forwarder,
    station: Station,
    _switch: Switch,
    _lab: Lab,
}

impl Site {
    /// Sends a datagram with `number` in it.
    fn send(&self, number: u32) {
        self.client.python(&format!(
            "import socket\n\
             s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
             s.sendto(({number}).to_bytes(4, 'big'), ('192.168.2.2', 7))\n"
        ));
    }
}

fn towards_a_station(next_hop: &str) -> Option<Site> {
    let lab = Lab::open()?;
    let [client, host, station] = std::array::from_fn(|_| lab.namespace());
    let mut switch = Switch::new(&lab);
    client.join("e0", &host, "c0");
    switch.join(&host, "l0");
    switch.join(&station, "e0");
    client.address("e0", "192.168.2.1/24");
    client.run("ip neigh add 192.168.2.2 lladdr 02:00:00:00:00:22 dev e0");
    station.address("e0", "10.0.0.9/24");
    station.address("e0", "fd10::9/64");
    station.run("sysctl -q -w net.ipv4.conf.e0.arp_notify=1 net.ipv6.conf.e0.ndisc_notify=1");
    // Addresses stay when the interface goes down.
    station.run("sysctl -q -w net.ipv6.conf.e0.keep_addr_on_down=1");
    let tables = tables(
        "[[ports]]\nname = \"c0\"\n[[ports]]\nname = \"l0\"\naddresses = [\"10.0.0.1\", \"fd10::1\"]",
        &[(
            "station",
            &format!("ethernet = {{ port = \"l0\", next-hop = \"{next_hop}\" }}"),
        )],
        r#"
        [[rules]]
        name = "numbers"
        match = { port = "c0", protocol = "udp", destination-ports = 7 }
        action = { path = { spi = 1, si = 255 } }
        [[paths]]
        spi = 1
        hops = [{ si = 255, to = { tunnel = { name = "station" } } }]
        "#,
    );
    let forwarder = Forwarder::start(&lab, &host, "box", &tables);
    Some(Site {
        client,
        host,
        forwarder,
        station: Station::start(station),
        _switch: switch,
        _lab: lab,
    })
}

fn lost(counters: &Counters) -> u64 {
    let mut drops = counters.drops.iter();
    let found = drops.find(|(reason, _)| reason.as_str() == "no-neighbour");
    found.map_or(0, |(_, count)| *count)
}

#[test]
fn the_kernel_is_found_followed_missed_and_found_again() {
    for next_hop in ["10.0.0.9", "fd10::9"] {
        let Some(site) = towards_a_station(next_hop) else {
            return;
        };
        let (forwarder, station) = (&site.forwarder, &site.station);
        site.send(1);
        assert_eq!(
            station.next(),
            format!("{} 00000001", mac(&station.namespace, "e0")),
            "{next_hop}"
        );

        // Another MAC address, which the kernel tells everybody.
        station
            .namespace
            .run("ip link set e0 address 02:00:00:00:99:01");
        site.send(2);
        assert_eq!(station.next(), "02:00:00:00:99:01 00000002");

        // Once more, and gone before anybody could check.
        station
            .namespace
            .run("ip link set e0 address 02:00:00:00:99:02");
        station.namespace.run("ip link set e0 down");
        let begin = Instant::now();
        let mut number = 3;
        while lost(&forwarder.counters()) == 0 {
            site.send(number);
            number += 1;
            assert!(
                begin.elapsed() < PATIENCE,
                "frames to nobody are not missed"
            );
        }
        station.namespace.run("ip link set e0 up");
        let begin = Instant::now();
        let line = loop {
            site.send(number);
            if let Ok(line) = station.heard.recv_timeout(Duration::from_millis(100)) {
                break line;
            }
            assert!(begin.elapsed() < PATIENCE, "not found again");
        };
        assert!(line.starts_with("02:00:00:00:99:02 "), "{line}");
        let drops = forwarder.counters();
        let drops = unexpected_drops(&drops, &["no-match", "no-neighbour"]);
        assert!(drops.is_empty(), "{drops:?}");
    }
}

#[test]
fn the_kernel_finds_the_forwarder_and_nobody_that_it_is_not() {
    let Some(site) = towards_a_station("10.0.0.9") else {
        return;
    };
    let station = &site.station.namespace;
    let mac = mac(&site.host, "l0");
    for (ours, nobody) in [("10.0.0.1", "10.0.0.2"), ("fd10::1", "fd10::2")] {
        // Nobody answers the echo; the question in front of it is answered.
        station.output(&format!("ping -n -c 1 -W 1 {ours}"));
        let known = station.run(&format!("ip neigh show {ours}"));
        assert!(known.contains(&format!("lladdr {mac}")), "{known}");
        station.output(&format!("ping -n -c 1 -W 1 {nobody}"));
        let known = station.run(&format!("ip neigh show {nobody}"));
        assert!(!known.contains("lladdr"), "{known}");
    }
}

/// client - c0 [box 1] u0 - u0 [box 2] s0 - server, there over IPv4 and back over IPv6, each with
/// UDP ports and VNIs of its own, and a segment whose peers are of both families.
#[test]
fn one_underlay_has_both_families_and_ports_and_vnis_of_its_own() {
    let Some(lab) = Lab::open() else { return };
    let [client, server, box1, box2] = std::array::from_fn(|_| lab.namespace());
    client.join("e0", &box1, "c0");
    client.join("e1", &box1, "m0");
    server.join("e0", &box2, "s0");
    server.join("e1", &box2, "m0");
    box1.join("u0", &box2, "u0");
    for (host, number) in [(&box1, 1), (&box2, 2)] {
        host.run("ip link set u0 mtu 1600");
        host.address("u0", &format!("192.168.50.{number}/24"));
        host.address("u0", &format!("fd50::{number}/64"));
    }
    for (end, number) in [(&client, 1), (&server, 2)] {
        end.address("e0", &format!("192.168.2.{number}/24"));
        end.address("e1", &format!("10.7.0.{number}/24"));
    }
    let common = |own: u8, port: &str, gpe: u16, peer: &str| {
        format!(
            r#"
            [underlay]
            address = ["192.168.50.{own}", "fd50::{own}"]
            mtu = 1600
            gpe-port = {gpe}
            vxlan-port = 5789
            [[ports]]
            name = "{port}"
            [[ports]]
            name = "m0"
            [[segments]]
            vni = 77
            ports = ["m0"]
            peers = ["{peer}"]
            [[rules]]
            name = "all"
            match = {{ port = "{port}" }}
            action = {{ path = {{ spi = {own}, si = 255 }} }}
            [[paths]]
            spi = {own}
            hops = [{{ si = 255, to = {{ tunnel = {{ name = "out" }} }} }}]
            [[paths]]
            spi = {}
            hops = [{{ si = 255, to = {{ egress = {{ port = "{port}" }} }} }}]
            "#,
            3 - own
        )
    };
    let first = tables(
        &common(1, "c0", 4790, "fd50::2"),
        &[
            (
                "out",
                r#"vxlan-gpe = { remote = "192.168.50.2", vni = 8, port = 5791 }"#,
            ),
            ("in", r#"vxlan-gpe = { remote = "fd50::2", vni = 9 }"#),
        ],
        "",
    );
    let second = tables(
        &common(2, "s0", 5791, "fd50::1"),
        &[
            (
                "out",
                r#"vxlan-gpe = { remote = "fd50::1", vni = 9, port = 4790 }"#,
            ),
            ("in", r#"vxlan-gpe = { remote = "192.168.50.1", vni = 8 }"#),
        ],
        "",
    );
    let first = Forwarder::start(&lab, &box1, "box1", &first);
    let second = Forwarder::start(&lab, &box2, "box2", &second);
    ping(&client, "192.168.2.2");
    ping(&client, "10.7.0.2");
    for address in ["192.168.2.2", "10.7.0.2"] {
        let _server = Tcp::serve(&server, address);
        let rate = Tcp::exchange(&client, address, 2 << 20);
        println!("there over IPv4, back over IPv6, {address}: {rate}");
    }
    for forwarder in [&first, &second] {
        let counters = forwarder.counters();
        let drops = unexpected_drops(&counters, &[]);
        assert!(drops.is_empty(), "{drops:?}");
        // By address: one tunnel each way over its family only, and the segment over IPv6.
        let used = counters.tunnels.iter();
        let used = used.map(|tunnel| (tunnel.rx_packets > 100, tunnel.tx_packets > 100));
        let there = counters.tunnels[0].tx_packets > 100;
        let expected = if there {
            [(false, true), (true, true), (true, false)]
        } else {
            [(true, false), (true, true), (false, true)]
        };
        let mut used: Vec<_> = used.collect();
        used[1..].sort_unstable_by_key(|used| *used != (true, true));
        assert_eq!(used, expected, "{:?}", counters.tunnels);
    }
}
