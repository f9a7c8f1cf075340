//! Forwarding in the kernel: whether it is asked for, and what has become of it.

use crate::Word;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether packets of service paths may be forwarded without coming up to user space.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FastPath {
    /// All packets come up.
    #[default]
    Off,
    /// An XDP program forwards what it can, between SFFs and to functions that know NSH.
    Xdp,
}

impl FastPath {
    /// Whether nobody asked for it.
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// The fast path of a running forwarder, where it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FastPathStatus {
    /// Whether packets are forwarded by it at this moment.
    pub state: Word<FastState>,
    /// Why it is in that state; empty where there is nothing to say.
    pub reason: String,
    /// Interfaces that it is, or should be, on.
    pub interfaces: Vec<FastInterface>,
    /// Hops of the tables that the kernel does.
    pub hops: usize,
    /// Hops that are left to user space.
    pub left: Vec<LeftHops>,
}

/// Whether the fast path forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FastState {
    /// Packets are forwarded in the kernel.
    Forwarding,
    /// All packets come up, because somebody wants to see each: a capture or a probe.
    Watched,
    /// All packets come up; the first one wakes it.
    Asleep,
    /// It cannot work here.
    Failed,
}

impl fmt::Display for FastState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forwarding => "forwarding",
            Self::Watched => "watched",
            Self::Asleep => "asleep",
            Self::Failed => "failed",
        })
    }
}

/// The fast path on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FastInterface {
    /// Kernel interface.
    pub interface: String,
    /// How it runs there.
    pub mode: Word<FastMode>,
    /// Why so.
    pub reason: String,
}

/// How the fast path runs on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FastMode {
    /// In the driver.
    Native,
    /// Behind the driver, which costs more.
    Generic,
    /// Not at all: what comes in there goes to user space.
    Off,
}

impl fmt::Display for FastMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Off => "off",
        })
    }
}

/// Hops that are left to user space for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LeftHops {
    /// The reason.
    pub reason: String,
    /// How many.
    pub hops: usize,
}
