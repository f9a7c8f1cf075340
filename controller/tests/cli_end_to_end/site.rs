//! A broker, a controller and `kc`, each a process of its own in a directory of its own. All of
//! them end with the test, also with a failed one.

use assert_cmd::Command;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A process that ends with its guard.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything but boxes.
pub(crate) struct Site {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) broker: u16,
    broker_process: Option<Process>,
    controller: Option<Process>,
    output: Option<BufReader<ChildStdout>>,
    /// Seconds of silence after which a box is gone, when not the default.
    pub(crate) heartbeat: Option<&'static str>,
    /// The controller's TCP address.
    pub(crate) address: String,
}

impl Site {
    /// A broker and a controller that is connected to it.
    pub(crate) fn start() -> Self {
        let mut site = Self::without_broker();
        site.start_broker();
        site.start_controller();
        site.until_connected();
        site
    }

    /// Neither is running yet.
    pub(crate) fn without_broker() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            broker: free_port(),
            broker_process: None,
            controller: None,
            output: None,
            heartbeat: None,
            address: String::new(),
        }
    }

    pub(crate) fn start_broker(&mut self) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.broker));
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_kc"))
            .args(["playground", "broker", "--listen", &address.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.broker_process = Some(Process(child));
        until("the broker listens", || TcpStream::connect(address).is_ok());
    }

    pub(crate) fn stop_broker(&mut self) {
        self.broker_process = None;
    }

    /// Starts the controller; returns what it said before it served.
    pub(crate) fn start_controller(&mut self) -> Vec<String> {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kc-controller"))
            .args(["run", "--domain", "lab", "--listen", "127.0.0.1:0"])
            .args(["--broker", &format!("127.0.0.1:{}", self.broker)])
            .args(
                self.heartbeat
                    .iter()
                    .flat_map(|s| ["--heartbeat-timeout", s]),
            )
            .arg("--listen")
            .arg(format!("unix:{}", self.socket().display()))
            .arg("--data-dir")
            .arg(self.data())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(self.directory.path().join("controller.log")).unwrap())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        self.controller = Some(Process(child));
        let mut said = Vec::new();
        while !said.iter().any(|line: &String| line.contains("unix://")) {
            let mut line = String::new();
            if output.read_line(&mut line).unwrap() == 0 {
                panic!("the controller ended: {}", self.log());
            }
            if let Some(address) = line.trim().strip_prefix("listening on http://") {
                self.address = address.to_owned();
            }
            said.push(line);
        }
        self.output = Some(output);
        said
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("controller.log")).unwrap_or_default()
    }

    /// SIGKILL: nothing is put in order.
    pub(crate) fn kill_controller(&mut self) {
        self.controller = None;
    }

    /// SIGTERM, and waits for a good end.
    pub(crate) fn stop_controller(&mut self) {
        let Some(mut process) = self.controller.take() else {
            return;
        };
        let id = i32::try_from(process.0.id()).unwrap();
        let pid = nix::unistd::Pid::from_raw(id);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(process.0.wait().unwrap().success(), "{}", self.log());
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("controller.sock")
    }

    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.data().join("token"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// `kc` that knows this controller.
    pub(crate) fn kc(&self, words: &[&str]) -> Command {
        let mut kc = bare_kc(self.directory.path());
        kc.env("KC_SERVER", format!("unix://{}", self.socket().display()))
            .env("KC_TOKEN", self.token())
            .args(words);
        kc
    }

    /// What `kc` says when all is well.
    pub(crate) fn says(&self, words: &[&str]) -> String {
        let output = self.kc(words).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kc {words:?}: {text}{errors}");
        text
    }

    /// What `kc … -o json` says.
    pub(crate) fn json(&self, words: &[&str]) -> serde_json::Value {
        let mut words = words.to_vec();
        words.extend(["-o", "json"]);
        serde_json::from_str(&self.says(&words)).unwrap()
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn until_connected(&self) {
        until("the controller is connected", || {
            self.says(&["version"]).contains("(connected)")
        });
    }
}

/// `kc` that knows no controller and nothing of this machine's user.
pub(crate) fn bare_kc(home: &Path) -> Command {
    let mut kc = Command::new(env!("CARGO_BIN_EXE_kc"));
    for name in ["KC_SERVER", "KC_TOKEN", "KC_CONFIG", "XDG_CONFIG_HOME"] {
        kc.env_remove(name);
    }
    kc.env("HOME", home).timeout(PATIENCE);
    kc
}

/// Asks again until it is so.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port nobody listens on at present.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A firewall with one instance on each of two boxes, and a chain through it.
pub(crate) const WEB: &str = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: firewall}
spec:
  image: kcluster/function:latest
  args: [firewall]
  replicas: 2
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [firewall]
  scheduler: {algorithm: shortest-path}
  from: {node: box1, interface: client0}
  to: {node: box2, interface: server0}
";
