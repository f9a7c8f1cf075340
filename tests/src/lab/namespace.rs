//! Network namespaces, and what is run in them.
#![expect(clippy::unwrap_used, reason = "part of test programs")]

use super::Process;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Arc;

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
pub struct Lab {
    /// Holds the user namespace, where root is not ours.
    user: Option<Arc<Holder>>,
    folder: Arc<tempfile::TempDir>,
}

impl Lab {
    /// A lab, or `None`, with the reason printed, where this machine allows none.
    pub fn open() -> Option<Self> {
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
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A new, empty network namespace with loopback up.
    pub fn namespace(&self) -> Namespace {
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
pub struct Namespace {
    holder: Holder,
    user: Option<Arc<Holder>>,
}

impl Namespace {
    /// `program`, to be run in this namespace.
    pub fn command(&self, program: &str) -> Command {
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

    /// A process in this namespace, for what the kernel tells by process.
    pub fn pid(&self) -> u32 {
        self.holder.child.id()
    }

    /// Runs a command line, which must succeed, and returns what it printed.
    pub fn run(&self, line: &str) -> String {
        let output = self.output(line);
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command line to its end.
    pub fn output(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap();
        self.command(program)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a Python program, which must succeed, and returns what it printed.
    pub fn python(&self, program: &str) -> String {
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
    pub fn python_server(&self, program: &str) -> Process {
        let mut command = self.command("python3");
        command.args(["-u", "-c", program]).stdout(Stdio::piped());
        Process::start_until(command, "")
    }

    /// Joins this and `other` by a pair of interfaces, both up.
    pub fn join(&self, here: &str, other: &Self, there: &str) {
        let pid = other.holder.child.id();
        self.run(&format!(
            "ip link add {here} type veth peer name {there} netns {pid}"
        ));
        self.run(&format!("ip link set {here} up"));
        other.run(&format!("ip link set {there} up"));
    }

    /// Moves `interface` into `other`. A tunnel's outer end stays where it was made.
    pub fn give(&self, interface: &str, other: &Self) {
        let pid = other.holder.child.id();
        self.run(&format!("ip link set {interface} netns {pid}"));
        other.run(&format!("ip link set {interface} up"));
    }

    /// Gives `interface` an address.
    pub fn address(&self, interface: &str, address: &str) {
        // nodad: an IPv6 address is usable at once.
        let flags = if address.contains(':') { " nodad" } else { "" };
        self.run(&format!("ip address add {address} dev {interface}{flags}"));
    }
}
