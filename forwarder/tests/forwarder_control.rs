//! The control socket of a running forwarder: what it answers, what it refuses, and that nothing
//! a client does or leaves undone hurts the others. Needs no rights.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program")]

use kc_forwarder::control::{Client, ClientError, MAX_CLIENTS};
use kc_forwarder_api::{ErrorCode, MAX_REQUEST, Tables};
use kc_tests::lab::{PATIENCE, raw_exchange};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// The program under test.
const FORWARDER: &str = env!("CARGO_BIN_EXE_kc-forwarder");

/// A forwarder without ports, in the namespace of the test.
struct Running {
    child: Child,
    socket: PathBuf,
    folder: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("forwarder.sock");
        let child = spawn(&socket, None);
        Self {
            child,
            socket,
            folder,
        }
    }

    fn client(&self) -> Client {
        Client::connect(&self.socket, PATIENCE).unwrap()
    }

    fn refused(&self, tables: Tables) -> kc_forwarder_api::ControlError {
        match self.client().apply(tables) {
            Err(ClientError::Refused(error)) => error,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(socket: &Path, config: Option<&Path>) -> Child {
    let mut command = Command::new(FORWARDER);
    command
        .arg("run")
        .arg("--socket")
        .arg(socket)
        .args(["--log", "error"]);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let child = command.stderr(Stdio::inherit()).spawn().unwrap();
    let begin = Instant::now();
    while Client::connect(socket, PATIENCE).is_err() {
        assert!(begin.elapsed() < PATIENCE, "does not answer");
        std::thread::yield_now();
    }
    child
}

fn tables(generation: u64, ports: &[&str]) -> Tables {
    let ports: String = ports
        .iter()
        .map(|name| format!("[[ports]]\nname = \"{name}\"\n"))
        .collect();
    toml::from_str(&format!("generation = {generation}\n{ports}")).unwrap()
}

#[test]
fn a_generation_never_goes_back_and_a_refusal_changes_nothing() {
    let running = Running::start();
    let first = tables(5, &["kc-absent0"]);
    assert_eq!(running.client().apply(first.clone()).unwrap(), 5);
    assert_eq!(
        running.client().apply(first.clone()).unwrap(),
        5,
        "the same again is no change"
    );

    assert_eq!(running.refused(tables(4, &[])).code, ErrorCode::Stale);
    let other = running.refused(tables(5, &["kc-absent1"]));
    assert_eq!(other.code, ErrorCode::Stale);
    assert!(other.message.contains("use 6 or more"), "{other}");

    let mut wrong = tables(6, &["kc-absent0", "kc-absent0"]);
    assert_eq!(running.refused(wrong.clone()).code, ErrorCode::Invalid);
    wrong.generation = 7;
    match running.client().check(wrong) {
        Err(ClientError::Refused(error)) => assert_eq!(error.code, ErrorCode::Invalid),
        other => panic!("{other:?}"),
    }
    assert_eq!(running.client().tables().unwrap(), first);
    let status = running.client().status().unwrap();
    assert_eq!((status.generation, status.pid), (5, running.child.id()));
    assert_eq!(
        status.ports[0].reason,
        "interface kc-absent0 does not exist"
    );
}

#[test]
fn checking_sound_tables_does_not_use_them() {
    let running = Running::start();
    assert_eq!(
        running.client().check(tables(9, &["kc-absent0"])).unwrap(),
        9
    );
    assert_eq!(running.client().status().unwrap().generation, 0);
}

#[test]
fn nonsense_is_malformed_and_the_connection_goes_on() {
    let running = Running::start();
    let answer = raw_exchange(
        &running.socket,
        b"{\"op\":\"aply\"}\n\xff\xfe\n\n[]\n{\"op\":\"status\"}\n",
    );
    let lines: Vec<_> = answer.lines().collect();
    assert_eq!(lines.len(), 5, "{answer}");
    assert!(
        lines[..4].iter().all(|line| line.contains("\"malformed\"")),
        "{answer}"
    );
    assert!(lines[0].contains("unknown variant `aply`"), "{answer}");
    assert!(lines[4].contains("\"status\""), "{answer}");
}

#[test]
fn an_oversized_request_is_refused_and_memory_stays_small() {
    let running = Running::start();
    let line = vec![b'x'; MAX_REQUEST + (1 << 20)];
    let answer = raw_exchange(&running.socket, &line);
    assert!(answer.contains("too-large"), "{answer}");
    assert!(running.client().status().is_ok());
}

#[test]
fn a_half_message_delays_nobody() {
    let running = Running::start();
    let mut half: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = UnixStream::connect(&running.socket).unwrap();
            stream.write_all(b"{\"op\":\"stat").unwrap();
            stream
        })
        .collect();
    for generation in 1..100 {
        running.client().apply(tables(generation, &[])).unwrap();
    }
    half[0].write_all(b"us\"}\n").unwrap();
    let mut answer = String::new();
    BufReader::new(&half[0]).read_line(&mut answer).unwrap();
    assert!(answer.contains("\"generation\":99"), "{answer}");
}

#[test]
fn a_client_that_does_not_read_delays_nobody() {
    let running = Running::start();
    let names: Vec<_> = (0..2000).map(|i| format!("kc-absent{i}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    running.client().apply(tables(1, &names)).unwrap();
    let mut deaf = UnixStream::connect(&running.socket).unwrap();
    deaf.set_nonblocking(true).unwrap();
    while deaf.write(b"{\"op\":\"tables\"}\n").is_ok() {}
    for _ in 0..50 {
        running.client().counters().unwrap();
    }
    // And it gets its answers, whole, once it reads.
    deaf.set_nonblocking(false).unwrap();
    let mut answer = String::new();
    BufReader::new(&deaf).read_line(&mut answer).unwrap();
    assert!(answer.contains("kc-absent1999"), "{}", answer.len());
}

#[test]
fn a_hundred_connections_are_too_many_and_harm_none_that_are_served() {
    let running = Running::start();
    let mut served = Vec::new();
    let mut busy = 0;
    for _ in 0..100 {
        let mut client = running.client();
        match client.status() {
            Ok(_) => served.push(client),
            Err(ClientError::Refused(error)) => {
                assert_eq!(error.code, ErrorCode::Busy);
                busy += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(served.len() + busy, 100);
    assert!(
        served.len() <= MAX_CLIENTS && served.len() + 1 >= MAX_CLIENTS,
        "{}",
        served.len()
    );
    for client in &mut served {
        client.counters().unwrap();
    }
    drop(served);
    let begin = Instant::now();
    while running.client().status().is_err() {
        assert!(begin.elapsed() < PATIENCE, "room again");
    }
}

#[test]
fn a_live_socket_is_refused_and_a_dead_one_replaced() {
    let mut running = Running::start();
    let second = Command::new(FORWARDER)
        .arg("--socket")
        .arg(&running.socket)
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(
        error.contains("another forwarder is running on this socket"),
        "{error}"
    );
    assert!(running.client().status().is_ok());

    running.child.kill().unwrap();
    running.child.wait().unwrap();
    assert!(running.socket.exists());
    running.child = spawn(&running.socket, None);
    assert!(running.client().status().is_ok());
}

#[test]
fn a_signal_ends_it_and_removes_the_socket() {
    for signal in ["-TERM", "-INT"] {
        let mut running = Running::start();
        let pid = running.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        assert!(running.child.wait().unwrap().success());
        assert!(!running.socket.exists());
    }
}

#[test]
fn hangup_reads_the_file_again_and_a_wrong_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tables.toml");
    std::fs::write(&file, "[[ports]]\nname = \"kc-absent0\"\n").unwrap();
    let mut running = Running::start();
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    running.child = spawn(&running.socket, Some(&file));
    let pid = running.child.id().to_string();
    let hang_up = || {
        assert!(
            Command::new("kill")
                .args(["-HUP", &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    let wait_for = |ports: usize| {
        let begin = Instant::now();
        while running.client().tables().unwrap().ports.len() != ports {
            assert!(begin.elapsed() < PATIENCE, "no {ports} ports");
        }
    };
    wait_for(1);
    std::fs::write(
        &file,
        "[[ports]]\nname = \"kc-absent0\"\n[[ports]]\nname = \"kc-absent1\"\n",
    )
    .unwrap();
    hang_up();
    wait_for(2);
    let generation = running.client().status().unwrap().generation;
    std::fs::write(&file, "[[ports]]\nnam = \"kc-absent0\"\n").unwrap();
    hang_up();
    // Signals are served in order with requests: once this is answered, that was refused.
    for _ in 0..3 {
        assert_eq!(running.client().status().unwrap().generation, generation);
    }
    std::fs::write(&file, "").unwrap();
    hang_up();
    wait_for(0);
}

#[test]
fn a_mistake_in_a_file_is_told_with_line_and_column() {
    let running = Running::start();
    let file = running.folder.path().join("wrong.toml");
    std::fs::write(
        &file,
        "generation = 1\n\n[[ports]]\nname = \"p0\"\nbackend = \"packed\"\n",
    )
    .unwrap();
    let other = running.folder.path().join("other.sock");
    for verb in ["check", "apply", "run"] {
        let mut command = Command::new(FORWARDER);
        command.arg(verb);
        match verb {
            "apply" => command.arg("--socket").arg(&running.socket).arg(&file),
            "run" => command
                .arg("--socket")
                .arg(&other)
                .arg("--config")
                .arg(&file),
            _ => command.arg(&file),
        };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            error.contains("wrong.toml:5:11: unknown variant `packed`"),
            "{error}"
        );
        assert_eq!(error.matches("kc-forwarder:").count(), 1, "{error}");
    }
    std::fs::write(&file, "[[ports]]\nname = \"p0\"\n[[rules]]\nname = \"r\"\naction = { egress = { port = \"p9\" } }\n")
        .unwrap();
    let output = Command::new(FORWARDER)
        .arg("check")
        .arg(&file)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("wrong.toml:4:8: rule \"r\" refers to port p9"),
        "{error}"
    );
}

#[test]
fn the_exit_code_tells_what_went_wrong() {
    let running = Running::start();
    let run = |arguments: &[&str]| {
        let output = Command::new(FORWARDER).args(arguments).output().unwrap();
        output.status.code()
    };
    let socket = running.socket.to_str().unwrap();
    let stale = running.folder.path().join("stale.json");
    let stale = stale.to_str().unwrap();
    assert_eq!(run(&["status", "--socket", socket]), Some(0));
    assert_eq!(run(&["statu"]), Some(2));
    assert_eq!(run(&["status", "--socket", "/nonexistent"]), Some(4));
    std::fs::write(stale, "{\"generation\": 3}").unwrap();
    assert_eq!(run(&["apply", stale, "--socket", socket]), Some(0));
    std::fs::write(stale, "{\"generation\": 2}").unwrap();
    assert_eq!(run(&["apply", stale, "--socket", socket]), Some(3));
}

/// Neither what a parser of TOML needs meanwhile nor the text of a request stays in memory.
#[test]
fn ten_thousand_paths_take_little_memory_whichever_way_they_come() {
    use std::fmt::Write as _;
    let mut text =
        "generation = 1\n[underlay]\naddress = \"10.0.0.1\"\n[[tunnels]]\nname = \"t\"\n\
        transport = { vxlan-gpe = { remote = \"10.0.0.2\", vni = 1 } }\n"
            .to_owned();
    for spi in 1..=10_000 {
        let hops = "[{ si = 255, to = { tunnel = { name = \"t\" } } }]";
        writeln!(text, "[[paths]]\nspi = {spi}\nhops = {hops}").unwrap();
    }
    let mut running = Running::start();
    let idle = memory(&running);
    let tables: Tables = toml::from_str(&text).unwrap();
    running.client().apply(tables.clone()).unwrap();
    let told = memory(&running) - idle;
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let file = running.folder.path().join("many.toml");
    std::fs::write(&file, &text).unwrap();
    running.child = spawn(&running.socket, Some(&file));
    assert_eq!(running.client().tables().unwrap(), tables);
    let read = memory(&running) - idle;
    // Of 780 KB of text; what is kept are names, hops and three tables to look into.
    assert!(told < 8 << 10 && read < 8 << 10, "{told} and {read} KiB");
}

/// Anonymous memory in KiB.
fn memory(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    line.unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}
