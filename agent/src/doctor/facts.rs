//! What was read of a box, before anybody judges it. Texts are those of the kernel's files as
//! they are; `None` is a file that is not there, or may not be read.

use kc_agent_api::ControllerStatus;
use kc_forwarder_api::{Status, Tables, TunnelName};
use kc_mqtt::ProbeError;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// All of it.
#[derive(Debug)]
pub struct Facts {
    /// Why the agent's settings cannot be read, when they cannot.
    pub unread: Option<String>,
    /// The machine and its kernel.
    pub machine: Machine,
    /// Its clock.
    pub clock: Clock,
    /// The Docker engine.
    pub engine: Engine,
    /// SD cards and eMMC.
    pub cards: Vec<Card>,
    /// Where agent and engine write.
    pub disks: Vec<Disk>,
    /// ext4 file systems by device, and the errors each has counted.
    pub file_system_errors: Vec<(String, u64)>,
    /// Agent and forwarder.
    pub processes: Vec<Process>,
    /// Interfaces and switches of the network.
    pub network: Network,
    /// The MQTT broker.
    pub broker: Broker,
    /// What the controller said of itself last, if the broker keeps that.
    pub controller: Option<ControllerStatus>,
    /// The forwarder.
    pub forwarder: Forwarder,
}

/// The machine and its kernel.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// `/proc/device-tree/model`; PCs have none.
    pub model: Option<String>,
    /// `/sys/fs/cgroup/cgroup.controllers`, on cgroup v2.
    pub controllers: Option<String>,
    /// `/proc/cgroups`.
    pub cgroups: Option<String>,
    /// The Pi firmware's `get_throttled`.
    pub get_throttled: Option<String>,
    /// `in0_lcrit_alarm` of the hwmon `rpi_volt`, with kernels that have no `get_throttled`.
    pub voltage_alarm: Option<String>,
    /// `thermal_throttle/package_throttle_count` of the first core, on Intel.
    pub throttle_count: Option<String>,
}

/// The clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Since 1970, by the clock itself.
    pub now: Duration,
    /// Whether the kernel counts it as synchronised.
    pub synchronised: Option<bool>,
    /// Whether it goes on while the power is off.
    pub rtc: bool,
}

/// The Docker engine.
#[derive(Debug)]
pub enum Engine {
    /// It answers.
    Answers {
        /// Its version, such as `20.10.24`.
        version: String,
        /// The API spoken with it, such as `1.41`.
        api: (usize, usize),
    },
    /// Its socket cannot be connected.
    NoSocket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It takes the connection and does not answer as an engine does.
    Fails {
        /// The socket.
        path: PathBuf,
        /// What comes of it.
        why: String,
    },
}

/// An SD card or an eMMC.
#[derive(Debug, Clone, Default)]
pub struct Card {
    /// Such as `mmcblk0`.
    pub device: String,
    /// `SD` or `MMC`.
    pub kind: Option<String>,
    /// The maker's name for it.
    pub name: Option<String>,
    /// Share of its life gone, twice, in tenths: `0x01 0x02`. Only eMMC tells.
    pub life_time: Option<String>,
    /// State of its spare blocks, `0x01` to `0x03`.
    pub pre_eol_info: Option<String>,
    /// `/sys/block/…/stat`.
    pub stat: Option<String>,
    /// `/sys/block/…/size`: sectors of 512 bytes.
    pub size: Option<String>,
    /// Seconds since boot.
    pub uptime_s: Option<u64>,
}

/// A place that is written to.
#[derive(Debug, Clone)]
pub struct Disk {
    /// One word for it.
    pub what: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Bytes in use and bytes altogether of its file system.
    pub space: Option<(u64, u64)>,
    /// `/proc/self/mounts`.
    pub mounts: Option<String>,
}

/// Which process was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// A running agent.
    Agent,
    /// A running forwarder.
    Forwarder,
    /// The command that asks, because no agent runs.
    Asker,
}

/// A process and what it may do.
#[derive(Debug, Clone)]
pub struct Process {
    /// Which one.
    pub runner: Runner,
    /// `/proc/<pid>/status`.
    pub status: Option<String>,
}

/// Interfaces and switches of the network.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Our tunnel end.
    pub address: Option<IpAddr>,
    /// The interface that has this address, its MTU in bytes, and whether it is up.
    pub interface: Option<(String, u32, bool)>,
    /// MTU that tunnels are made for, when somebody fixed it or tables tell.
    pub wanted_mtu: Option<u16>,
    /// Interfaces with a gateway or the tunnel end: ways by which tunnels may come in.
    pub ways: usize,
    /// `net.ipv4.ip_forward`.
    pub ip_forward: Option<String>,
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter_all: Option<String>,
    /// The same of the interface.
    pub rp_filter: Option<String>,
}

/// The broker.
#[derive(Debug)]
pub enum Broker {
    /// Nobody knows which one it is.
    NotAsked,
    /// What came of connecting.
    Asked {
        /// `HOST:PORT`.
        address: String,
        /// Whether user and password were given.
        credentials: bool,
        /// How long it took, or why it failed.
        outcome: Result<Duration, ProbeError>,
    },
}

/// The forwarder.
#[derive(Debug)]
pub enum Forwarder {
    /// It answers.
    Answers {
        /// How it is.
        status: Box<Status>,
        /// Its tables.
        tables: Box<Tables>,
        /// Echoes of two lengths by tunnels that a path leads through.
        echoes: Vec<Echo>,
    },
    /// Nobody listens on its socket.
    Absent {
        /// The socket.
        socket: PathBuf,
        /// The program that would be started.
        program: PathBuf,
        /// Whether it is there.
        installed: bool,
    },
    /// It may not be asked, or does not answer.
    Fails {
        /// What comes of it.
        why: String,
    },
}

/// Two echoes to the next SFF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Echo {
    /// By this tunnel.
    pub tunnel: TunnelName,
    /// Octets of the long one's outer IP packet: the underlay's MTU, or just below.
    pub outer: u16,
    /// Whether the long one was answered.
    pub long: bool,
    /// Whether the short one was.
    pub short: bool,
}
