//! Readers of captures that vanish without a word: the forwarder is afterwards what it was before.

#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder::control::Client;
use kc_forwarder_api::{Capture, MAX_CAPTURES};
use kc_tests::lab::{Forwarder, Lab, Namespace, PATIENCE};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

/// The program under test.
const FORWARDER: &str = env!("CARGO_BIN_EXE_kc-forwarder");

/// client - c0 [box] s0 - server.
struct Site {
    client: Namespace,
    forwarder: Forwarder,
    _server: Namespace,
    _box: Namespace,
    _lab: Lab,
}

impl Site {
    fn build() -> Option<Self> {
        let lab = Lab::open()?;
        let [client, server, node] = std::array::from_fn(|_| lab.namespace());
        client.join("e0", &node, "c0");
        server.join("e0", &node, "s0");
        client.address("e0", "192.168.2.1/24");
        server.address("e0", "192.168.2.2/24");
        let tables = r#"
            ports = [{ name = "c0" }, { name = "s0" }]
            [[rules]]
            name = "there"
            match = { port = "c0" }
            action = { egress = { port = "s0" } }
            [[rules]]
            name = "back"
            match = { port = "s0" }
            action = { egress = { port = "c0" } }
        "#;
        let forwarder = Forwarder::start(&lab, &node, "box", tables);
        Some(Self {
            client,
            forwarder,
            _server: server,
            _box: node,
            _lab: lab,
        })
    }

    /// Pings, and says how many frames the client's port has taken by then.
    fn ping(&self, control: &mut Client) -> u64 {
        let line = "ping -n -q -w 20 -c 3 -i 0.05 192.168.2.2";
        self.client.run(line);
        control.counters().unwrap().ports[0].rx_packets
    }
}

/// Files that two ports may have open besides, for ten seconds after a burst.
const RINGS: usize = 2;

/// Open files of the forwarder.
fn files(control: &mut Client) -> usize {
    let pid = control.status().unwrap().pid;
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
    files.unwrap().count()
}

/// `kc-forwarder capture`, whose output goes into a pipe that the test reads, or not.
struct Reader {
    child: Child,
    /// Held, so that the pipe fills up where nobody reads.
    _stdout: ChildStdout,
}

impl Reader {
    /// Begins to capture, and returns once it does.
    fn begin(forwarder: &Forwarder) -> Self {
        let mut child = Command::new(FORWARDER)
            .args(["capture", "-w", "-", "--socket"])
            .arg(&forwarder.socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("capturing"), "{line}");
        let _stdout = child.stdout.take().unwrap();
        Self { child, _stdout }
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn readers_that_are_killed_leave_nothing_behind() {
    let Some(site) = Site::build() else { return };
    // One connection for all questions, so that files can be counted.
    let mut control = site.forwarder.client();
    let mut taken = site.ping(&mut control);
    let before = (files(&mut control), site.forwarder.memory());
    // More than there may be at once, all at once each time, with frames on their way when they die;
    // in every other round their pipes are full by then, and the forwarder is ahead of them.
    for round in 0..4 {
        let readers: Vec<_> = (0..MAX_CAPTURES)
            .map(|_| Reader::begin(&site.forwarder))
            .collect();
        if round % 2 == 1 {
            site.client.python(
                "import socket\n\
                 s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                 for _ in range(4000): s.sendto(bytes(1400), ('192.168.2.2', 9))\n",
            );
        }
        let now = site.ping(&mut control);
        assert!(now > taken, "{now} after {taken}");
        taken = now;
        readers.into_iter().for_each(Reader::kill);
        let begin = Instant::now();
        while files(&mut control) > before.0 + RINGS {
            assert!(
                begin.elapsed() < PATIENCE,
                "connections of the dead stay open"
            );
        }
        let now = site.ping(&mut control);
        assert!(now >= taken + 3, "{now} after {taken}");
        taken = now;
    }
    let grown = site.forwarder.memory().saturating_sub(before.1);
    println!("{} readers killed: {grown} KiB more", 4 * MAX_CAPTURES);
    // The ring of each had 4 MiB; the allocator may keep those of four at once, and some more.
    assert!(grown < 8 * (4 << 10), "{grown} KiB more");
    // All places are free again.
    let held: Vec<_> = (0..MAX_CAPTURES)
        .map(|_| site.forwarder.client().capture(Capture::default()).unwrap())
        .collect();
    assert!(site.forwarder.client().capture(Capture::default()).is_err());
    drop(held);
    let counters = site.forwarder.counters();
    assert_eq!(counters.ports[0].rx_packets, counters.rules[0].packets);
}
