//! Rings, where frames come faster than they are fetched: nothing is doubled, overtaken or lost
//! without being counted when the forwarder changes over to one, uses it and changes back. It
//! stands still while a burst comes in, so that it is overtaxed on any machine.
#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder_api::Counters;
use kc_tests::lab::{Forwarder, Lab, Namespace, PATIENCE, unexpected_drops};
use std::time::Instant;

/// Datagrams in a burst: more than a few full batches, and no more than a socket's buffer takes.
const BURST: u64 = 4000;

/// Takes numbered datagrams, each of which may come once and none after a later one, until a
/// second has passed without any; says how many there were.
const RECEIVE: &str = r"
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
s.bind(('0.0.0.0', 7000)); s.settimeout(20)
last, count = -1, 0
try:
    while True:
        got = struct.unpack('!I', s.recv(100)[:4])[0]
        assert got > last, f'{got} after {last}'
        last, count = got, count + 1
        if got + 1 == TOTAL: s.settimeout(1)
except TimeoutError:
    print(count)
";

/// Sends datagrams with the numbers FIRST to LAST, as they are.
const SEND: &str = r"
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(FIRST, LAST):
    s.sendto(struct.pack('!I', number) + bytes(60), ('10.0.0.2', 7000))
    if number % EACH == 0: time.sleep(0.001)
";

/// The same in frames of their own, behind NSH in VXLAN-GPE.
const SEND_TUNNELLED: &str = r"
import socket, struct, time
def ip(payload):
    header = bytearray(struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(payload), 0, 0, 64, 17, 0))
    header += socket.inet_aton('10.0.0.1') + socket.inet_aton('10.0.0.2')
    total = sum(struct.unpack('!10H', header))
    total = (total & 0xffff) + (total >> 16)
    header[10:12] = struct.pack('!H', ~(total + (total >> 16)) & 0xffff)
    return bytes(header) + payload
front = bytes.fromhex('0c000004 00006400 0fc60103 000064ff'.replace(' ', '')) + bytes(16)
front += bytes.fromhex('020000000002 020000000001 0800'.replace(' ', ''))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(FIRST, LAST):
    data = struct.pack('!I', number) + bytes(60)
    udp = struct.pack('!HHHH', 6999, 7000, 8 + len(data), 0) + data
    s.sendto(front + ip(udp), ('192.168.50.2', 4790))
    if number % EACH == 0: time.sleep(0.001)
";

/// Packet sockets in a namespace.
fn packet_sockets(namespace: &Namespace) -> usize {
    namespace.run("cat /proc/net/packet").lines().count()
}

/// Sends a burst while the forwarder stands still, one at a pace that keeps the ring in use, and one
/// at a pace that does not. All that was sent has arrived or is counted as lost, and there was one
/// packet socket more in the end than in the beginning.
fn bursts(
    forwarder: &Forwarder,
    [from, middle, to]: [&Namespace; 3],
    program: &str,
    lost: impl Fn(&Counters) -> u64,
) {
    let before = packet_sockets(middle);
    let received = std::thread::scope(|scope| {
        let receive = RECEIVE.replace("TOTAL", &(3 * BURST).to_string());
        let received = scope.spawn(move || to.python(&receive));
        wait(|| to.run("ss -Hlun").contains(":7000"), "the receiver");
        for (burst, each) in [(0, 1 << 20), (1, 60), (2, 8)] {
            let first = burst * BURST;
            let send = program.replace("FIRST", &first.to_string());
            let send = send.replace("LAST", &(first + BURST).to_string());
            if burst == 0 {
                forwarder.signal("STOP");
            }
            from.python(&send.replace("EACH", &each.to_string()));
            if burst == 0 {
                forwarder.signal("CONT");
                wait(|| packet_sockets(middle) > before, "a ring");
            }
        }
        received.join().unwrap()
    });
    let received: u64 = received.trim().parse().unwrap();
    let counters = forwarder.counters();
    assert_eq!(received + lost(&counters), 3 * BURST, "{counters:?}");
    assert!(received > BURST, "the first burst and more");
    assert_eq!(packet_sockets(middle), before + 1, "one ring");
}

fn wait(mut reached: impl FnMut() -> bool, what: &str) {
    let begin = Instant::now();
    while !reached() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
    }
}

#[test]
fn frames_come_once_and_in_order_while_a_port_changes_to_its_ring_and_back() {
    let Some(lab) = Lab::open() else { return };
    let (client, middle, server) = (lab.namespace(), lab.namespace(), lab.namespace());
    client.join("e0", &middle, "in");
    middle.join("out", &server, "e0");
    client.address("e0", "10.0.0.1/24");
    server.address("e0", "10.0.0.2/24");
    let tables = r#"
        [[ports]]
        name = "in"
        backend = "mmap"
        [[ports]]
        name = "out"
        [[rules]]
        name = "there"
        match = { port = "in" }
        action = { egress = { port = "out" } }
        [[rules]]
        name = "back"
        match = { port = "out" }
        action = { egress = { port = "in" } }
    "#;
    let forwarder = Forwarder::start(&lab, &middle, "middle", tables);
    client.run("ping -n -c 1 -w 10 10.0.0.2");
    let lost = |counters: &Counters| counters.ports[0].rx_dropped;
    bursts(&forwarder, [&client, &middle, &server], SEND, lost);
    client.run("ping -n -c 1 -w 10 10.0.0.2");
    let drops = unexpected_drops(&forwarder.counters(), &[]);
    assert!(drops.is_empty(), "{drops:?}");
}

#[test]
fn datagrams_come_once_and_in_order_while_the_underlay_changes_to_its_ring_and_back() {
    let Some(lab) = Lab::open() else { return };
    let (peer, middle, server) = (lab.namespace(), lab.namespace(), lab.namespace());
    peer.join("u0", &middle, "u0");
    middle.join("out", &server, "e0");
    peer.address("u0", "192.168.50.1/24");
    middle.address("u0", "192.168.50.2/24");
    server.address("e0", "10.0.0.2/24");
    server.run("ip link set e0 address 02:00:00:00:00:02");
    let tables = r#"
        [underlay]
        address = "192.168.50.2"
        [[ports]]
        name = "out"
        backend = "packet"
        [[tunnels]]
        name = "peer"
        transport = { vxlan-gpe = { remote = "192.168.50.1", vni = 100 } }
        [[paths]]
        spi = 100
        hops = [{ si = 255, to = { egress = { port = "out" } } }]
    "#;
    let forwarder = Forwarder::start(&lab, &middle, "middle", tables);
    let status = forwarder.client().status().unwrap().underlay.unwrap();
    assert_eq!(status.backend.to_string(), "mmap", "{}", status.reason);
    let lost = |counters: &Counters| counters.underlay.rx_dropped;
    bursts(&forwarder, [&peer, &middle, &server], SEND_TUNNELLED, lost);
    let before = forwarder.counters();
    let drops = unexpected_drops(&before, &["no-match"]);
    assert!(drops.is_empty(), "{drops:?}");
    // What the sockets refuse in between, they take again afterwards.
    let tables = tables.replace("[underlay]", "[underlay]\n        backend = \"udp\"");
    std::fs::write(&forwarder.file, format!("generation = 2\n{tables}")).unwrap();
    forwarder.signal("HUP");
    forwarder.wait(
        |client| client.status().unwrap().generation == 2,
        "new tables",
    );
    let send = SEND_TUNNELLED.replace("FIRST", "0").replace("LAST", "10");
    peer.python(&send.replace("EACH", "1"));
    let all = |client: &mut kc_forwarder::control::Client| {
        client.counters().unwrap().tunnels[0].rx_packets == before.tunnels[0].rx_packets + 10
    };
    forwarder.wait(all, "ten more by the sockets");
}
