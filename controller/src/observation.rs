//! What is known of the boxes right now, with the controller's own receipt times. Lives in
//! memory only; whether a node is there is decided from it and `now`, never from a box's clock.

use crate::latency::{Latency, Smoothed};
use crate::plan::Settings;
use crate::shared::Shared;
use crate::traffic::Tally;
use kc_agent_api::{ContainerState, LoadReport, NodeName, NodeState, NodeStatus, Presence};
use kc_forwarder_api::{HealthState, PortName, PortState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything observed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observations {
    /// When the controller's own connection to the broker came up; `None` while it is down.
    /// While it is down nothing can be held against a node.
    pub link_up_since_ms: Option<u64>,
    /// How far the wall clock is ahead of the planner's.
    #[serde(default)]
    pub wall_ahead_ms: i64,
    /// Nodes that were heard of since the controller started.
    pub nodes: BTreeMap<NodeName, Shared<NodeObservation>>,
}

/// What one node said last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeObservation {
    /// Presence, and when it was received.
    pub status: Option<Received<NodeStatus>>,
    /// Observed state, and when it was received.
    pub state: Option<Received<NodeState>>,
    /// Load, and when it was received.
    pub load: Option<Received<LoadReport>>,
    /// By interface: bits per second that it has sent between the last two samples.
    #[serde(default)]
    pub sent_bits: BTreeMap<String, u64>,
    /// What its forwarder has looked up lately.
    #[serde(default)]
    pub traffic: Tally,
    /// How long its tunnels take, by the node that they lead to: of those that answer.
    #[serde(default)]
    pub latencies: BTreeMap<String, Smoothed>,
    /// When the node itself last said anything.
    pub heard_ms: Option<u64>,
}

impl NodeObservation {
    /// CPU load of a container in percent of its limit, and whether the sample is older than
    /// `max_age_ms`; `None` when there never was one.
    pub fn container_load(&self, name: &str, max_age_ms: u64, now_ms: u64) -> Option<(f32, bool)> {
        let load = self.load.as_ref()?;
        let container = load.report.containers.iter().find(|c| c.name == name)?;
        let stale = now_ms.saturating_sub(load.at_ms) > max_age_ms;
        let percent = container.cpu_percent;
        percent.is_finite().then_some((percent, stale))
    }
}

/// A report and when it was received.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Received<T> {
    /// Milliseconds by the controller's clock.
    pub at_ms: u64,
    /// The report.
    pub report: T,
}

/// Whether a node can be counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presumption {
    /// It speaks; it will be doubted at this time unless it speaks again.
    Present {
        /// When it will be doubted.
        until_ms: u64,
    },
    /// Nothing can be said before this time: believe what was believed before.
    Undecided {
        /// When it can; `None` while our own connection is down.
        until_ms: Option<u64>,
    },
    /// It is gone.
    Gone(Absence),
}

/// Why a node counts as gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// Its agent, or the broker in its name, said offline.
    Offline,
    /// It stopped speaking.
    Silent,
}

impl Absence {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "went offline",
            Self::Silent => "stopped reporting",
        }
    }
}

impl Observations {
    /// Our connection to the broker is up.
    pub const fn link_up(&mut self, now_ms: u64) {
        self.link_up_since_ms = Some(now_ms);
    }

    /// Our connection to the broker is down.
    pub const fn link_down(&mut self) {
        self.link_up_since_ms = None;
    }

    /// Whether a box, or the broker in its name, has said that it is offline.
    pub fn is_offline(&self, node: &NodeName) -> bool {
        let status = self.nodes.get(node).and_then(|node| node.status.as_ref());
        status.is_some_and(|status| status.report.presence == Presence::Offline)
    }

    /// Takes up a status. A last will of an earlier session of the same boot is ignored.
    pub fn status(&mut self, status: NodeStatus, now_ms: u64) {
        let node = self.nodes.entry(status.node.clone()).or_default();
        let late = node.status.as_ref().is_some_and(|known| {
            status.presence == Presence::Offline
                && known.report.boot == status.boot
                && known.report.session > status.session
        });
        if late {
            return;
        }
        let rebooted = node
            .status
            .as_ref()
            .is_some_and(|known| known.report.boot != status.boot);
        if rebooted {
            // What ran before the reboot says nothing about now.
            node.state = None;
        }
        if status.presence == Presence::Online {
            node.heard_ms = Some(now_ms);
        }
        let repeated = node
            .status
            .as_ref()
            .is_some_and(|known| known.report == status && status.presence == Presence::Offline);
        if !repeated {
            node.status = Some(Received {
                at_ms: now_ms,
                report: status,
            });
        }
    }

    /// Takes up an observed state. `retained` ones are old news and no sign of life.
    pub fn state(&mut self, name: &NodeName, state: NodeState, retained: bool, now_ms: u64) {
        let node = self.nodes.entry(name.clone()).or_default();
        node.state = Some(Received {
            at_ms: now_ms,
            report: state,
        });
        if !retained {
            node.heard_ms = Some(now_ms);
        }
    }

    /// Takes up a load sample.
    pub fn load(&mut self, name: &NodeName, load: LoadReport, now_ms: u64) {
        let node = self.nodes.entry(name.clone()).or_default();
        let before = node.load.as_ref().map(|load| &load.report);
        if before.is_none_or(|before| before.at != load.at) {
            node.sent_bits = sent_bits(before, &load);
            let former = std::mem::take(&mut node.latencies);
            node.latencies = load
                .round_trips
                .iter()
                .map(|told| {
                    let known = former.get(told.tunnel.as_str()).copied();
                    let mut link = known.unwrap_or_else(|| Smoothed::new(told.rtt_us));
                    link.take(told.rtt_us);
                    (told.tunnel.to_string(), link)
                })
                .collect();
        }
        node.traffic.push(now_ms, &load.paths);
        node.load = Some(Received {
            at_ms: now_ms,
            report: load,
        });
        node.heard_ms = Some(now_ms);
    }

    /// Takes up any other sign of life.
    pub fn heard(&mut self, name: &NodeName, now_ms: u64) {
        self.nodes.entry(name.clone()).or_default().heard_ms = Some(now_ms);
    }

    /// How long the link between two boxes takes one way, by what both of them measure.
    pub fn latency(&self, a: &NodeName, b: &NodeName) -> Option<Latency> {
        let told = |from: &NodeName, to: &NodeName| {
            let link = self.nodes.get(from)?.latencies.get(to.as_str())?;
            Some(link.told())
        };
        match (told(a, b), told(b, a)) {
            (Some(there), Some(back)) => {
                let sum = there.tenths().saturating_add(back.tenths());
                Some(Latency::from_tenths(sum.div_ceil(2)))
            }
            (one, other) => one.or(other),
        }
    }

    /// Whether `name` can be counted on at `now_ms`.
    pub fn presumption(&self, name: &NodeName, settings: &Settings, now_ms: u64) -> Presumption {
        let Some(up) = self.link_up_since_ms else {
            return Presumption::Undecided { until_ms: None };
        };
        let settled = up.saturating_add(settings.reconnect_grace_ms);
        let node = self.nodes.get(name);
        let heard = node.and_then(|node| node.heard_ms).filter(|&at| at >= up);
        let offline = node
            .and_then(|node| node.status.as_ref())
            .filter(|status| status.report.presence == Presence::Offline);
        let doubt = |gone: u64, absence| {
            if now_ms >= gone {
                Presumption::Gone(absence)
            } else {
                Presumption::Undecided {
                    until_ms: Some(gone),
                }
            }
        };
        match (offline, heard) {
            // A word of an agent that was here in this connection counts after a short grace,
            // so that an agent may be restarted; one that was not may still be on its way back.
            (Some(status), Some(_)) => doubt(
                status.at_ms.saturating_add(settings.offline_grace_ms),
                Absence::Offline,
            ),
            (Some(_), None) => doubt(settled, Absence::Offline),
            (None, Some(at)) => {
                let until_ms = at.saturating_add(settings.heartbeat_timeout_ms);
                if now_ms < until_ms {
                    Presumption::Present { until_ms }
                } else {
                    Presumption::Gone(Absence::Silent)
                }
            }
            (None, None) => doubt(settled, Absence::Silent),
        }
    }

    /// Generation of the document `node` has taken up; 0 while none is known.
    pub fn taken_up(&self, node: &NodeName) -> u64 {
        let node = self.nodes.get(node).and_then(|node| node.state.as_ref());
        node.map_or(0, |state| state.report.spec_generation)
    }

    /// What `node` says of its container `name`.
    pub fn container(&self, node: &NodeName, name: &str) -> Option<&ContainerState> {
        let state = &self.nodes.get(node)?.state.as_ref()?.report;
        state.containers.iter().find(|c| c.name == name)
    }

    /// The wall clock at a planner's time, milliseconds since 1970.
    pub const fn wall(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.wall_ahead_ms)
    }

    /// How a port of a node's forwarder is, as far as it is known.
    pub fn port(&self, node: &NodeName, port: &PortName) -> Option<PortState> {
        let state = &self.nodes.get(node)?.state.as_ref()?.report;
        let port = state.ports.iter().find(|one| one.name == *port)?;
        port.state.known().copied()
    }

    /// Whether a function answers by any of the ways into it.
    pub fn answers(&self, node: &NodeName, name: &str) -> HealthState {
        let state = self.nodes.get(node).and_then(|node| node.state.as_ref());
        state.map_or(HealthState::Unknown, |state| answers(&state.report, name))
    }

    /// Bits per second that an interface of a node sends, and whether the sample is older than
    /// `max_age_ms`.
    pub fn sent(
        &self,
        node: &NodeName,
        interface: &str,
        max_age_ms: u64,
        now_ms: u64,
    ) -> Option<(u64, bool)> {
        let node = self.nodes.get(node)?;
        let age_ms = now_ms.saturating_sub(node.load.as_ref()?.at_ms);
        Some((*node.sent_bits.get(interface)?, age_ms > max_age_ms))
    }

    /// Generation of the tables that `node`'s forwarder has in force.
    pub fn acknowledged(&self, node: &NodeName) -> u64 {
        self.nodes
            .get(node)
            .and_then(|node| node.state.as_ref())
            .map_or(0, |state| state.report.forwarder_generation)
    }
}

/// By interface of the box: bits per second sent from one sample to the next.
fn sent_bits(before: Option<&LoadReport>, now: &LoadReport) -> BTreeMap<String, u64> {
    let before = before.filter(|before| before.at.boot == now.at.boot);
    let Some(before) = before else {
        return BTreeMap::new();
    };
    let passed_ms = now.at.mono_ms.saturating_sub(before.at.mono_ms);
    let interfaces = now.machine.networks.iter();
    let rates = interfaces.filter_map(|interface| {
        let mut former = before.machine.networks.iter();
        let former = former.find(|former| former.name == interface.name)?;
        let bytes = interface.tx_bytes.checked_sub(former.tx_bytes)?;
        let rate = bytes.saturating_mul(8_000).checked_div(passed_ms)?;
        Some((interface.name.clone(), rate))
    });
    rates.collect()
}

/// Whether an instance answers in any of its ways, as a box says.
pub(crate) fn answers(said: &NodeState, name: &str) -> HealthState {
    let mut best = HealthState::Unknown;
    for (way, health) in &said.functions {
        let rest = way.as_str().strip_prefix(name);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
            match health {
                HealthState::Alive => return HealthState::Alive,
                HealthState::Dead => best = HealthState::Dead,
                HealthState::Unknown => {}
            }
        }
    }
    best
}
