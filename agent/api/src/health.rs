//! How it is known that a container does its work, and what becomes of an update that does not.

use serde::{Deserialize, Serialize};

/// A health check. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HealthCheck {
    /// What is tried.
    pub probe: Probe,
    /// From the end of one try to the next.
    #[serde(default = "HealthCheck::interval")]
    pub interval_ms: u32,
    /// A try that takes longer has failed.
    #[serde(default = "HealthCheck::timeout")]
    pub timeout_ms: u32,
    /// Failures in this time after a start do not count.
    #[serde(default)]
    pub start_period_ms: u32,
    /// Failures in a row that make a container unhealthy.
    #[serde(default = "HealthCheck::failures")]
    pub failure_threshold: u32,
    /// Successes in a row that make it healthy.
    #[serde(default = "HealthCheck::successes")]
    pub success_threshold: u32,
}

impl HealthCheck {
    /// A check with the usual times: every 10 s, 3 s to answer, three failures, one success.
    pub const fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval_ms: Self::interval(),
            timeout_ms: Self::timeout(),
            start_period_ms: 0,
            failure_threshold: Self::failures(),
            success_threshold: Self::successes(),
        }
    }

    const fn interval() -> u32 {
        10_000
    }

    const fn timeout() -> u32 {
        3_000
    }

    const fn failures() -> u32 {
        3
    }

    const fn successes() -> u32 {
        1
    }
}

/// What is tried. Ports are those of the container's own network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// The image's own `HEALTHCHECK`, with the times it brings along.
    Image,
    /// Nothing, not even what the image brings along.
    None,
    /// A GET that is answered with 200 to 399.
    Http {
        /// TCP port.
        port: u16,
        /// Path with its query.
        path: String,
    },
    /// A connection that is taken.
    Tcp {
        /// TCP port.
        port: u16,
    },
    /// A command in the container that ends with 0.
    Exec {
        /// The command and its arguments.
        command: Vec<String>,
    },
}

impl Probe {
    /// Whether the agent itself tries it.
    pub const fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Http { .. } | Self::Tcp { .. } | Self::Exec { .. }
        )
    }
}

/// What becomes of a changed container that does not get healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct UpdatePolicy {
    /// Milliseconds it has, its image being there, before the former one comes back.
    pub deadline_ms: u32,
    /// Whether the former one comes back at all.
    pub rollback: bool,
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self {
            deadline_ms: 60_000,
            rollback: true,
        }
    }
}

impl UpdatePolicy {
    /// How long a container that nobody checks has to run before it counts as good.
    pub const PROOF_MS: u64 = 5_000;

    /// Whether it is what nobody needs to say.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What health checks have found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Not decided since its start.
    Starting,
    /// It does its work.
    Healthy,
    /// It does not.
    Unhealthy,
    /// A word this version does not know.
    #[serde(other)]
    Unknown,
}

impl Health {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
        }
    }
}
