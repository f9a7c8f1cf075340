//! Ports of backend `xdp` as the kernel sees them: what is attached when, what AF_XDP does not
//! tell about a frame, and interfaces where it does not work.
#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder::control::Client;
use kc_forwarder_api::{Backend, DropReason, PortStatus};
use kc_tests::lab::{Forwarder, Lab, Namespace, PATIENCE, Tcp, unexpected_drops};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

/// client e0 - c0 [box] s0 - e0 server; the box passes all that comes in by one port out by the
/// other.
struct Wire {
    client: Namespace,
    server: Namespace,
    middle: Namespace,
    lab: Lab,
}

const TABLES: &str = r#"
    [[ports]]
    name = "c0"
    backend = "xdp"
    [[ports]]
    name = "s0"
    backend = "xdp"
    [[rules]]
    name = "there"
    match = { port = "c0" }
    action = { egress = { port = "s0" } }
    [[rules]]
    name = "back"
    match = { port = "s0" }
    action = { egress = { port = "c0" } }
"#;

impl Wire {
    fn build(mtu: u16) -> Option<Self> {
        let lab = Lab::open()?;
        let [client, server, middle] = [(); 3].map(|()| lab.namespace());
        client.join("e0", &middle, "c0");
        server.join("e0", &middle, "s0");
        for (end, leg, number) in [(&client, "c0", 1), (&server, "s0", 2)] {
            middle.run(&format!("ip link set {leg} mtu {mtu}"));
            end.run(&format!("ip link set e0 mtu {mtu}"));
            end.address("e0", &format!("192.168.2.{number}/24"));
            end.address("e0", &format!("fd00::{number}/64"));
        }
        Some(Self {
            client,
            server,
            middle,
            lab,
        })
    }

    fn start(&self) -> Forwarder {
        Forwarder::start(&self.lab, &self.middle, "wire", TABLES)
    }

    fn ping(&self) {
        self.client.run("ping -n -c 3 -i 0.05 -w 10 192.168.2.2");
    }

    /// What is attached to an interface of the box, as `ip` tells it.
    fn attached(&self, interface: &str) -> bool {
        let link = self
            .middle
            .run(&format!("ip -details link show {interface}"));
        link.contains("prog/xdp")
    }
}

fn port(forwarder: &Forwarder, number: usize) -> PortStatus {
    forwarder
        .client()
        .status()
        .unwrap()
        .ports
        .swap_remove(number)
}

#[test]
fn tcp_crosses_unchanged_with_offloads_on_whatever_the_chunks() {
    for (mtu, memory) in [(1500, "3072 KiB"), (3000, "6144 KiB")] {
        let Some(wire) = Wire::build(mtu) else { return };
        let forwarder = wire.start();
        wire.ping();
        for address in ["192.168.2.2", "fd00::2"] {
            let _server = Tcp::serve(&wire.server, address);
            let rate = Tcp::exchange(&wire.client, address, 4 << 20);
            println!("MTU {mtu}, {address}: {rate}");
        }
        for number in 0..2 {
            let status = port(&forwarder, number);
            assert_eq!(status.backend, Backend::Xdp, "{}", status.reason);
            assert!(
                status.reason.starts_with("xdp: native"),
                "{}",
                status.reason
            );
            assert!(status.reason.contains(memory), "{}", status.reason);
        }
        let drops = unexpected_drops(&forwarder.counters(), &[]);
        assert!(drops.is_empty(), "{drops:?}");
    }
}

#[test]
fn all_queues_of_an_interface_are_received_from() {
    let Some(wire) = Wire::build(1500) else {
        return;
    };
    let two = |namespace: &Namespace, interface: &str| {
        let output = namespace.output(&format!("ethtool -L {interface} rx 2 tx 2"));
        output.status.success()
    };
    if !two(&wire.middle, "c0") || !two(&wire.client, "e0") {
        eprintln!("skipped: no second queue here");
        return;
    }
    let forwarder = wire.start();
    let status = port(&forwarder, 0);
    assert!(status.reason.contains("queues: 2"), "{}", status.reason);
    wire.ping();
    let _server = Tcp::serve(&wire.server, "192.168.2.2");
    println!("{}", Tcp::requests(&wire.client, "192.168.2.2", 50));
    let statistics = wire.middle.run("ethtool -S c0");
    for queue in 0..2 {
        let name = format!("rx_queue_{queue}_xdp_packets: ");
        let line = statistics
            .lines()
            .find_map(|line| line.trim().strip_prefix(&name));
        assert!(line.unwrap().parse::<u64>().unwrap() > 0, "{statistics}");
    }
    let drops = unexpected_drops(&forwarder.counters(), &[]);
    assert!(drops.is_empty(), "{drops:?}");
}

/// Sends untagged, tagged and doubly tagged frames.
const SEND: &str = r"
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('INTERFACE', 0))
macs = bytes.fromhex('020000000022020000000011')
for tags in ['', '81006005', '88a80009', '88a8000981000008']:
    s.send(macs + bytes.fromhex(tags + '88b5') + b'NAME' + bytes(50))
";

/// Prints what arrives of that: the tag that the kernel took out, the types that follow, the name.
const WATCH: &str = r"
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind(('e0', 3))
s.setsockopt(263, 8, 1); s.settimeout(15)
print('ready', flush=True)
count = 8
while count:
    d, control, _, _ = s.recvmsg(2000, 200)
    at = d.find(b'\x88\xb5')
    if at < 12: continue
    status, tag = struct.unpack('IIIHHHH', control[0][2][:20]), ''
    if status[0] & 16: tag = '%04x%04x' % (status[6], status[5])
    print(tag + d[12:at].hex() + ' ' + d[at + 2:at + 8].decode(), flush=True)
    count -= 1
";

#[test]
fn tags_arrive_as_they_were_sent_whether_inside_a_frame_or_beside_it() {
    let Some(wire) = Wire::build(1500) else {
        return;
    };
    let _forwarder = wire.start();
    wire.ping();
    // Nobody here has VLAN devices for granted. But a bridge's kernel takes the tag out of what it
    // receives, and passes the frame on with the tag beside it.
    let client = &wire.client;
    client.run("ip link add p0 type veth peer name p1");
    client.run("ip link add br0 type bridge");
    client.run("ip link set p1 master br0");
    client.run("ip link set e0 master br0");
    for interface in ["p0", "p1", "br0"] {
        client.run(&format!("ip link set {interface} up"));
    }
    let mut watch = wire.server.command("python3");
    watch.args(["-u", "-c", WATCH]).stdout(Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    for (interface, name) in [("e0", "inside"), ("p0", "beside")] {
        let program = SEND.replace("INTERFACE", interface);
        client.python(&program.replace("NAME", name));
    }
    let arrived: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(watch.wait().unwrap().success(), "{arrived:?}");
    let tags = ["", "81006005", "88a80009", "88a8000981000008"];
    let sent = ["inside", "beside"].map(|name| tags.map(|tags| format!("{tags} {name}")));
    assert_eq!(arrived, sent.concat());
}

#[test]
fn a_killed_forwarder_leaves_nothing_attached_and_the_next_one_attaches_again() {
    let Some(wire) = Wire::build(1500) else {
        return;
    };
    let forwarder = wire.start();
    wire.ping();
    assert!(wire.attached("c0") && wire.attached("s0"));
    let (file, socket) = forwarder.kill();
    assert!(!wire.attached("c0") && !wire.attached("s0"));
    let forwarder = Forwarder::launch(&wire.middle, file, socket);
    for number in 0..2 {
        let status = port(&forwarder, number);
        assert_eq!(status.backend, Backend::Xdp, "{}", status.reason);
    }
    wire.ping();
    // Tables that no longer name a port detach it, and nothing else.
    let mut client = forwarder.client();
    let mut tables = client.tables().unwrap();
    tables.generation += 1;
    tables.rules.clear();
    tables.ports.pop();
    client.apply(tables).unwrap();
    assert!(wire.attached("c0") && !wire.attached("s0"));
}

#[test]
fn a_larger_mtu_gets_larger_chunks() {
    let Some(wire) = Wire::build(1500) else {
        return;
    };
    let forwarder = wire.start();
    wire.ping();
    for end in [&wire.client, &wire.server] {
        end.run("ip link set e0 mtu 3000");
    }
    for leg in ["c0", "s0"] {
        wire.middle.run(&format!("ip link set {leg} mtu 3000"));
    }
    let larger = |status: &PortStatus| status.mtu == 3000 && status.reason.contains("6144 KiB");
    let opened = |client: &mut Client| client.status().unwrap().ports.iter().all(larger);
    forwarder.wait(opened, "both ports opened again");
    wire.client
        .run("ping -n -c 3 -i 0.05 -w 10 -M do -s 2900 192.168.2.2");
}

/// Sends `count` frames of the client's. The queue in front of XDP is short too, and says so.
fn flood(count: u64) -> String {
    format!(
        "import socket, time\n\
         s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('e0', 0))\n\
         frame = bytes.fromhex('02000000002202000000001188b5') + bytes(46)\n\
         left = {count}\n\
         while left:\n\
         \x20   try: s.send(frame); left -= 1\n\
         \x20   except OSError: time.sleep(0.001)\n"
    )
}

#[test]
fn frames_that_nobody_takes_are_counted() {
    const SENT: u64 = 3000;
    let Some(wire) = Wire::build(1500) else {
        return;
    };
    let forwarder = wire.start();
    wire.ping();
    let counted = || {
        let port = &forwarder.counters().ports[0];
        port.rx_packets + port.rx_dropped
    };
    let before = counted();
    forwarder.signal("STOP");
    wire.client.python(&flood(SENT));
    forwarder.signal("CONT");
    let begin = Instant::now();
    while counted() < before + SENT {
        assert!(
            begin.elapsed() < PATIENCE,
            "{} of {SENT}",
            counted() - before
        );
    }
    let port = &forwarder.counters().ports[0];
    assert!(port.rx_dropped > 0 && port.rx_dropped < SENT);
    // Some stranger's frames may be among them, but none is counted twice.
    assert!(
        counted() < before + SENT + 50,
        "{} of {SENT}",
        counted() - before
    );
}

#[test]
fn a_link_with_nobody_at_its_other_end_loses_frames_for_so_long_and_no_longer() {
    const SENT: u64 = 3000;
    let Some(wire) = Wire::build(1500) else {
        return;
    };
    let forwarder = wire.start();
    wire.ping();
    wire.server.run("ip link set e0 down");
    let before = forwarder.counters().ports[1].tx_packets;
    wire.client.python(&flood(SENT));
    // A flood is faster than a forwarder that was not built for speed: some are lost on their way in.
    let lost = |client: &mut Client| {
        let counters = client.counters().unwrap();
        let full = counters.drops.get(&DropReason::TxFull);
        full.is_some_and(|full| full + counters.ports[0].rx_dropped >= SENT)
    };
    forwarder.wait(lost, "all frames lost");
    let sent = forwarder.counters().ports[1].tx_packets - before;
    assert_eq!(sent, 0, "frames sent to nobody");
    wire.server.run("ip link set e0 up");
    wire.ping();
}

/// Opens the interface `x0`, with whatever `prepare` makes of it, as a port of backend xdp.
fn opened_instead(prepare: impl Fn(&Namespace, &Namespace)) -> Option<String> {
    let lab = Lab::open()?;
    let [host, peer] = [(); 2].map(|()| lab.namespace());
    prepare(&host, &peer);
    let tables = "[[ports]]\nname = \"x0\"\nbackend = \"xdp\"";
    let forwarder = Forwarder::start(&lab, &host, "host", tables);
    let status = port(&forwarder, 0);
    assert_eq!(status.backend, Backend::Mmap);
    let link = host.run("ip -details link show x0");
    assert!(!link.contains("prog/xdp"), "{link}");
    status
        .reason
        .strip_prefix("xdp did not open here: ")
        .map(str::to_owned)
}

#[test]
fn where_xdp_does_not_work_the_port_opens_otherwise_and_says_why() {
    let mtu = |host: &Namespace, peer: &Namespace, ours: u16, theirs: u16| {
        host.join("x0", peer, "y0");
        peer.run(&format!("ip link set y0 mtu {theirs}"));
        host.run(&format!("ip link set x0 mtu {ours}"));
    };
    let reason = opened_instead(|host, peer| mtu(host, peer, 9000, 9000));
    let Some(reason) = reason else { return };
    assert_eq!(reason, "frames of MTU 9000 do not fit (at most 3818)");
    let reason = opened_instead(|host, peer| mtu(host, peer, 1500, 9000));
    assert_eq!(
        reason.unwrap(),
        "its peer's MTU is too large for XDP (at most about 3500)"
    );
    let reason = opened_instead(|host, _| {
        host.run("ip link add x0 type bridge");
        host.run("ip link set x0 up");
    });
    assert_eq!(
        reason.unwrap(),
        "driver \"bridge\" is neither a veth's nor hardware's"
    );
    let reason = opened_instead(|host, _| {
        host.run("ip link set lo down");
        host.run("ip link set lo name x0");
        host.run("ip link set x0 up");
    });
    assert_eq!(
        reason.unwrap(),
        "driver \"\" is neither a veth's nor hardware's"
    );
    let reason = opened_instead(|host, peer| {
        host.join("x0", peer, "y0");
        host.address("x0", "192.168.2.1/24");
    });
    assert_eq!(
        reason.unwrap(),
        "it has an IP address, which the host could not be reached by any more"
    );
}

#[test]
fn an_interface_that_another_forwarder_holds_opens_otherwise() {
    let Some(wire) = Wire::build(1500) else {
        return;
    };
    let first = wire.start();
    let second = Forwarder::start(&wire.lab, &wire.middle, "second", TABLES);
    let status = port(&second, 0);
    assert_eq!(status.backend, Backend::Mmap);
    assert!(status.reason.contains("busy"), "{}", status.reason);
    assert_eq!(port(&first, 0).backend, Backend::Xdp);
    assert!(wire.attached("c0"));
}
