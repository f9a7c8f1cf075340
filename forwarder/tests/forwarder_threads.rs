//! Threads that send, where one has more to do than it can: every datagram of a flow once and in
//! order, and every one that is lost counted, while they come and when they are gone again.
//! Forwarders stand still while bursts come in, so that they are overtaxed on any machine.

use kc_tests::lab::{Forwarder, Lab, PATIENCE, unexpected_drops};
use std::time::Instant;

/// Datagrams in a burst: no more than a socket's buffer takes.
const BURST: u64 = 3000;

/// Bursts after which others must have helped.
const BURSTS: u64 = 8;

const BOX1: &str = r#"
    [underlay]
    address = "192.168.50.1"
    [[ports]]
    name = "in"
    [[tunnels]]
    name = "box2"
    transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } }
    [[rules]]
    name = "all"
    match = { port = "in" }
    action = { path = { spi = 100, si = 255 } }
    [[paths]]
    spi = 100
    hops = [{ si = 255, to = { tunnel = { name = "box2" } } }]
    [[paths]]
    spi = 101
    hops = [{ si = 255, to = { egress = { port = "in" } } }]
"#;

const BOX2: &str = r#"
    [underlay]
    address = "192.168.50.2"
    [[ports]]
    name = "out"
    [[tunnels]]
    name = "box1"
    transport = { vxlan-gpe = { remote = "192.168.50.1", vni = 100 } }
    [[rules]]
    name = "back"
    match = { port = "out" }
    action = { path = { spi = 101, si = 255 } }
    [[paths]]
    spi = 100
    hops = [{ si = 255, to = { egress = { port = "out" } } }]
    [[paths]]
    spi = 101
    hops = [{ si = 255, to = { tunnel = { name = "box1" } } }]
"#;

/// Takes numbered datagrams of several flows, each of which may come once and none after a later
/// one of its flow, until an empty one comes; says how many there were.
const RECEIVE: &str = r"
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
s.bind(('0.0.0.0', 7000)); s.settimeout(30)
last, count = {}, 0
while True:
    data, (_, flow) = s.recvfrom(100)
    if not data: break
    got = struct.unpack('!I', data[:4])[0]
    assert got > last.get(flow, -1), f'{got} after {last[flow]}'
    last[flow], count = got, count + 1
print(count)
";

/// Sends datagrams with the numbers FIRST to LAST by four flows.
const SEND: &str = r"
import socket, struct
flows = []
for port in range(6000, 6004):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('0.0.0.0', port)); flows.append(s)
for number in range(FIRST, LAST):
    flows[number % 4].sendto(struct.pack('!I', number) + bytes(60), ('10.0.0.2', 7000))
";

const END: &str = "
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('10.0.0.2', 7000))
";

#[test]
fn what_several_threads_send_comes_once_and_in_order_and_what_is_lost_is_counted() {
    let Some(lab) = Lab::open() else { return };
    let [client, box1, box2, server] = std::array::from_fn(|_| lab.namespace());
    client.join("e0", &box1, "in");
    box1.join("u0", &box2, "u0");
    box2.join("out", &server, "e0");
    client.address("e0", "10.0.0.1/24");
    server.address("e0", "10.0.0.2/24");
    for (namespace, host) in [(&box1, 1), (&box2, 2)] {
        namespace.run("ip link set u0 mtu 1700");
        namespace.address("u0", &format!("192.168.50.{host}/24"));
    }
    let start =
        |namespace, name, tables| Forwarder::start_with_threads(&lab, namespace, name, tables, 3);
    let (first, second) = (start(&box1, "box1", BOX1), start(&box2, "box2", BOX2));
    client.run("ping -n -c 1 -w 10 10.0.0.2");
    let threads = |forwarder: &Forwarder| forwarder.client().status().unwrap().threads;
    assert_eq!((threads(&first), threads(&second)), (1, 1));

    let mut sent = 0;
    let received = std::thread::scope(|scope| {
        let received = scope.spawn(|| server.python(RECEIVE));
        wait(|| server.run("ss -Hlun").contains(":7000"), "the receiver");
        // Too late for the clock of one burst, others help in the next.
        while sent < BURSTS * BURST && threads(&first).min(threads(&second)) < 2 {
            first.signal("STOP");
            second.signal("STOP");
            let send = SEND.replace("FIRST", &sent.to_string());
            sent += BURST;
            client.python(&send.replace("LAST", &sent.to_string()));
            first.signal("CONT");
            let passed = |forwarder: &Forwarder| {
                let counters = forwarder.counters();
                counters.tunnels[0].tx_packets + counters.ports[0].rx_dropped >= sent
            };
            wait(|| passed(&first), "all through the first box");
            second.signal("CONT");
            wait(
                || arrived(&second) >= sent_by(&first),
                "all through the second box",
            );
        }
        client.python(END);
        received.join().unwrap()
    });
    assert!(threads(&first) > 1 && threads(&second) > 1, "others helped");
    let received: u64 = received.trim().parse().unwrap();
    let (one, two) = (first.counters(), second.counters());
    let lost = one.ports[0].rx_dropped + two.underlay.rx_dropped;
    assert_eq!(received + lost, sent, "{one:?} {two:?}");
    assert!(received > sent / 2, "{received} of {sent}");
    for counters in [one, two] {
        let drops = unexpected_drops(&counters, &[]);
        assert!(drops.is_empty(), "{drops:?}");
    }
    client.run("ping -n -c 3 -i 0.1 -w 10 10.0.0.2");
}

/// Datagrams that came to the second box, or were lost there.
fn arrived(second: &Forwarder) -> u64 {
    let counters = second.counters();
    counters.tunnels[0].rx_packets + counters.underlay.rx_dropped
}

/// Datagrams that the first box sent there.
fn sent_by(first: &Forwarder) -> u64 {
    first.counters().tunnels[0].tx_packets
}

fn wait(mut reached: impl FnMut() -> bool, what: &str) {
    let begin = Instant::now();
    while !reached() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
    }
}
