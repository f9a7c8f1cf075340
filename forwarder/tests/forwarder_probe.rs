//! Probes through a real chain: the forwarder's own endpoint on one side, a kernel on the other,
//! and a function, here a kernel's bridge, in between.
#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder::control::ClientError;
use kc_forwarder_api::{ErrorCode, Probe, ProbeError, ProbeReport};
use kc_tests::lab::{Forwarder, Lab, Namespace, PATIENCE};
use kc_tests::programs;

/// client - c0 [box 1: function behind fa and fb] u0 - u0 [box 2] s0 - server.
struct Topology {
    client: Namespace,
    server: Namespace,
    function: Namespace,
    box1: Namespace,
    box2: Namespace,
    lab: Lab,
}

const FIRST: &str = r#"
    underlay = { address = "192.168.50.1", mtu = 1700 }
    ports = [{ name = "c0" }, { name = "fa" }, { name = "fb" }]
    tunnels = [{ name = "peer", transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } } }]
    functions = [{ name = "fw", attachment = { two-leg = { inside = "fa", outside = "fb" } } }]
    [[rules]]
    name = "all"
    match = { port = "c0" }
    action = { path = { spi = 100, si = 255 } }
    [[paths]]
    spi = 100
    reverse = 101
    hops = [
        { si = 255, to = { function = { name = "fw" } } },
        { si = 254, to = { tunnel = { name = "peer" } } },
    ]
    [[paths]]
    spi = 101
    reverse = 100
    hops = [
        { si = 255, to = { function = { name = "fw", direction = "reverse" } } },
        { si = 254, to = { egress = { port = "c0" } } },
    ]
"#;

const SECOND: &str = r#"
    underlay = { address = "192.168.50.2", mtu = 1700 }
    ports = [{ name = "s0" }]
    tunnels = [{ name = "peer", transport = { vxlan-gpe = { remote = "192.168.50.1", vni = 100 } } }]
    [[rules]]
    name = "all"
    match = { port = "s0" }
    action = { path = { spi = 101, si = 255 } }
    [[paths]]
    spi = 100
    hops = [{ si = 254, to = { egress = { port = "s0" } } }]
    [[paths]]
    spi = 101
    hops = [{ si = 255, to = { tunnel = { name = "peer" } } }]
"#;

const ECHO: &str = "
import socket, threading
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(('10.0.0.2', 7))
tcp = socket.create_server(('10.0.0.2', 7))
def serve():
    while True:
        one, _ = tcp.accept()
        while True:
            octets = one.recv(4096)
            if not octets: break
            one.sendall(octets)
        one.close()
threading.Thread(target=serve, daemon=True).start()
print('ready', flush=True)
while True:
    octets, who = udp.recvfrom(4096)
    udp.sendto(octets, who)
";

impl Topology {
    fn build() -> Option<Self> {
        let lab = Lab::open()?;
        let [client, server, function, box1, box2] = std::array::from_fn(|_| lab.namespace());
        client.join("e0", &box1, "c0");
        server.join("e0", &box2, "s0");
        function.join("i0", &box1, "fa");
        function.join("o0", &box1, "fb");
        box1.join("u0", &box2, "u0");
        for (number, namespace) in [(1, &box1), (2, &box2)] {
            namespace.run("ip link set u0 mtu 1700");
            namespace.address("u0", &format!("192.168.50.{number}/24"));
        }
        client.address("e0", "10.0.0.1/24");
        server.address("e0", "10.0.0.2/24");
        function.run("ip link add br0 type bridge");
        for leg in ["i0", "o0"] {
            function.run(&format!("ip link set {leg} master br0"));
        }
        function.run("ip link set br0 up");
        Some(Self {
            client,
            server,
            function,
            box1,
            box2,
            lab,
        })
    }
}

fn probe(target: &str, size: u16) -> Probe {
    Probe {
        port: "c0".parse().unwrap(),
        source: "10.0.0.250/24".parse().unwrap(),
        gateway: None,
        target: target.parse().unwrap(),
        count: 10,
        interval_ms: 5,
        timeout_ms: 700,
        size,
    }
}

fn run(forwarder: &Forwarder, target: &str, size: u16) -> ProbeReport {
    let report = forwarder.client().probe(probe(target, size)).unwrap();
    println!("{target} {size}: {report}");
    report
}

#[test]
fn a_kernel_answers_probes_through_a_chain_and_a_dead_function_answers_none() {
    let Some(topology) = Topology::build() else {
        return;
    };
    let first = Forwarder::start(&topology.lab, &topology.box1, "box1", FIRST);
    let _second = Forwarder::start(&topology.lab, &topology.box2, "box2", SECOND);
    let _echo = topology.server.python_server(ECHO);
    // The bridge forwards at once, but its ports may still be coming up.
    topology.client.run("ping -n -c 1 -w 10 10.0.0.2");

    let sizes = [("icmp://10.0.0.2", 1000), ("udp://10.0.0.2:7", 1200)];
    let streams = [("tcp://10.0.0.2:7", 0), ("tcp://10.0.0.2:7", 20_000)];
    for (target, size) in sizes.into_iter().chain(streams) {
        let report = run(&first, target, size);
        assert_eq!((report.sent, report.received), (10, 10), "{report}");
        assert!(report.rtt_us.unwrap().max < 700_000 && report.jitter_us.is_some());
    }
    for closed in ["tcp://10.0.0.2:9", "udp://10.0.0.2:9"] {
        let report = run(&first, closed, 0);
        assert!(report.errors.contains_key(&ProbeError::Refused), "{report}");
        assert_eq!(report.received, 0);
    }
    // The client itself has seen none of it, and still gets through.
    topology.client.run("ping -n -c 1 -w 10 10.0.0.2");

    let told = |target: &str| {
        let kc = programs::find("kc-forwarder").unwrap();
        let line = format!(
            "{} probe --socket {} --port c0 --source 10.0.0.250/24 -c 3 -i 5 --timeout 300 {target}",
            kc.display(),
            first.socket.display()
        );
        let output = topology.box1.output(&line);
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = told("icmp://10.0.0.2");
    assert!(
        code == Some(0) && text.contains("3 received, 0 lost (0.00%)"),
        "{text}"
    );

    topology.function.run("ip link set br0 down");
    let report = run(&first, "icmp://10.0.0.2", 0);
    assert_eq!(report.loss_basis_points(), 10_000, "{report}");
    let (code, text) = told("tcp://10.0.0.2:7");
    assert!(
        code == Some(1) && text.contains("0 received, 3 lost (100.00%)"),
        "{text}"
    );
}

#[test]
fn a_second_probe_and_a_wrong_one_are_refused_by_name() {
    let Some(lab) = Lab::open() else { return };
    let namespace = lab.namespace();
    let far = lab.namespace();
    namespace.join("c0", &far, "e0");
    let tables = "ports = [{ name = \"c0\" }]";
    let forwarder = Forwarder::start(&lab, &namespace, "box", tables);
    let refusal = |probe: Probe| match forwarder.client().probe(probe) {
        Err(ClientError::Refused(error)) => error,
        other => panic!("{other:?}"),
    };
    let mut wrong = probe("icmp://10.0.0.2", 0);
    wrong.port = "c1".parse().unwrap();
    let error = refusal(wrong);
    assert_eq!(error.message, "there is no port c1; did you mean c0?");
    let error = refusal(probe("icmp://10.0.1.2", 0));
    assert!(error.message.contains("name a gateway"), "{error}");

    let socket = forwarder.socket.clone();
    let begun = forwarder.counters();
    let long = std::thread::spawn(move || {
        let mut client = kc_forwarder::control::Client::connect(&socket, PATIENCE).unwrap();
        client.probe(probe("icmp://10.0.0.2", 0))
    });
    // It has begun once its first question for the neighbour was classified.
    forwarder.wait(
        |client| client.counters().unwrap().drops != begun.drops,
        "a probe under way",
    );
    let error = refusal(probe("icmp://10.0.0.2", 0));
    assert_eq!(error.code, ErrorCode::Busy, "{error}");
    assert!(error.message.contains("by port c0 is under way"), "{error}");
    let report = long.join().unwrap().unwrap();
    assert_eq!(report.errors.get(&ProbeError::NoNeighbour), Some(&10));
    // Whoever hangs up makes room at once: another one begins.
    let report = forwarder
        .client()
        .probe(probe("icmp://10.0.0.2", 0))
        .unwrap();
    assert_eq!(report.lost, 10);
}
