//! The real `kc-forwarder`, run in a namespace.
#![expect(clippy::unwrap_used, reason = "part of test programs")]

use super::{Lab, Namespace, PATIENCE, Process};
use crate::programs;
use kc_forwarder::control::Client;
use kc_forwarder_api::{Counters, PortState};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A running `kc-forwarder`.
pub struct Forwarder {
    process: Process,
    /// Its control socket.
    pub socket: PathBuf,
    /// Its configuration.
    pub file: PathBuf,
}

impl Forwarder {
    /// Starts a forwarder in `namespace` with `tables` (TOML) and waits until all its ports
    /// are up.
    pub fn start(lab: &Lab, namespace: &Namespace, name: &str, tables: &str) -> Self {
        let file = lab.folder().join(format!("{name}.toml"));
        std::fs::write(&file, tables).unwrap();
        let socket = lab.folder().join(format!("{name}.sock"));
        Self::launch(namespace, file, socket)
    }

    /// The same with so many threads at most, however many processors there are.
    pub fn start_with_threads(
        lab: &Lab,
        namespace: &Namespace,
        name: &str,
        tables: &str,
        threads: u16,
    ) -> Self {
        let file = lab.folder().join(format!("{name}.toml"));
        std::fs::write(&file, tables).unwrap();
        let socket = lab.folder().join(format!("{name}.sock"));
        Self::run(
            namespace,
            file,
            socket,
            &["--threads", &threads.to_string()],
        )
    }

    /// Starts a forwarder again, on the file and socket of a former one, and waits as above.
    pub fn launch(namespace: &Namespace, file: PathBuf, socket: PathBuf) -> Self {
        Self::run(namespace, file, socket, &[])
    }

    fn run(namespace: &Namespace, file: PathBuf, socket: PathBuf, more: &[&str]) -> Self {
        let mut command =
            namespace.command(&programs::find("kc-forwarder").unwrap().to_string_lossy());
        command
            .arg("--config")
            .arg(&file)
            .arg("--socket")
            .arg(&socket)
            .args(more);
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
            status.generation > 0
                && status
                    .ports
                    .iter()
                    .all(|port| port.state != PortState::Absent)
        };
        forwarder.wait(up, "all ports up");
        forwarder
    }

    /// A new control connection.
    pub fn client(&self) -> Client {
        Client::connect(&self.socket, PATIENCE).unwrap()
    }

    /// All counters.
    pub fn counters(&self) -> Counters {
        self.client().counters().unwrap()
    }

    /// Waits until `reached`.
    pub fn wait(&self, mut reached: impl FnMut(&mut Client) -> bool, what: &str) {
        let begin = Instant::now();
        let mut client = self.client();
        while !reached(&mut client) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", client.status());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// SIGKILL.
    pub fn kill(mut self) -> (PathBuf, PathBuf) {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
        (self.file.clone(), self.socket.clone())
    }

    /// A signal by name, such as `HUP`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits for the end of the process and says whether it was a clean one.
    pub fn ended_well(mut self) -> bool {
        self.process.child.wait().unwrap().success()
    }

    /// Memory of its own in KiB: neither program text nor rings, which come with busy ports and go
    /// some time after.
    pub fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Frames dropped for reasons other than `expected`.
pub fn unexpected_drops(counters: &Counters, expected: &[&str]) -> Vec<String> {
    let drops = counters.drops.iter();
    drops
        .filter(|(reason, _)| !expected.contains(&reason.as_str()))
        .map(|(reason, count)| format!("{reason}: {count}"))
        .collect()
}

/// Writes `bytes` to a control socket and returns everything that comes back until it closes.
pub fn raw_exchange(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A forwarder that refuses early closes before all is written: its answer counts.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}
