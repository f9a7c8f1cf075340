//! How containers of functions and services are checked, updated and stopped, as users write it.

use super::Period;
use kc_agent_api::{HealthCheck, Probe, UpdatePolicy};
use serde::{Deserialize, Serialize};

/// A health check: one of `http`, `tcp`, `exec`, `image` and `disable`, and its times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct HealthSpec {
    /// A GET that is answered with 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProbe>,
    /// A connection that is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
    /// A command in the container that ends with 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Vec<String>>,
    /// The image's own `HEALTHCHECK`, which is also what counts when nothing is said.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub image: bool,
    /// Nothing, not even what the image brings along.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable: bool,
    /// From the end of one try to the next; 10 s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,
    /// A try that takes longer has failed; 3 s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// Failures in this time after a start do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Period>,
    /// Failures in a row that make it unhealthy; 3 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
    /// Successes in a row that make it healthy; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<u32>,
}

/// Where a GET goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HttpProbe {
    /// TCP port in the container.
    pub port: u16,
    /// Path with its query; `/` when absent.
    #[serde(default = "root")]
    pub path: String,
}

fn root() -> String {
    "/".to_owned()
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TcpProbe {
    /// TCP port in the container.
    pub port: u16,
}

impl HealthSpec {
    /// What is tried, of all that is said; a checked manifest says one.
    pub fn probes(&self) -> Vec<Probe> {
        let http = self
            .http
            .clone()
            .map(|HttpProbe { port, path }| Probe::Http { port, path });
        let tcp = self
            .tcp
            .clone()
            .map(|TcpProbe { port }| Probe::Tcp { port });
        let exec = self.exec.clone().map(|command| Probe::Exec { command });
        let image = self.image.then_some(Probe::Image);
        let none = self.disable.then_some(Probe::None);
        [http, tcp, exec, image, none]
            .into_iter()
            .flatten()
            .collect()
    }

    /// As the agent is told.
    pub fn check(&self) -> Option<HealthCheck> {
        let usual = HealthCheck::new(self.probes().into_iter().next()?);
        let ms = |period: Option<Period>, usual: u32| period.map_or(usual, Period::millis);
        Some(HealthCheck {
            interval_ms: ms(self.interval, usual.interval_ms),
            timeout_ms: ms(self.timeout, usual.timeout_ms),
            start_period_ms: ms(self.start_period, usual.start_period_ms),
            failure_threshold: self.failure_threshold.unwrap_or(usual.failure_threshold),
            success_threshold: self.success_threshold.unwrap_or(usual.success_threshold),
            ..usual
        })
    }
}

/// How a change comes to instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct UpdateSpec {
    /// How long a changed container may take to get healthy; 60 s when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Period>,
    /// Whether what ran before comes back when it does not; yes when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<bool>,
    /// How many are changed at a time; one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<u32>,
    /// How many more there may be meanwhile, none or one; one when absent. It is made where nobody
    /// could stand in for what is changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<u32>,
}

impl UpdateSpec {
    /// What holds where nothing is said.
    pub const USUAL: Self = Self {
        max_surge: None,
        deadline: None,
        rollback: None,
        max_unavailable: None,
    };

    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Self::USUAL
    }

    /// As the agent is told.
    pub fn policy(self) -> UpdatePolicy {
        let usual = UpdatePolicy::default();
        UpdatePolicy {
            deadline_ms: self.deadline.map_or(usual.deadline_ms, Period::millis),
            rollback: self.rollback.unwrap_or(usual.rollback),
        }
    }

    /// Whether there may be one more meanwhile.
    pub fn may_surge(self) -> bool {
        self.max_surge != Some(0)
    }

    /// How many are changed at a time.
    pub fn at_once(self) -> usize {
        let at_once = self.max_unavailable.unwrap_or(1).max(1);
        usize::try_from(at_once).unwrap_or(usize::MAX)
    }
}
