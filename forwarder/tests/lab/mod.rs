//! Network namespaces for tests: each is held by a process of its own and goes when that goes,
//! whatever becomes of the test. Works as root, and without where user namespaces are allowed.
#![allow(dead_code, reason = "every test program uses another part")]

pub(crate) mod tcp;

use kc_forwarder::control::Client;
use kc_forwarder_api::{Counters, PortState};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest any single step of a test may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The program under test.
pub(crate) const FORWARDER: &str = env!("CARGO_BIN_EXE_kc-forwarder");

/// A process that keeps a namespace; it ends when its standard input does.
struct Holder {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Holder {
    fn start(mut command: Command) -> Option<Self> {
        let mut child = command
            .args(["sh", "-c", "echo ready; read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take()?)
            .read_line(&mut line)
            .ok()?;
        let mut holder = Self { child, stdin };
        if line.trim() == "ready" {
            return Some(holder);
        }
        holder.end();
        None
    }

    fn end(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.end();
    }
}

/// The right to make namespaces.
#[derive(Clone)]
pub(crate) struct Lab {
    /// Holds the user namespace, where root is not ours.
    user: Option<Arc<Holder>>,
    folder: Arc<tempfile::TempDir>,
}

impl Lab {
    /// A lab, or `None`, with the reason printed, where this machine allows none.
    pub(crate) fn open() -> Option<Self> {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let root = nix_is_root();
        let user = if root {
            None
        } else {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--mount"]);
            match Holder::start(command) {
                Some(holder) => Some(Arc::new(holder)),
                None => {
                    eprintln!("skipped: neither root nor user namespaces here");
                    return None;
                }
            }
        };
        let lab = Self { user, folder };
        if lab.try_namespace().is_none() {
            eprintln!("skipped: no right to make network namespaces here");
            return None;
        }
        Some(lab)
    }

    /// A folder that goes with the lab.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new, empty network namespace with loopback up.
    pub(crate) fn namespace(&self) -> Namespace {
        let namespace = self.try_namespace().unwrap();
        namespace.run("ip link set lo up");
        namespace
    }

    fn try_namespace(&self) -> Option<Namespace> {
        let mut command = Command::new("nsenter");
        match &self.user {
            Some(user) => {
                let pid = user.child.id().to_string();
                command.args([
                    "--target",
                    &pid,
                    "--user",
                    "--mount",
                    "--preserve-credentials",
                ]);
                command.args(["unshare", "--net"]);
            }
            None => {
                command = Command::new("unshare");
                command.arg("--net");
            }
        }
        Holder::start(command).map(|holder| Namespace {
            holder,
            user: self.user.clone(),
        })
    }
}

fn nix_is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t0"))
}

/// One network namespace.
pub(crate) struct Namespace {
    holder: Holder,
    user: Option<Arc<Holder>>,
}

impl Namespace {
    /// `program`, to be run in this namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        if let Some(user) = &self.user {
            let pid = user.child.id().to_string();
            command.args([
                "--target",
                &pid,
                "--user",
                "--mount",
                "--preserve-credentials",
            ]);
        }
        command
            .arg(format!("--net=/proc/{}/ns/net", self.holder.child.id()))
            .arg(program);
        command
    }

    /// Runs a command line, which must succeed, and returns what it printed.
    pub(crate) fn run(&self, line: &str) -> String {
        let output = self.output(line);
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command line to its end.
    pub(crate) fn output(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap();
        self.command(program)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a Python program, which must succeed, and returns what it printed.
    pub(crate) fn python(&self, program: &str) -> String {
        let output = self
            .command("python3")
            .args(["-c", program])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a Python program and waits until it has printed a line.
    pub(crate) fn python_server(&self, program: &str) -> Process {
        let mut command = self.command("python3");
        command.args(["-u", "-c", program]).stdout(Stdio::piped());
        Process::start_until(command, "")
    }

    /// Joins this and `other` by a pair of interfaces, both up.
    pub(crate) fn join(&self, here: &str, other: &Self, there: &str) {
        let pid = other.holder.child.id();
        self.run(&format!(
            "ip link add {here} type veth peer name {there} netns {pid}"
        ));
        self.run(&format!("ip link set {here} up"));
        other.run(&format!("ip link set {there} up"));
    }

    /// Gives `interface` an address.
    pub(crate) fn address(&self, interface: &str, address: &str) {
        // nodad: an IPv6 address is usable at once.
        let flags = if address.contains(':') { " nodad" } else { "" };
        self.run(&format!("ip address add {address} dev {interface}{flags}"));
    }
}

/// A process that ends with the test.
pub(crate) struct Process {
    /// The process.
    pub(crate) child: Child,
}

impl Process {
    /// Starts `command` and reads its standard output until a line contains `text`.
    pub(crate) fn start_until(mut command: Command, text: &str) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let process = Self { child };
        loop {
            let mut line = String::new();
            assert_ne!(
                stdout.read_line(&mut line).unwrap(),
                0,
                "ended before it was ready"
            );
            if line.contains(text) {
                break;
            }
        }
        // Goes on reading, so that the process never blocks.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        process
    }
}

impl Process {
    /// Starts a capture and waits until it captures.
    pub(crate) fn start_capture(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("Capturing on") {
            line.clear();
            assert_ne!(
                stderr.read_line(&mut line).unwrap(),
                0,
                "the capture did not start"
            );
        }
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { child }
    }

    /// Whether the process has ended.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `kc-forwarder`.
pub(crate) struct Forwarder {
    process: Process,
    /// Its control socket.
    pub(crate) socket: PathBuf,
    /// Its configuration.
    pub(crate) file: PathBuf,
}

impl Forwarder {
    /// Starts a forwarder in `namespace` with `tables` (TOML) and waits until all its ports
    /// are up.
    pub(crate) fn start(lab: &Lab, namespace: &Namespace, name: &str, tables: &str) -> Self {
        let file = lab.folder().join(format!("{name}.toml"));
        std::fs::write(&file, tables).unwrap();
        let socket = lab.folder().join(format!("{name}.sock"));
        Self::launch(namespace, file, socket)
    }

    /// Starts a forwarder again, on the file and socket of a former one, and waits as above.
    pub(crate) fn launch(namespace: &Namespace, file: PathBuf, socket: PathBuf) -> Self {
        let mut command = namespace.command(FORWARDER);
        command
            .arg("--config")
            .arg(&file)
            .arg("--socket")
            .arg(&socket);
        command.args(["--log", "error"]).stdin(Stdio::null());
        let process = Process {
            child: command.spawn().unwrap(),
        };
        let forwarder = Self {
            process,
            socket,
            file,
        };
        let begin = Instant::now();
        while Client::connect(&forwarder.socket, PATIENCE).is_err() {
            assert!(begin.elapsed() < PATIENCE, "the forwarder does not answer");
            std::thread::sleep(Duration::from_millis(2));
        }
        let up = |client: &mut Client| {
            let status = client.status().unwrap();
            status.generation > 0 && status.ports.iter().all(|port| port.state == PortState::Up)
        };
        forwarder.wait(up, "all ports up");
        forwarder
    }

    /// A new control connection.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket, PATIENCE).unwrap()
    }

    /// All counters.
    pub(crate) fn counters(&self) -> Counters {
        self.client().counters().unwrap()
    }

    /// Waits until `reached`.
    pub(crate) fn wait(&self, mut reached: impl FnMut(&mut Client) -> bool, what: &str) {
        let begin = Instant::now();
        let mut client = self.client();
        while !reached(&mut client) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", client.status());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> (PathBuf, PathBuf) {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
        (self.file.clone(), self.socket.clone())
    }

    /// A signal by name, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([format!("-{name}"), pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end of the process and says whether it was a clean one.
    pub(crate) fn ended_well(mut self) -> bool {
        self.process.child.wait().unwrap().success()
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Frames dropped for reasons other than `expected`.
pub(crate) fn unexpected_drops(counters: &Counters, expected: &[&str]) -> Vec<String> {
    let drops = counters.drops.iter();
    drops
        .filter(|(reason, _)| !expected.contains(&reason.as_str()))
        .map(|(reason, count)| format!("{reason}: {count}"))
        .collect()
}

/// Writes `bytes` to a control socket and returns everything that comes back until it closes.
pub(crate) fn raw_exchange(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A forwarder that refuses early closes before all is written: its answer counts.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}
