//! Settings of the agent: a TOML file, overridden by flags and `KC_AGENT_*` variables. Read
//! and checked whole before any socket opens; says nothing about what the box shall run.

use crate::readings::config::{HomeAssistant, Prometheus};
use kc_agent_api::{DomainName, NameError, NodeName};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Where the file is looked for when nobody names one.
pub const DEFAULT_FILE: &str = "/etc/kcluster/agent.toml";
/// Kept over reboots, when nobody says where.
pub const STATE_DIR: &str = "/var/lib/kcluster";
/// Lost at reboot, when nobody says where.
pub const RUN_DIR: &str = "/run/kcluster";
/// Keys of those who may update the agent, when nobody says where.
const TRUSTED_KEYS: &str = "/etc/kcluster/trust.d";
/// How long an update may take to get healthy, when nobody says.
const TRIAL_S: u16 = 60;

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or a field nobody knows; the source names line and column.
    #[error("{} is no agent configuration", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The host's name cannot serve as the node's.
    #[error("the host's name is no node name: set `node` in the file, or --node")]
    Host(#[source] NameError),
    /// The host's name cannot be read.
    #[error("cannot read the host's name: set `node` in the file, or --node")]
    HostName(#[source] nix::Error),
    /// Not `HOST:PORT`.
    #[error("broker {0:?} must be HOST:PORT, such as 192.168.50.254:1883")]
    Broker(String),
    /// The engine is only reached by a unix socket.
    #[error("docker endpoint {0:?} must be unix:///path/to/docker.sock")]
    Docker(String),
    /// Not `key=value`.
    #[error("label {0:?} must be key=value")]
    Label(String),
}

impl ConfigError {
    /// Whether somebody with more rights could read it.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
    }
}

/// The MQTT broker's address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl FromStr for Broker {
    type Err = ConfigError;
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let refuse = || ConfigError::Broker(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(refuse());
        }
        let port = port.parse().map_err(|_| refuse())?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl TryFrom<String> for Broker {
    type Error = ConfigError;
    fn try_from(text: String) -> Result<Self, ConfigError> {
        text.parse()
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The engine's unix socket, written `unix:///path`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct DockerSocket(pub PathBuf);

impl FromStr for DockerSocket {
    type Err = ConfigError;
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let path = Path::new(text.strip_prefix("unix://").unwrap_or(text));
        if path.is_absolute() {
            Ok(Self(path.to_owned()))
        } else {
            Err(ConfigError::Docker(text.to_owned()))
        }
    }
}

impl TryFrom<String> for DockerSocket {
    type Error = ConfigError;
    fn try_from(text: String) -> Result<Self, ConfigError> {
        text.parse()
    }
}

/// One `key=value` given as a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(pub String, pub String);

impl FromStr for Label {
    type Err = ConfigError;
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self(key.to_owned(), value.to_owned())),
            _ => Err(ConfigError::Label(text.to_owned())),
        }
    }
}

/// What the file and the flags may each say; every field is optional in both.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Overrides {
    /// This box; the host's name when absent.
    pub node: Option<NodeName>,
    /// The domain; `lab` when absent.
    pub domain: Option<DomainName>,
    /// The broker; `127.0.0.1:1883` when absent.
    pub broker: Option<Broker>,
    /// MQTT user name.
    pub mqtt_user: Option<String>,
    /// File whose first line is the MQTT password.
    pub mqtt_password_file: Option<PathBuf>,
    /// Seconds of silence after which the broker takes the box for gone (it waits 1.5 times this).
    pub keep_alive_s: Option<u16>,
    /// The engine.
    pub docker: Option<DockerSocket>,
    /// Our tunnel end; the address of the default route when absent.
    pub vtep: Option<IpAddr>,
    /// MTU under the tunnels; the interface's own when absent.
    pub underlay_mtu: Option<u16>,
    /// Kept over reboots.
    pub state_dir: Option<PathBuf>,
    /// Lost at reboot.
    pub run_dir: Option<PathBuf>,
    /// Where events wait for the controller; `run_dir` when absent, where a reboot erases them and nothing
    /// is written to flash.
    pub event_dir: Option<PathBuf>,
    /// The `kc-forwarder` program.
    pub forwarder: Option<PathBuf>,
    /// Image of the pause containers.
    pub pause_image: Option<String>,
    /// Whether `kc exec` and `kc cp` may enter containers; yes when absent, since whoever may ask
    /// for it may also have any image run here.
    pub allow_exec: Option<bool>,
    /// How full the engine's disk may be before images that nobody needs go, in percent; 100 is never.
    pub image_gc_percent: Option<u8>,
    /// Labels the box gives itself.
    pub labels: BTreeMap<String, String>,
    /// Updates of the agent.
    pub update: UpdateSaid,
    /// The box in Home Assistant; not there when absent.
    pub home_assistant: Option<HomeAssistant>,
    /// The box for Prometheus; not there when absent.
    pub prometheus: Option<Prometheus>,
}

/// What the file and the flags may each say of updates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct UpdateSaid {
    /// Directory with the public keys (`*.pub`, of minisign) of those who may update this box;
    /// nobody may while it is empty.
    pub trusted_keys: Option<PathBuf>,
    /// Seconds in which a new version must get healthy.
    pub trial_s: Option<NonZeroU16>,
}

impl Overrides {
    /// Reads `path`. A missing file is an error only when somebody `asked` for it.
    pub fn read(path: &Path, asked: bool) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked => {
                return Ok(Self::default());
            }
            Err(source) => {
                let path = path.to_owned();
                return Err(ConfigError::Read { path, source });
            }
        };
        toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// `self` where it speaks, `under` where it does not; labels of both.
    #[must_use]
    pub fn over(self, under: Self) -> Self {
        let mut labels = under.labels;
        labels.extend(self.labels);
        Self {
            node: self.node.or(under.node),
            domain: self.domain.or(under.domain),
            broker: self.broker.or(under.broker),
            mqtt_user: self.mqtt_user.or(under.mqtt_user),
            mqtt_password_file: self.mqtt_password_file.or(under.mqtt_password_file),
            keep_alive_s: self.keep_alive_s.or(under.keep_alive_s),
            docker: self.docker.or(under.docker),
            vtep: self.vtep.or(under.vtep),
            underlay_mtu: self.underlay_mtu.or(under.underlay_mtu),
            state_dir: self.state_dir.or(under.state_dir),
            run_dir: self.run_dir.or(under.run_dir),
            event_dir: self.event_dir.or(under.event_dir),
            forwarder: self.forwarder.or(under.forwarder),
            pause_image: self.pause_image.or(under.pause_image),
            allow_exec: self.allow_exec.or(under.allow_exec),
            image_gc_percent: self.image_gc_percent.or(under.image_gc_percent),
            labels,
            update: UpdateSaid {
                trusted_keys: self.update.trusted_keys.or(under.update.trusted_keys),
                trial_s: self.update.trial_s.or(under.update.trial_s),
            },
            home_assistant: self.home_assistant.or(under.home_assistant),
            prometheus: self.prometheus.or(under.prometheus),
        }
    }
}

/// Settings, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This box.
    pub node: NodeName,
    /// Its domain.
    pub domain: DomainName,
    /// The broker.
    pub broker: Broker,
    /// MQTT user and password.
    pub credentials: Option<(String, String)>,
    /// MQTT keep-alive in seconds.
    pub keep_alive_s: u16,
    /// The engine's unix socket.
    pub docker: PathBuf,
    /// Our tunnel end, when somebody fixed it.
    pub vtep: Option<IpAddr>,
    /// MTU under the tunnels, when somebody fixed it.
    pub underlay_mtu: Option<u16>,
    /// Kept over reboots.
    pub state_dir: PathBuf,
    /// Lost at reboot.
    pub run_dir: PathBuf,
    /// Where events wait for the controller.
    pub event_dir: PathBuf,
    /// The `kc-forwarder` program.
    pub forwarder: PathBuf,
    /// Image of the pause containers.
    pub pause_image: String,
    /// Whether calls may enter containers.
    pub allow_exec: bool,
    /// How full the engine's disk may be before images that nobody needs go, in percent; 100 is never.
    pub image_gc_percent: u8,
    /// Labels the box gives itself.
    pub labels: BTreeMap<String, String>,
    /// Public keys of those who may update the agent.
    pub trusted_keys: PathBuf,
    /// How long an update may take to get healthy.
    pub trial: Duration,
    /// The box in Home Assistant, where that is wanted.
    pub home_assistant: Option<HomeAssistant>,
    /// The box for Prometheus, where that is wanted.
    pub prometheus: Option<Prometheus>,
}

impl Settings {
    /// Fills in what nobody said. Reads the host's name and the password file.
    pub fn complete(said: Overrides) -> Result<Self, ConfigError> {
        let node = match said.node {
            Some(node) => node,
            None => {
                let host = nix::unistd::gethostname().map_err(ConfigError::HostName)?;
                let host = host.to_string_lossy().to_lowercase();
                NodeName::new(host).map_err(ConfigError::Host)?
            }
        };
        let domain = match said.domain {
            Some(domain) => domain,
            None => DomainName::new("lab").map_err(ConfigError::Host)?,
        };
        let credentials = match (said.mqtt_user, said.mqtt_password_file) {
            (Some(user), Some(path)) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| ConfigError::Read { path, source })?;
                Some((user, text.lines().next().unwrap_or_default().to_owned()))
            }
            (Some(user), None) => Some((user, String::new())),
            (None, _) => None,
        };
        let run_dir = said.run_dir.unwrap_or_else(|| RUN_DIR.into());
        Ok(Self {
            node,
            domain,
            broker: said.broker.unwrap_or(Broker {
                host: "127.0.0.1".into(),
                port: 1883,
            }),
            credentials,
            keep_alive_s: said.keep_alive_s.unwrap_or(2),
            docker: said
                .docker
                .map_or_else(|| "/var/run/docker.sock".into(), |DockerSocket(path)| path),
            vtep: said.vtep,
            underlay_mtu: said.underlay_mtu,
            state_dir: said.state_dir.unwrap_or_else(|| STATE_DIR.into()),
            event_dir: said.event_dir.unwrap_or_else(|| run_dir.clone()),
            run_dir,
            forwarder: said.forwarder.unwrap_or_else(beside_us),
            pause_image: said
                .pause_image
                .unwrap_or_else(|| "kcluster/function:latest".into()),
            allow_exec: said.allow_exec.unwrap_or(true),
            image_gc_percent: said.image_gc_percent.unwrap_or(85),
            labels: said.labels,
            trusted_keys: said
                .update
                .trusted_keys
                .unwrap_or_else(|| TRUSTED_KEYS.into()),
            trial: Duration::from_secs(said.update.trial_s.map_or(TRIAL_S, NonZeroU16::get).into()),
            home_assistant: said.home_assistant,
            prometheus: said.prometheus,
        })
    }

    /// The forwarder's control socket.
    pub fn forwarder_socket(&self) -> PathBuf {
        self.run_dir.join("forwarder.sock")
    }

    /// The tables a restarted forwarder begins with.
    pub fn forwarder_tables(&self) -> PathBuf {
        self.state_dir.join("forwarder.json")
    }
}

/// `kc-forwarder` beside our own program, else left to `PATH`.
fn beside_us() -> PathBuf {
    std::env::current_exe()
        .ok()
        .map(|exe| exe.with_file_name("kc-forwarder"))
        .filter(|path| path.exists())
        .unwrap_or_else(|| "kc-forwarder".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    fn read(text: &str) -> Result<Overrides, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        Overrides::read(&path, true)
    }

    #[test]
    fn a_flag_wins_over_the_file_and_labels_add_up() {
        let file =
            read("node = \"a\"\nbroker = \"b:1\"\n[labels]\nzone = \"x\"\narm = \"no\"\n").unwrap();
        let flags = Overrides {
            node: Some(NodeName::new("c").unwrap()),
            labels: BTreeMap::from([("zone".into(), "y".into())]),
            ..Overrides::default()
        };
        let said = flags.over(file);
        assert_eq!(said.node.unwrap().as_str(), "c");
        assert_eq!(said.broker.unwrap().to_string(), "b:1");
        assert_eq!(said.labels["zone"], "y");
        assert_eq!(said.labels["arm"], "no");
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let error = read("node = \"a\"\nbrokr = \"b:1\"\n").unwrap_err();
        let source = error.source().unwrap().to_string();
        assert!(
            source.contains("line 2") && source.contains("brokr"),
            "{source}"
        );
    }

    #[test]
    fn a_bad_value_is_refused_with_what_would_be_right() {
        for (text, right) in [
            ("broker = \"nowhere\"", "HOST:PORT"),
            ("node = \"Not A Name\"", "a-z 0-9 -"),
            ("docker = \"tcp://1.2.3.4\"", "unix:///"),
            (
                "[home-assistant]\nprefix = \"a/#\"",
                "such as homeassistant",
            ),
            ("[home-assistant]\nprefx = \"a\"", "expected `prefix`"),
            ("[prometheus]\nlisten = \"9273\"", "such as 127.0.0.1:9273"),
            ("[prometheus]", "missing field `listen`"),
        ] {
            let error = read(text).unwrap_err();
            let source = error.source().unwrap().to_string();
            assert!(source.contains(right), "{source}");
        }
    }

    #[test]
    fn readings_are_rendered_only_for_those_who_are_named() {
        assert_eq!(read("").unwrap(), Overrides::default());
        let said = read("[home-assistant]\n[prometheus]\nlisten = \"127.0.0.1:9273\"").unwrap();
        assert_eq!(said.home_assistant, Some(HomeAssistant::default()));
        assert_eq!(said.prometheus.unwrap().listen.0.port(), 9273);
    }

    #[test]
    fn only_a_file_that_was_asked_for_must_exist() {
        let read = |asked| Overrides::read(Path::new("/nonexistent/agent.toml"), asked);
        assert!(read(true).is_err());
        assert_eq!(read(false).unwrap(), Overrides::default());
    }

    #[test]
    fn a_broker_may_have_an_ipv6_address() {
        let broker: Broker = "[fd00::1]:1883".parse().unwrap();
        assert_eq!((broker.host.as_str(), broker.port), ("fd00::1", 1883));
    }
}
