//! Three network namespaces in a row - client, function, server - and programs that run in them.
//! Everything goes away with the lab, also when a test panics.

use kc_forwarder::frame::{Frame, Pool};
use kc_forwarder::port::{self, PacketPort};
use kc_forwarder_api::Backend;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kc-function");

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Client 10.0.0.1 - (in) function (out) - server 10.0.0.2.
pub(crate) struct Lab {
    prefix: String,
}

/// The rooms of a lab.
#[derive(Clone, Copy)]
pub(crate) enum Room {
    Client,
    Function,
    Server,
}

impl Room {
    fn suffix(self) -> &'static str {
        match self {
            Self::Client => "c",
            Self::Function => "f",
            Self::Server => "s",
        }
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split_whitespace()));
}

impl Lab {
    /// Namespaces without links.
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let lab = Self {
            prefix: format!("kcfn{}-{number}", std::process::id()),
        };
        for room in [Room::Client, Room::Function, Room::Server] {
            ip(&format!("netns add {}", lab.namespace(room)));
            lab.ip(room, "link set lo up");
        }
        lab
    }

    pub(crate) fn namespace(&self, room: Room) -> String {
        format!("{}{}", self.prefix, room.suffix())
    }

    /// `ip` within a room.
    pub(crate) fn ip(&self, room: Room, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.namespace(room)));
    }

    /// Lays the cables and gives the ends their addresses.
    pub(crate) fn connect(&self) {
        let (client, function, server) = (
            self.namespace(Room::Client),
            self.namespace(Room::Function),
            self.namespace(Room::Server),
        );
        ip(&format!(
            "link add eth0 netns {client} type veth peer name in netns {function}"
        ));
        ip(&format!(
            "link add eth0 netns {server} type veth peer name out netns {function}"
        ));
        self.ip(Room::Client, "addr add 10.0.0.1/24 dev eth0");
        self.ip(Room::Server, "addr add 10.0.0.2/24 dev eth0");
        for (room, link) in [
            (Room::Client, "eth0"),
            (Room::Server, "eth0"),
            (Room::Function, "in"),
            (Room::Function, "out"),
        ] {
            self.ip(room, &format!("link set {link} up"));
        }
    }

    /// A cable from the test's own namespace to the leg of a function.
    pub(crate) fn peer(&self) -> Peer {
        let name = format!("kcp{}", self.prefix.trim_start_matches("kcfn"));
        let function = self.namespace(Room::Function);
        ip(&format!(
            "link add {name} type veth peer name leg netns {function}"
        ));
        let mac = LEG_MAC.map(|octet| format!("{octet:02x}")).join(":");
        self.ip(Room::Function, &format!("link set leg address {mac} up"));
        ip(&format!("link set {name} up"));
        Peer {
            port: port::open(&name, Backend::Packet).unwrap(),
            pool: Pool::default(),
        }
    }

    /// A command within a room.
    pub(crate) fn command(&self, room: Room, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace(room)));
        command.args(words);
        command
    }

    /// Runs a command within a room to its end.
    pub(crate) fn output(&self, room: Room, words: &[&str]) -> Output {
        self.command(room, words).output().unwrap()
    }

    /// Starts the program under test within a room.
    pub(crate) fn start(&self, room: Room, arguments: &[&str]) -> Running {
        let mut command = self.command(room, &[PROGRAM]);
        command.args(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Running { child, log }
    }

    /// Probes a URL from the client's room; the report, and whether all requests passed.
    pub(crate) fn probe(&self, url: &str, count: u32) -> (serde_json::Value, bool) {
        let count = count.to_string();
        let words = [
            PROGRAM,
            "probe",
            "--url",
            url,
            "--count",
            &count,
            "--timeout",
            "5s",
            "-o",
            "json",
        ];
        let output = self.output(Room::Client, &words);
        let report = serde_json::from_slice(&output.stdout);
        let report =
            report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (report, output.status.success())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for room in [Room::Client, Room::Function, Room::Server] {
            let namespace = self.namespace(room);
            let _ = Command::new("ip")
                .args(["netns", "del", &namespace])
                .status();
        }
    }
}

/// Address of the leg at the end of a [`Lab::peer`]'s cable.
pub(crate) const LEG_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x42];

/// The test's own end of a cable.
pub(crate) struct Peer {
    port: Box<dyn PacketPort>,
    pool: Pool,
}

impl Peer {
    /// Sends one frame.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        let report = self
            .port
            .send(&mut vec![Frame::copy_of(frame)], &mut self.pool);
        assert_eq!(report.lost(), 0);
    }

    /// Waits for the next NSH frame.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        loop {
            let mut waiting = [PollFd::new(self.port.as_fd(), PollFlags::POLLIN)];
            assert_eq!(
                poll(&mut waiting, PollTimeout::from(5000_u16)).unwrap(),
                1,
                "nothing came"
            );
            let mut batch = Vec::new();
            self.port.receive(&mut self.pool, &mut batch, 1).unwrap();
            let nsh = batch
                .iter()
                .find(|frame| frame.bytes().get(12..14) == Some(&[0x89, 0x4f]));
            if let Some(frame) = nsh {
                return frame.bytes().to_vec();
            }
        }
    }
}

/// A program that runs until it is told to end, or its test ends.
pub(crate) struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    /// Waits for a line of the log that contains `text`.
    pub(crate) fn await_log(&mut self, text: &str) -> &mut Self {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let length = self.log.read_line(&mut line).unwrap();
            assert!(length > 0, "ended without {text:?}:\n{seen}");
            if line.contains(text) {
                return self;
            }
            seen.push_str(&line);
        }
    }

    fn signal(&self, name: &str) {
        run(Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]));
    }

    /// The counters as of now.
    pub(crate) fn counters(&mut self) -> serde_json::Value {
        self.signal("USR1");
        let stdout = self.child.stdout.as_mut().unwrap();
        // A line is written at once and nothing else is.
        let mut line = Vec::new();
        let mut octet = [0];
        while stdout.read(&mut octet).unwrap() == 1 && octet != *b"\n" {
            line.extend(octet);
        }
        serde_json::from_slice(&line).unwrap()
    }

    /// Ends it; its last words.
    pub(crate) fn end(mut self) -> serde_json::Value {
        self.signal("TERM");
        let mut text = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert!(self.child.wait().unwrap().success());
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
