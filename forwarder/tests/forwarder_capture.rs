//! `kc-forwarder capture` beside real traffic: client, a bridge as service function, two boxes and
//! a server in namespaces. tshark reads what comes out.

#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder::capture::Scan;
use kc_forwarder_api::{Capture, CapturePoint, MAX_CAPTURES, Spi};
use kc_tests::lab::{Forwarder, Lab, Namespace, PATIENCE, Tcp};
use std::io::{BufRead, BufReader, Read};
use std::net::Shutdown;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
const FORWARDER: &str = env!("CARGO_BIN_EXE_kc-forwarder");

/// client - c0 [box 1: fw behind fa and fb] u0 - u0 [box 2] s0 - server.
struct Site {
    client: Namespace,
    server: Namespace,
    /// Held, not used: its bridge forwards by itself.
    _function: Namespace,
    box1: Namespace,
    box2: Namespace,
    lab: Lab,
}

const BOX1: &str = r#"
    [underlay]
    address = "192.168.50.1"
    mtu = 1700
    [[ports]]
    name = "c0"
    [[ports]]
    name = "fa"
    [[ports]]
    name = "fb"
    [[tunnels]]
    name = "box2"
    transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } }
    [[functions]]
    name = "fw"
    attachment = { two-leg = { inside = "fa", outside = "fb" } }
    [[rules]]
    name = "no-telnet"
    match = { port = "c0", protocol = "tcp", destination-ports = 23 }
    action = "drop"
    [[rules]]
    name = "all"
    match = { port = "c0" }
    action = { path = { spi = 100, si = 255 } }
    [[paths]]
    spi = 100
    hops = [
        { si = 255, to = { function = { name = "fw" } } },
        { si = 254, to = { tunnel = { name = "box2" } } },
    ]
    [[paths]]
    spi = 101
    hops = [
        { si = 255, to = { function = { name = "fw", direction = "reverse" } } },
        { si = 254, to = { egress = { port = "c0" } } },
    ]
"#;

const BOX2: &str = r#"
    [underlay]
    address = "192.168.50.2"
    mtu = 1700
    [[ports]]
    name = "s0"
    [[tunnels]]
    name = "box1"
    transport = { vxlan-gpe = { remote = "192.168.50.1", vni = 100 } }
    [[rules]]
    name = "back"
    match = { port = "s0" }
    action = { path = { spi = 101, si = 255 } }
    [[paths]]
    spi = 100
    hops = [{ si = 254, to = { egress = { port = "s0" } } }]
    [[paths]]
    spi = 101
    hops = [{ si = 255, to = { tunnel = { name = "box1" } } }]
"#;

impl Site {
    fn build() -> Option<(Self, Forwarder, Forwarder)> {
        let lab = Lab::open()?;
        let [client, server, function, box1, box2] = std::array::from_fn(|_| lab.namespace());
        client.join("e0", &box1, "c0");
        server.join("e0", &box2, "s0");
        function.join("i0", &box1, "fa");
        function.join("o0", &box1, "fb");
        box1.join("u0", &box2, "u0");
        for (namespace, host) in [(&box1, 1), (&box2, 2)] {
            namespace.run("ip link set u0 mtu 1700");
            namespace.address("u0", &format!("192.168.50.{host}/24"));
        }
        client.address("e0", "192.168.2.1/24");
        server.address("e0", "192.168.2.2/24");
        function.run("ip link add br0 type bridge");
        for leg in ["i0", "o0"] {
            function.run(&format!("ip link set {leg} master br0"));
        }
        function.run("ip link set br0 up");
        let site = Self {
            client,
            server,
            _function: function,
            box1,
            box2,
            lab,
        };
        let first = Forwarder::start(&site.lab, &site.box1, "box1", BOX1);
        let second = Forwarder::start(&site.lab, &site.box2, "box2", BOX2);
        // The bridge's ports learn for a moment before they forward.
        site.ping(1);
        Some((site, first, second))
    }

    fn ping(&self, count: u32) {
        self.client
            .run(&format!("ping -n -c {count} -i 0.05 -w 20 192.168.2.2"));
    }
}

/// `kc-forwarder capture` on its way.
struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    /// Begins to capture into `file`, and returns once it does.
    fn begin(forwarder: &Forwarder, arguments: &str, file: &Path) -> Self {
        let mut child = Command::new(FORWARDER)
            .arg("capture")
            .args(arguments.split_whitespace())
            .arg("--socket")
            .arg(&forwarder.socket)
            .arg("-w")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("capturing"), "{line}");
        Self { child, stderr }
    }

    /// What it says at its end, which must be a good one.
    fn summary(mut self) -> String {
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text}");
        text
    }

    /// Ctrl-C.
    fn interrupt(self) -> String {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.summary()
    }
}

fn dissect(file: &Path, filter: &str) -> Option<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command
        .arg("-r")
        .arg(file)
        .args(["-n", "-Y", filter, "-T", "fields"]);
    for field in ["frame.comment", "frame.interface_name", "_ws.malformed"] {
        command.args(["-e", field]);
    }
    let Ok(output) = command.stderr(Stdio::piped()).output() else {
        eprintln!("skipped: no tshark here");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let words = |line: &str| line.split('\t').map(str::to_owned).collect();
    Some(text.lines().map(words).collect())
}

#[test]
fn a_ping_is_followed_through_every_point_of_both_boxes() {
    let Some((site, first, second)) = Site::build() else {
        return;
    };
    let files = ["one", "two"].map(|name| site.lab.folder().join(format!("{name}.pcapng")));
    let one = Running::begin(&first, "", &files[0]);
    let two = Running::begin(&second, "--spi 100 --at egress --at tunnel", &files[1]);
    // One request, however long its answer takes.
    site.client.run("ping -n -c 1 -W 10 192.168.2.2");
    // A connection that the rules refuse.
    site.client.python(
        "import socket\n\
         s = socket.socket(); s.settimeout(0.2)\n\
         assert s.connect_ex(('192.168.2.2', 23)) != 0\n",
    );
    let (one, two) = (one.interrupt(), two.interrupt());
    assert!(
        one.contains("packets captured") && one.contains("0 packets dropped"),
        "{one}"
    );
    // The hosts' own multicasts are on the path too.
    assert!(two.contains("packets captured"), "{two}");

    let Some(request) = dissect(&files[0], "icmp.type == 8") else {
        return;
    };
    let comments = |packets: &[Vec<String>]| {
        let comments = packets.iter().map(|packet| packet[0].clone());
        comments.collect::<Vec<_>>()
    };
    assert_eq!(
        comments(&request),
        [
            "ingress port=c0 rule=all spi=100 si=255 verdict=path",
            "function function=fw port=fa spi=100 si=255",
            "function function=fw port=fb spi=100 si=254",
            "tunnel tunnel=box2 remote=192.168.50.2 vni=100 spi=100 si=254",
        ]
    );
    let answer = dissect(&files[0], "icmp.type == 0").unwrap();
    assert_eq!(
        comments(&answer),
        [
            "tunnel tunnel=box2 remote=192.168.50.2 vni=100 spi=101 si=255",
            "function function=fw port=fb spi=101 si=255",
            "function function=fw port=fa spi=101 si=254",
            "egress port=c0 spi=101 si=254",
        ]
    );
    let there = dissect(&files[1], "icmp.type == 8").unwrap();
    assert_eq!(
        comments(&there),
        [
            "tunnel tunnel=box1 remote=192.168.50.1 vni=100 spi=100 si=254",
            "egress port=s0 spi=100 si=254",
        ]
    );
    let refused = comments(&dissect(&files[0], "tcp.dstport == 23").unwrap());
    let said = "ingress port=c0 rule=no-telnet verdict=drop reason=rule-drop";
    assert!(refused.iter().any(|comment| comment == said), "{refused:?}");
    let said = "drop reason=rule-drop port=c0";
    assert!(refused.iter().any(|comment| comment == said), "{refused:?}");
    // Outer headers that we made up are right, as far as Wireshark can tell.
    for file in &files {
        let wrong = "_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0";
        assert_eq!(dissect(file, wrong).unwrap(), Vec::<Vec<String>>::new());
    }
}

#[test]
fn a_capture_ends_after_its_packets_or_its_seconds() {
    let Some((site, first, _second)) = Site::build() else {
        return;
    };
    let file = site.lab.folder().join("few.pcapng");
    let few = Running::begin(&first, "-c 3 --at ingress", &file);
    site.ping(4);
    let summary = few.summary();
    assert!(summary.contains("3 packets captured"), "{summary}");
    let begin = Instant::now();
    let none = Running::begin(&first, "--seconds 1 --port fa --at drop", &file);
    let summary = none.summary();
    assert!(summary.contains("0 packets captured"), "{summary}");
    assert!(begin.elapsed() >= Duration::from_secs(1) && begin.elapsed() < PATIENCE);
}

#[test]
fn refusals_say_what_would_be_right() {
    let Some((site, first, _second)) = Site::build() else {
        return;
    };
    let refusal = |arguments: &[&str]| {
        let output = Command::new(FORWARDER)
            .arg("capture")
            .args(arguments)
            .arg("--socket")
            .arg(&first.socket)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = refusal(&["--port", "c1"]);
    assert!(
        code == Some(3) && text.contains("no port c1; did you mean c0?"),
        "{text}"
    );
    let (code, text) = refusal(&["--function", "nat-of-somebody"]);
    assert!(
        code == Some(3) && text.contains("no function nat-of-somebody"),
        "{text}"
    );
    let held: Vec<_> = (0..MAX_CAPTURES)
        .map(|_| first.client().capture(Capture::default()).unwrap())
        .collect();
    let (code, text) = refusal(&[]);
    assert!(
        code == Some(3) && text.contains("4 captures run already"),
        "{text}"
    );
    // Readers that have gone make room, though no frame comes by.
    drop(held);
    first.wait(
        |_| refusal(&["-c", "1", "--seconds", "1", "--at", "drop"]).0 == Some(0),
        "room for a capture",
    );
    site.ping(1);
}

#[test]
fn readers_that_are_slow_or_dead_cost_nobody_else_a_packet() {
    let Some((site, first, _second)) = Site::build() else {
        return;
    };
    let before = first.memory();
    let mut slow = first.client().capture(Capture::default()).unwrap();
    let file = site.lab.folder().join("killed.pcapng");
    let mut killed = Running::begin(&first, "", &file);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();

    let server = Tcp::serve(&site.server, "192.168.2.2");
    Tcp::exchange(&site.client, "192.168.2.2", 16 << 20);
    drop(server);
    let begin = Instant::now();
    site.ping(20);
    assert!(begin.elapsed() < PATIENCE);
    let grown = first.memory().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more");

    // Now it reads: what was kept for it, and how much was not.
    slow.get_ref().shutdown(Shutdown::Write).unwrap();
    let mut octets = Vec::new();
    slow.read_to_end(&mut octets).unwrap();
    let mut scan = Scan::default();
    scan.feed(&octets);
    assert!(
        scan.complete && scan.packets > 0 && scan.dropped > 0,
        "{scan:?}"
    );
    println!(
        "a reader that stood still: {} packets kept, {} lost, {grown} KiB more",
        scan.packets, scan.dropped
    );
}

#[test]
fn connections_stay_whole_under_load_while_somebody_captures() {
    let Some((site, first, _second)) = Site::build() else {
        return;
    };
    let server = Tcp::serve(&site.server, "192.168.2.2");
    let megabytes = 8 << 20;
    Tcp::exchange(&site.client, "192.168.2.2", megabytes);
    // Paired, in turns: the machine's mood is the same for both.
    for round in 0..2 {
        let alone = Tcp::exchange(&site.client, "192.168.2.2", megabytes);
        println!("round {round}, nobody captures: {alone}");
        for (what, capture) in [
            ("all points, whole frames", Capture::default()),
            (
                "all points, 96 octets",
                Capture {
                    snaplen: 96,
                    ..Capture::default()
                },
            ),
            (
                "another path",
                Capture {
                    spis: vec![Spi::new(7).unwrap()],
                    points: vec![CapturePoint::Ingress],
                    ..Capture::default()
                },
            ),
        ] {
            let mut stream = first.client().capture(capture).unwrap();
            let socket = stream.get_ref().try_clone().unwrap();
            let reader = std::thread::spawn(move || {
                let mut scan = Scan::default();
                let mut buffer = vec![0; 1 << 18];
                loop {
                    match stream.read(&mut buffer).unwrap() {
                        0 => return scan,
                        count => scan.feed(&buffer[..count]),
                    }
                }
            });
            let rate = Tcp::exchange(&site.client, "192.168.2.2", megabytes);
            socket.shutdown(Shutdown::Write).unwrap();
            let scan = reader.join().unwrap();
            assert!(what == "another path" || scan.packets > 0, "{scan:?}");
            println!(
                "round {round}, {what}: {rate}; {} packets captured, {} lost",
                scan.packets, scan.dropped
            );
        }
    }
    drop(server);
}
