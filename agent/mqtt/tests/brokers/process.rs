//! Brokers in processes of their own, on a port of their own, that can be killed and come back.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A port nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Where Debian keeps Mosquitto, or `None` with a word why the test is skipped. In CI it must be
/// there.
pub(crate) fn mosquitto() -> Option<PathBuf> {
    let found = [
        "/usr/sbin/mosquitto",
        "/usr/bin/mosquitto",
        "/usr/local/sbin/mosquitto",
    ]
    .map(PathBuf::from)
    .into_iter()
    .find(|path| path.exists());
    if found.is_none() {
        let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!ci, "mosquitto is not installed, and CI must have it");
        eprintln!("skipped: mosquitto is not installed (apt-get install mosquitto)");
    }
    found
}

/// What to start.
enum Kind {
    Mosquitto { program: PathBuf, extra: String },
    Rumqttd,
}

/// A broker.
pub(crate) struct Broker {
    /// Where it listens.
    pub(crate) port: u16,
    kind: Kind,
    child: Option<Child>,
    directory: TempDir,
}

impl Broker {
    /// Mosquitto with these lines in its configuration; `@DIR@` is a directory of its own.
    pub(crate) fn mosquitto(extra: &str) -> Option<Self> {
        let program = mosquitto()?;
        let extra = extra.to_owned();
        Some(Self::start(Kind::Mosquitto { program, extra }))
    }

    /// `rumqttd`, embedded in a copy of this very test program.
    pub(crate) fn rumqttd() -> Self {
        Self::start(Kind::Rumqttd)
    }

    fn start(kind: Kind) -> Self {
        let mut broker = Self {
            port: free_port(),
            kind,
            child: None,
            directory: tempfile::tempdir().unwrap(),
        };
        broker.restart();
        broker
    }

    /// Starts it again and waits until it listens.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let port = self.port;
        let mut command = match &self.kind {
            Kind::Mosquitto { program, extra } => {
                let directory = self.directory.path();
                let extra = extra.replace("@DIR@", &directory.display().to_string());
                let file = directory.join("mosquitto.conf");
                let text = format!(
                    "listener {port} 127.0.0.1\nuser root\nmax_inflight_messages 0\n\
                     max_queued_messages 0\nlog_dest stderr\n{extra}\n"
                );
                std::fs::write(&file, text).unwrap();
                let mut command = Command::new(program);
                command.arg("-c").arg(file);
                command
            }
            Kind::Rumqttd => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command
                    .args([
                        "--exact",
                        "rumqttd::a_broker_for_the_other_tests",
                        "--ignored",
                        "--nocapture",
                    ])
                    .env("KC_MQTT_TEST_PORT", port.to_string());
                command
            }
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(drop));
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while TcpStream::connect(address).is_err() {
            let gone = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(gone.is_none(), "the broker ended: {gone:?}");
            assert!(Instant::now() < deadline, "the broker does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The body of `a_broker_for_the_other_tests`: runs `rumqttd` until standard input ends.
pub(crate) fn run_rumqttd() {
    let Ok(port) = std::env::var("KC_MQTT_TEST_PORT") else {
        return;
    };
    let connections = rumqttd::ConnectionSettings {
        connection_timeout_ms: 5000,
        max_payload_size: 8 << 20,
        max_inflight_count: 500,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = rumqttd::ServerSettings {
        name: "v4".into(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap())),
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let config = rumqttd::Config {
        id: 0,
        router: rumqttd::RouterConfig {
            max_connections: 100,
            max_outgoing_packet_count: 200,
            max_segment_size: 16 << 20,
            max_segment_count: 10,
            ..rumqttd::RouterConfig::default()
        },
        v4: Some([("v4".to_owned(), server)].into()),
        v5: None,
        ws: None,
        cluster: None,
        console: None,
        bridge: None,
        prometheus: None,
        metrics: None,
    };
    std::thread::spawn(|| {
        // The parent holds the other end: when it dies, however it dies, so does this broker.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    rumqttd::Broker::new(config).start().unwrap();
}
