//! A service function that knows no NSH, here the kernel's own bridge in a namespace, on the path
//! between client and server; and the odd cases of ports and underlay around it.
#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder_api::Backend;
use kc_tests::lab::{Forwarder, Lab, Namespace, Tcp, unexpected_drops};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// client - c0 [box 1: fw behind fa and fb] u0 - u0 [box 2] s0 - server, over an IPv6 underlay.
struct Topology {
    client: Namespace,
    server: Namespace,
    /// Held, not used: its bridge forwards by itself.
    _function: Namespace,
    box1: Namespace,
    box2: Namespace,
    lab: Lab,
}

impl Topology {
    fn build() -> Option<Self> {
        let lab = Lab::open()?;
        let [client, server, function, box1, box2] = std::array::from_fn(|_| lab.namespace());
        client.join("e0", &box1, "c0");
        server.join("e0", &box2, "s0");
        function.join("i0", &box1, "fa");
        function.join("o0", &box1, "fb");
        box1.join("u0", &box2, "u0");
        for namespace in [&box1, &box2] {
            namespace.run("ip link set u0 mtu 1700");
        }
        client.address("e0", "192.168.2.1/24");
        server.address("e0", "192.168.2.2/24");
        function.run("ip link add br0 type bridge");
        for leg in ["i0", "o0"] {
            function.run(&format!("ip link set {leg} master br0"));
        }
        function.run("ip link set br0 up");
        Some(Self {
            client,
            server,
            _function: function,
            box1,
            box2,
            lab,
        })
    }

    fn tables(backend: Backend) -> [String; 2] {
        let first = format!(
            r#"
            [underlay]
            address = "fd50::1"
            mtu = 1700
            [[ports]]
            name = "c0"
            backend = "{backend}"
            [[ports]]
            name = "inside"
            interface = "fa"
            backend = "{backend}"
            [[ports]]
            name = "outside"
            interface = "fb"
            backend = "{backend}"
            [[tunnels]]
            name = "peer"
            transport = {{ vxlan-gpe = {{ remote = "fd50::2", vni = 100 }} }}
            [[functions]]
            name = "fw"
            attachment = {{ two-leg = {{ inside = "inside", outside = "outside" }} }}
            [[rules]]
            name = "all"
            match = {{ port = "c0" }}
            action = {{ path = {{ spi = 100, si = 255, metadata = {{ md2 = {{}} }} }} }}
            [[paths]]
            spi = 100
            hops = [
                {{ si = 255, to = {{ function = {{ name = "fw" }} }} }},
                {{ si = 254, to = {{ tunnel = {{ name = "peer" }} }} }},
            ]
            [[paths]]
            spi = 101
            hops = [
                {{ si = 255, to = {{ function = {{ name = "fw", direction = "reverse" }} }} }},
                {{ si = 254, to = {{ egress = {{ port = "c0" }} }} }},
            ]
            "#
        );
        let second = format!(
            r#"
            [underlay]
            address = "fd50::2"
            mtu = 1700
            [[ports]]
            name = "s0"
            backend = "{backend}"
            [[tunnels]]
            name = "peer"
            transport = {{ vxlan-gpe = {{ remote = "fd50::1", vni = 100 }} }}
            [[rules]]
            name = "all"
            match = {{ port = "s0" }}
            action = {{ path = {{ spi = 101, si = 255 }} }}
            [[paths]]
            spi = 100
            hops = [{{ si = 254, to = {{ egress = {{ port = "s0" }} }} }}]
            [[paths]]
            spi = 101
            hops = [{{ si = 255, to = {{ tunnel = {{ name = "peer" }} }} }}]
            "#
        );
        [first, second]
    }

    fn ping(&self, address: &str) {
        self.client
            .run(&format!("ping -n -c 3 -i 0.05 -w 10 {address}"));
    }
}

#[test]
fn a_bridge_serves_as_function_over_an_underlay_that_gets_its_address_late() {
    for backend in [Backend::Packet, Backend::Pnet, Backend::Xdp] {
        let Some(topology) = Topology::build() else {
            return;
        };
        let [first, second] = Topology::tables(backend);
        let first = Forwarder::start(&topology.lab, &topology.box1, "box1", &first);
        let second = Forwarder::start(&topology.lab, &topology.box2, "box2", &second);
        topology.box1.address("u0", "fd50::1/64");
        topology.box2.address("u0", "fd50::2/64");
        topology.ping("192.168.2.2");
        let before = first.counters();

        let _server = Tcp::serve(&topology.server, "192.168.2.2");
        let rate = Tcp::exchange(&topology.client, "192.168.2.2", 4 << 20);
        println!("{backend}, through a bridge: {rate}");
        let counters = first.counters();
        for (spi, si) in [(100, 255), (100, 254), (101, 255), (101, 254)] {
            let count = |counters: &kc_forwarder_api::Counters| {
                let mut paths = counters.paths.iter();
                let path = paths.find(|path| (path.spi.get(), path.si.get()) == (spi, si));
                path.unwrap().packets
            };
            assert!(
                count(&counters) > count(&before) + 100,
                "path {spi} at {si}"
            );
        }
        // Before the underlay had its address, nothing could be sent; the bridge talks on its own.
        let expected = ["tx-error", "no-return"];
        for counters in [&counters, &second.counters()] {
            let drops = unexpected_drops(counters, &expected);
            assert!(drops.is_empty(), "{drops:?}");
        }
    }
}

#[test]
fn a_bridge_is_reached_by_a_vlan_of_its_legs_and_shared_without_one() {
    let Some(topology) = Topology::build() else {
        return;
    };
    let [first, second] = Topology::tables(Backend::Packet);
    // Every packet goes through the same bridge twice: in VLAN 7, then without a tag.
    let first = first
        .replace(
            "[[functions]]",
            "[[functions]]\nname = \"again\"\nattachment = { two-leg = { inside = \"inside\", outside = \"outside\" } }\n[[functions]]",
        )
        .replace("name = \"fw\"\n            attachment = { two-leg = { inside = \"inside\", outside = \"outside\" } }", "name = \"fw\"\n            attachment = { two-leg = { inside = \"inside\", outside = \"outside\", vlan = 7 } }")
        .replace("{ si = 254, to = { tunnel = { name = \"peer\" } } }", "{ si = 254, to = { function = { name = \"again\" } } },\n{ si = 253, to = { tunnel = { name = \"peer\" } } }")
        .replace("{ si = 254, to = { egress", "{ si = 254, to = { function = { name = \"again\", direction = \"reverse\" } } },\n{ si = 253, to = { egress");
    let second = second.replace("si = 254, to = { egress", "si = 253, to = { egress");
    topology.box1.address("u0", "fd50::1/64");
    topology.box2.address("u0", "fd50::2/64");
    let first = Forwarder::start(&topology.lab, &topology.box1, "box1", &first);
    let _second = Forwarder::start(&topology.lab, &topology.box2, "box2", &second);
    topology.ping("192.168.2.2");
    let _server = Tcp::serve(&topology.server, "192.168.2.2");
    let rate = Tcp::exchange(&topology.client, "192.168.2.2", 4 << 20);
    println!("twice through a bridge, once in a VLAN: {rate}");
    let counters = first.counters();
    for si in [255, 254, 253] {
        for spi in [100, 101] {
            let mut paths = counters.paths.iter();
            let path = paths.find(|path| (path.spi.get(), path.si.get()) == (spi, si));
            assert!(path.unwrap().packets > 100, "path {spi} at {si}");
        }
    }
    // The bridge and the kernel's IPv6 talk on their own.
    let drops = unexpected_drops(&counters, &["tx-error", "no-return"]);
    assert!(drops.is_empty(), "{drops:?}");
}

/// Waits for two frames of a local experimental EtherType and prints their VLAN tags and content.
const WATCH: &str = r#"
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.setsockopt(263, 8, 1)
s.bind(('e0', 0))
s.settimeout(10)
print('ready', flush=True)
left = COUNT
while left:
    data, control, _, _ = s.recvmsg(2000, 200)
    if data[12:14] != bytes.fromhex('88b5'): continue
    tag = 'none'
    for _, kind, value in control:
        status, *_, tci, tpid = struct.unpack('IIIHHHH', value)
        if kind == 8 and status & 16: tag = hex(tci)
    print(tag, data[14:].rstrip(bytes(1)).decode(), flush=True)
    left -= 1
"#;

/// Sends a frame with a VLAN tag and one without.
const SEND: &str = r#"
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('e0', 0))
addresses = bytes.fromhex('020000000002' '020000000001')
s.send(addresses + bytes.fromhex('8100' '6005' '88b5') + b'tagged' + bytes(60))
s.send(addresses + bytes.fromhex('88b5') + b'plain' + bytes(60))
"#;

/// What of the two frames reaches the server.
fn tags_that_arrive(backend: Backend, count: usize) -> Option<Vec<String>> {
    let topology = Topology::build()?;
    let [first, second] = Topology::tables(backend);
    topology.box1.address("u0", "fd50::1/64");
    topology.box2.address("u0", "fd50::2/64");
    let _first = Forwarder::start(&topology.lab, &topology.box1, "box1", &first);
    let _second = Forwarder::start(&topology.lab, &topology.box2, "box2", &second);
    topology.ping("192.168.2.2");
    let mut command = topology.server.command("python3");
    command.args(["-u", "-c", &WATCH.replace("COUNT", &count.to_string())]);
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    topology.client.python(SEND);
    let lines = lines.map(Result::unwrap).collect();
    assert!(watch.wait().unwrap().success());
    Some(lines)
}

#[test]
fn vlan_tags_survive_the_whole_path() {
    for backend in [Backend::Packet, Backend::Xdp] {
        let Some(arrived) = tags_that_arrive(backend, 2) else {
            return;
        };
        assert_eq!(arrived, ["0x6005 tagged", "none plain"], "{backend}");
    }
}

#[test]
fn the_pnet_backend_refuses_tagged_frames_rather_than_lose_their_tag() {
    let Some(arrived) = tags_that_arrive(Backend::Pnet, 1) else {
        return;
    };
    assert_eq!(arrived, ["none plain"]);
}

#[test]
fn an_underlay_port_that_is_taken_refuses_the_tables_and_changes_nothing() {
    let Some(lab) = Lab::open() else { return };
    let host = lab.namespace();
    let forwarder = Forwarder::start(&lab, &host, "box", "generation = 1");
    let _holder = host.python_server(
        "import socket, time\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 4790))\n\
         print('ready', flush=True); time.sleep(60)\n",
    );
    let mut client = forwarder.client();
    let before = client.tables().unwrap();
    let mut tables = before.clone();
    tables.generation += 1;
    tables.underlay = Some(toml::from_str("address = \"127.0.0.1\"").unwrap());
    let error = client.apply(tables).unwrap_err().to_string();
    assert!(
        error.contains("UDP port 4790 of 127.0.0.1 is taken"),
        "{error}"
    );
    assert_eq!(client.tables().unwrap(), before);
}
