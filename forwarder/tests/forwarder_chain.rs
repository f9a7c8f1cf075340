//! Two forwarders joined by an underlay, real packets from a client through NSH in VXLAN-GPE to a
//! server and back, with every offload of the veths left on. tshark judges what is on the wire.

#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder::control::Client;
use kc_forwarder_api::{Backend, PortState};
use kc_tests::lab::{Forwarder, Lab, Namespace, PATIENCE, Process, Tcp, unexpected_drops};
use std::process::{Command, Stdio};
use std::time::Instant;

/// client - c0 [box 1] u0 - u0 [box 2] s0 - server.
struct Chain {
    client: Namespace,
    server: Namespace,
    box1: Namespace,
    box2: Namespace,
    lab: Lab,
    backend: Backend,
}

impl Chain {
    /// Builds the topology; the underlay takes IP packets of `mtu` octets.
    fn build(backend: Backend, mtu: u16) -> Option<Self> {
        let lab = Lab::open()?;
        let client = lab.namespace();
        let box1 = lab.namespace();
        let box2 = lab.namespace();
        let server = lab.namespace();
        client.join("e0", &box1, "c0");
        box1.join("u0", &box2, "u0");
        server.join("e0", &box2, "s0");
        for (host, address) in [(&box1, "192.168.50.1/24"), (&box2, "192.168.50.2/24")] {
            host.run(&format!("ip link set u0 mtu {mtu}"));
            host.address("u0", address);
        }
        for (end, host) in [(&client, 1), (&server, 2)] {
            end.address("e0", &format!("192.168.2.{host}/24"));
            end.address("e0", &format!("fd00::{host}/64"));
        }
        Some(Self {
            client,
            server,
            box1,
            box2,
            lab,
            backend,
        })
    }

    /// Tables of box 1 (path 100 out, 101 back) or, mirrored, of box 2.
    fn tables(&self, local: u8, mtu: u16) -> String {
        let remote = 3 - local;
        let port = if local == 1 { "c0" } else { "s0" };
        let (out, back) = if local == 1 { (100, 101) } else { (101, 100) };
        let backend = self.backend;
        format!(
            r#"
            [underlay]
            address = "192.168.50.{local}"
            mtu = {mtu}
            [[ports]]
            name = "{port}"
            backend = "{backend}"
            [[tunnels]]
            name = "peer"
            transport = {{ vxlan-gpe = {{ remote = "192.168.50.{remote}", vni = 100 }} }}
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
            "#
        )
    }

    fn start(&self, mtu: u16) -> (Forwarder, Forwarder) {
        let first = Forwarder::start(&self.lab, &self.box1, "box1", &self.tables(1, mtu));
        let second = Forwarder::start(&self.lab, &self.box2, "box2", &self.tables(2, mtu));
        (first, second)
    }

    /// Three answers in ten seconds: a busy machine may lose a packet in some queue of its own.
    fn ping(&self, arguments: &str) {
        let output = self
            .client
            .output(&format!("ping -n -c 3 -i 0.05 -w 10 {arguments}"));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
    }
}

fn pings_and_transfers(backend: Backend, megabytes: usize) {
    for mtu in [1600, 1500] {
        let Some(chain) = Chain::build(backend, mtu) else {
            return;
        };
        let (first, second) = chain.start(mtu);
        chain.ping("192.168.2.2");
        chain.ping("fd00::2");
        // What is sent before the other end is up is lost, and the hosts go on talking a little.
        let (there, here) = (second.counters(), first.counters());
        let (sent, received) = (&here.tunnels[0], &there.tunnels[0]);
        assert!(received.rx_packets >= 6 && received.rx_packets <= sent.tx_packets);
        assert!(received.rx_bytes <= sent.tx_bytes);
        assert!(
            there
                .paths
                .iter()
                .any(|path| path.spi.get() == 100 && path.packets >= 6)
        );
        for address in ["192.168.2.2", "fd00::2"] {
            let server = Tcp::serve(&chain.server, address);
            let rate = Tcp::exchange(&chain.client, address, megabytes << 20);
            println!("{backend}, underlay MTU {mtu}, {address}: {rate}");
            drop(server);
        }
        for forwarder in [&first, &second] {
            let counters = forwarder.counters();
            let drops = unexpected_drops(&counters, &[]);
            assert!(drops.is_empty(), "{drops:?}");
            let status = forwarder.client().status().unwrap();
            assert_eq!(status.ports[0].backend, backend);
            // The kernel may tell of the carrier a second after it is there.
            forwarder.wait(
                |client| client.status().unwrap().ports[0].state == PortState::Up,
                "carrier",
            );
            println!("{backend}: {} KiB of memory", forwarder.memory());
        }
    }
}

#[test]
fn packet_backend_carries_pings_and_tcp_unchanged_with_offloads_on() {
    pings_and_transfers(Backend::Packet, 8);
}

#[test]
fn pnet_backend_carries_pings_and_tcp_unchanged_with_offloads_on() {
    pings_and_transfers(Backend::Pnet, 4);
}

#[test]
fn xdp_backend_carries_pings_and_tcp_unchanged_with_offloads_on() {
    pings_and_transfers(Backend::Xdp, 8);
}

#[test]
fn udp_of_all_lengths_arrives_unchanged_also_when_the_sender_segments() {
    for backend in [Backend::Packet, Backend::Pnet, Backend::Xdp] {
        let Some(chain) = Chain::build(backend, 1600) else {
            return;
        };
        let (first, _second) = chain.start(1600);
        chain.ping("192.168.2.2");
        let server = chain.server.python_server(
            "import socket\n\
             s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('192.168.2.2', 5001))\n\
             print('ready', flush=True)\n\
             while True:\n\
             \x20   d, a = s.recvfrom(65536); s.sendto(d, a)\n",
        );
        chain.client.python(
            "import socket, random\n\
             r = random.Random(1)\n\
             s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)\n\
             s.connect(('192.168.2.2', 5001))\n\
             for n in [0, 1, 2, 3, 17, 18, 19, 100, 1471, 1472]:\n\
             \x20   d = r.randbytes(n); s.send(d); assert s.recv(65536) == d, n\n\
             s.setsockopt(socket.IPPROTO_UDP, 103, 1000)\n\
             d = r.randbytes(30500); s.send(d)\n\
             got = [s.recv(65536) for _ in range(31)]\n\
             assert b''.join(got) == d and [len(g) for g in got] == [1000] * 30 + [500]\n",
        );
        drop(server);
        let drops = unexpected_drops(&first.counters(), &[]);
        assert!(drops.is_empty(), "{drops:?}");
    }
}

#[test]
fn a_packet_too_long_for_the_path_is_answered_with_its_mtu() {
    let Some(chain) = Chain::build(Backend::Packet, 1500) else {
        return;
    };
    let (first, _second) = chain.start(1500);
    chain.ping("192.168.2.2");
    // 1500 - IPv4 20 - UDP 8 - VXLAN-GPE 8 - NSH 24 - Ethernet 14 = 1426.
    let output = chain
        .client
        .output("ping -n -c 1 -W 2 -M do -s 1472 192.168.2.2");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("Frag needed and DF set (mtu = 1426)"),
        "{text}"
    );
    chain.ping("-M do -s 1398 192.168.2.2");
    let output = chain
        .client
        .output("ping -n -c 1 -W 2 -M do -s 1452 fd00::2");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Packet too big: mtu=1426"), "{text}");
    assert!(
        first
            .counters()
            .drops
            .keys()
            .any(|reason| reason.as_str() == "mtu-exceeded")
    );
}

#[test]
fn tshark_decodes_the_underlay() {
    let Some(chain) = Chain::build(Backend::Packet, 1600) else {
        return;
    };
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("skipped: no tshark here");
        return;
    }
    let (_first, _second) = chain.start(1600);
    chain.ping("192.168.2.2");
    let file = chain.lab.folder().join("underlay.pcap");
    let mut capture = chain.box2.command("tshark");
    capture
        .args(["-q", "-l", "-i", "u0", "-f", "udp", "-c", "40", "-P", "-w"])
        .arg(&file);
    let mut capture = Process::start_capture(capture);
    let begin = Instant::now();
    while !capture.ended() {
        chain.ping("192.168.2.2");
        assert!(begin.elapsed() < PATIENCE, "nothing captured");
    }
    let output = Command::new("tshark")
        .args(["-r"])
        .arg(&file)
        .args(["-d", "udp.port==4790,vxlan_gpe", "-T", "fields"])
        .args([
            "-e",
            "nsh.spi",
            "-e",
            "nsh.si",
            "-e",
            "nsh.ttl",
            "-e",
            "icmp.type",
        ])
        .args(["-e", "udp.srcport", "-e", "_ws.malformed"])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<_>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let requests = lines
        .iter()
        .filter(|line| line[0] == "100" && line[3] == "8");
    let replies = lines
        .iter()
        .filter(|line| line[0] == "101" && line[3] == "0");
    assert!(
        requests.clone().count() > 3 && replies.clone().count() > 3,
        "{text}"
    );
    for line in requests.chain(replies) {
        assert_eq!(
            (line[1], line[2], line[5]),
            ("255", "0x003f", ""),
            "{line:?}"
        );
        assert!(line[4].parse::<u16>().unwrap() >= 49_152, "{line:?}");
    }
}

#[test]
fn a_killed_forwarder_forwards_again_as_soon_as_it_is_back() {
    let Some(chain) = Chain::build(Backend::Packet, 1600) else {
        return;
    };
    let (first, _second) = chain.start(1600);
    chain.ping("192.168.2.2");
    let (file, socket) = first.kill();
    let begin = Instant::now();
    let _first = Forwarder::launch(&chain.box1, file, socket);
    let back = begin.elapsed();
    chain.ping("192.168.2.2");
    println!("answers again {back:?} after kill -9");
}

#[test]
fn an_interface_that_goes_and_comes_back_is_used_again() {
    for backend in [Backend::Packet, Backend::Pnet, Backend::Xdp] {
        let Some(chain) = Chain::build(backend, 1600) else {
            return;
        };
        let (first, _second) = chain.start(1600);
        chain.ping("192.168.2.2");
        let state = |wanted| {
            first.wait(
                |client| client.status().unwrap().ports[0].state == wanted,
                "port state",
            );
        };
        chain.box1.run("ip link set c0 down");
        state(PortState::Absent);
        assert_eq!(
            first.client().status().unwrap().ports[0].reason,
            "interface c0 is down"
        );
        chain.box1.run("ip link set c0 up");
        state(PortState::Up);
        chain.ping("192.168.2.2");

        chain.client.run("ip link set e0 down");
        state(PortState::NoCarrier);
        chain.client.run("ip link set e0 up");
        state(PortState::Up);
        chain.ping("192.168.2.2");

        chain.box1.run("ip link delete c0");
        state(PortState::Absent);
        assert_eq!(
            first.client().status().unwrap().ports[0].reason,
            "interface c0 does not exist"
        );
        chain.client.join("e0", &chain.box1, "c0");
        chain.client.address("e0", "192.168.2.1/24");
        state(PortState::Up);
        chain.ping("192.168.2.2");

        chain.box1.run("ip link set c0 mtu 1300");
        let mtu = |client: &mut Client| client.status().unwrap().ports[0].mtu == 1300;
        first.wait(mtu, "the new MTU");
    }
}

#[test]
fn tables_can_change_under_traffic_without_loss() {
    let Some(chain) = Chain::build(Backend::Packet, 1600) else {
        return;
    };
    let (first, _second) = chain.start(1600);
    chain.ping("192.168.2.2");
    let mut client = first.client();
    let mut tables = client.tables().unwrap();
    // A busy machine may lose a packet in some queue of its own; a swap that lost any would do
    // so every time.
    let lossless = (0..3).any(|_| {
        let mut ping = chain.client.command("ping");
        ping.args("-n -q -c 200 -i 0.005 -W 2 192.168.2.2".split(' '));
        let mut ping = ping.stdout(Stdio::piped()).spawn().unwrap();
        let mut changes = 0;
        while ping.try_wait().unwrap().is_none() {
            tables.generation += 1;
            // An unrelated port comes and goes: c0 becomes another number every time.
            if tables.ports.len() == 1 {
                tables
                    .ports
                    .insert(0, toml::from_str("name = \"kc-absent\"").unwrap());
            } else {
                tables.ports.remove(0);
            }
            assert_eq!(client.apply(tables.clone()).unwrap(), tables.generation);
            changes += 1;
        }
        let output = ping.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{changes} changes: {text}");
        changes > 50 && text.contains("200 received, 0% packet loss")
    });
    assert!(lossless);
}
