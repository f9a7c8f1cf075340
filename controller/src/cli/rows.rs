//! Each view as a row: which columns there are, and how people read them.

use super::human;
use super::kind::Kind;
use super::table::Column;
use crate::alarm::AlarmReport;
use crate::store::StoredEvent;
use crate::views::{
    ChainView, FunctionView, InstanceView, NodeView, PathView, SecretView, ServiceView,
    StackOutputView, StackView,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What can stand in a list.
pub(super) trait Listed: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: Kind;
    /// Its columns.
    const COLUMNS: &'static [Column];
    /// What it is called.
    fn name(&self) -> String;
    /// A cell for each column.
    fn row(&self, now_ms: u64) -> Vec<String>;
}

fn text<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(String::new, T::to_string)
}

fn since(value: Option<u64>, now_ms: u64) -> String {
    value.map_or_else(String::new, |ms| human::age(ms, now_ms))
}

impl Listed for AlarmReport {
    const KIND: Kind = Kind::Alarms;
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("STATE"),
        Column::new("SINCE").drifts(),
        Column::new("SEVERITY"),
        Column::new("WHEN"),
        Column::new("SUBJECTS"),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn row(&self, now_ms: u64) -> Vec<String> {
        let subjects = self.subjects.iter();
        let subjects: Vec<_> = subjects
            .map(|s| format!("{} {:.0}", s.name, s.value))
            .collect();
        vec![
            self.name.clone(),
            self.state.clone(),
            since(self.since_ms, now_ms),
            self.severity.clone(),
            self.when.clone(),
            subjects.join(", "),
        ]
    }
}

impl Listed for NodeView {
    const KIND: Kind = Kind::Nodes;
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("STATUS"),
        Column::new("SINCE").drifts(),
        Column::new("ARCH"),
        Column::new("CPU").drifts(),
        Column::new("MEMORY").drifts(),
        Column::new("TEMP").drifts(),
        Column::new("CONTAINERS"),
        Column::new("VERSION"),
        Column::new("VTEP").wide(),
        Column::new("MTU").wide(),
        Column::new("ENGINE").wide(),
        Column::new("DISK").wide().drifts(),
        Column::new("UPTIME").wide().drifts(),
        Column::new("GENERATION").wide(),
        Column::new("LABELS").wide(),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn row(&self, now_ms: u64) -> Vec<String> {
        let share = |used: Option<u64>, total: Option<u64>| match (used, total) {
            (Some(used), Some(total)) => {
                format!("{}/{}", human::bytes(used), human::bytes(total))
            }
            _ => String::new(),
        };
        let cpu = match (self.cpu_percent, self.cpu_millis) {
            (Some(percent), Some(millis)) => {
                format!("{} of {}", human::percent(percent), human::cores(millis))
            }
            (None, Some(millis)) => format!("- of {}", human::cores(millis)),
            _ => String::new(),
        };
        let temperature = match (self.temperature_c, self.throttled) {
            (Some(degrees), Some(true)) => format!("{degrees:.0}C throttled"),
            (Some(degrees), _) => format!("{degrees:.0}C"),
            (None, Some(true)) => "throttled".to_owned(),
            (None, _) => String::new(),
        };
        vec![
            self.name.clone(),
            status(self),
            since(self.since_ms, now_ms),
            text(&self.arch),
            cpu,
            share(self.memory_used_bytes, self.memory_total_bytes),
            temperature,
            format!("{}/{}", self.containers_running, self.containers_wanted),
            text(&self.version),
            text(&self.vtep),
            text(&self.underlay_mtu),
            text(&self.engine),
            share(self.disk_used_bytes, self.disk_total_bytes),
            self.uptime_s.map_or_else(String::new, human::duration),
            format!("{}/{}", self.acknowledged, self.generation),
            labels(self),
        ]
    }
}

/// `Ready`, with what else is to be known of it.
pub(super) fn status(node: &NodeView) -> String {
    let mut status = node.condition.to_string();
    if node.draining {
        status.push_str(",draining");
    } else if node.cordoned {
        status.push_str(",cordoned");
    }
    unanswered(status, &node.dead)
}

/// A status, and what does not answer.
fn unanswered(mut status: String, dead: &[String]) -> String {
    if !dead.is_empty() {
        status.push_str(", no answer: ");
        status.push_str(&dead.join(", "));
    }
    status
}

fn labels(node: &NodeView) -> String {
    let pairs: Vec<String> = node
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    pairs.join(",")
}

impl Listed for FunctionView {
    const KIND: Kind = Kind::Functions;
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("TYPE"),
        Column::new("READY"),
        Column::new("ATTACHMENT"),
        Column::new("CHAINS"),
        Column::new("UPDATE"),
        Column::new("IMAGE").wide(),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn row(&self, _: u64) -> Vec<String> {
        vec![
            self.name.clone(),
            self.kind.clone(),
            format!("{}/{}", self.ready, self.replicas),
            self.attachment.clone(),
            self.chains.join(","),
            text(&self.update),
            self.image.clone(),
        ]
    }
}

impl Listed for ChainView {
    const KIND: Kind = Kind::Chains;
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("STATE"),
        Column::new("PATH"),
        Column::new("SPI"),
        Column::new("PACKETS"),
        Column::new("SINCE").drifts(),
        Column::new("RETURN-SPI").wide(),
        Column::new("BYTES").wide(),
        Column::new("SCHEDULER").wide(),
        Column::new("FROM").wide(),
        Column::new("TO").wide(),
        Column::new("REASON").wide(),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn row(&self, now_ms: u64) -> Vec<String> {
        vec![
            self.name.clone(),
            unanswered(self.state.clone(), &self.dead),
            places(self),
            text(&self.spi),
            self.packets.to_string(),
            since(self.since_ms, now_ms),
            text(&self.return_spi),
            human::bytes(self.bytes),
            self.scheduler.clone(),
            self.from.clone(),
            self.to.clone(),
            text(&self.reason),
        ]
    }
}

/// The instances on a chain's path, each with the others of its cluster: `a@box1+b@box2 -> c@box3`.
fn places(chain: &ChainView) -> String {
    let place = |(place, first): (usize, &String)| {
        let members = chain.members.iter().filter(|one| one.place == place);
        let members = members.map(|one| format!("{}@{}", one.name, one.node));
        let others = members.filter(|one| one != first);
        let all: Vec<_> = std::iter::once(first.clone()).chain(others).collect();
        all.join("+")
    };
    let all = chain.path.iter().enumerate().map(place);
    all.collect::<Vec<_>>().join(" -> ")
}

impl Listed for ServiceView {
    const KIND: Kind = Kind::Services;
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("READY"),
        Column::new("NETWORK"),
        Column::new("ADDRESS"),
        Column::new("PORTS"),
        Column::new("ENDPOINTS"),
        Column::new("UPDATE"),
        Column::new("IMAGE").wide(),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn row(&self, _: u64) -> Vec<String> {
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        let endpoints: Vec<String> = self
            .endpoints
            .iter()
            .map(|e| match (&e.address, &e.node) {
                (Some(address), Some(node)) => format!("{address}@{node}"),
                (None, Some(node)) => node.clone(),
                (_, None) => "unplaced".to_owned(),
            })
            .collect();
        vec![
            self.name.clone(),
            format!("{}/{}", self.ready, self.replicas),
            self.network.clone(),
            text(&self.address),
            ports.join(","),
            endpoints.join(","),
            text(&self.update),
            self.image.clone(),
        ]
    }
}

impl Listed for SecretView {
    const KIND: Kind = Kind::Secrets;
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("KEYS"),
        Column::new("USED BY"),
        Column::new("AGE").drifts(),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn row(&self, now_ms: u64) -> Vec<String> {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.name.as_str()).collect();
        vec![
            self.name.clone(),
            keys.join(","),
            self.used_by.join(","),
            since(self.since_ms, now_ms),
        ]
    }
}

impl Listed for StackView {
    const KIND: Kind = Kind::Stacks;
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("READY"),
        Column::new("RESOURCES"),
        Column::new("DESCRIPTION"),
        Column::new("OUTPUTS").wide(),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn row(&self, _: u64) -> Vec<String> {
        let resources = self.resources.iter();
        let resources: Vec<_> = resources
            .map(|r| format!("{}/{}", r.kind, r.name))
            .collect();
        let outputs = self.outputs.iter();
        let outputs: Vec<_> = outputs
            .map(|output| format!("{}={}", output.name, output_text(output)))
            .collect();
        vec![
            self.name.clone(),
            format!("{}/{}", self.ready, self.resources.len()),
            resources.join(", "),
            text(&self.description),
            outputs.join(", "),
        ]
    }
}

/// The value of an output, or what it waits for.
pub(super) fn output_text(output: &StackOutputView) -> String {
    match (&output.value, &output.missing) {
        (Some(serde_json::Value::String(text)), _) => text.clone(),
        (Some(value), _) => value.to_string(),
        (None, Some(missing)) => format!("({missing})"),
        (None, None) => String::new(),
    }
}

impl Listed for InstanceView {
    const KIND: Kind = Kind::Instances;
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("OF"),
        Column::new("NODE"),
        Column::new("PHASE"),
        Column::new("RESTARTS"),
        Column::new("CPU").drifts(),
        Column::new("MEMORY").drifts(),
        Column::new("CHAINS"),
        Column::new("ADDRESS").wide(),
        Column::new("CONTAINER").wide(),
        Column::new("IMAGE").wide(),
        Column::new("REASON").wide(),
    ];

    fn name(&self) -> String {
        self.name.clone()
    }

    fn row(&self, _: u64) -> Vec<String> {
        let memory = match (self.memory_bytes, self.memory_limit_bytes) {
            (Some(used), Some(limit)) => {
                format!("{}/{}", human::bytes(used), human::bytes(limit))
            }
            (Some(used), None) => human::bytes(used),
            _ => String::new(),
        };
        let container = self
            .container
            .as_ref()
            .map_or_else(String::new, |id| id.chars().take(12).collect());
        vec![
            self.name.clone(),
            format!("{}/{}", self.role, self.owner),
            text(&self.node),
            self.phase.clone(),
            self.restarts.to_string(),
            self.cpu_percent.map_or_else(String::new, human::percent),
            memory,
            self.chains.join(","),
            text(&self.address),
            container,
            self.image.clone(),
            text(&self.reason),
        ]
    }
}

impl Listed for PathView {
    const KIND: Kind = Kind::Paths;
    const COLUMNS: &'static [Column] = &[
        Column::new("SPI"),
        Column::new("CHAIN"),
        Column::new("DIRECTION"),
        Column::new("PHASE"),
        Column::new("HOPS"),
        Column::new("PACKETS"),
        Column::new("SINCE").drifts(),
        Column::new("MTU").wide(),
    ];

    fn name(&self) -> String {
        self.spi.to_string()
    }

    fn row(&self, now_ms: u64) -> Vec<String> {
        let hops: Vec<String> = self
            .hops
            .iter()
            .map(|hop| format!("{}[{}]", hop.node, hop.si))
            .collect();
        let first = self.hops.first().and_then(|hop| hop.packets);
        vec![
            self.spi.to_string(),
            self.chain.clone(),
            self.direction.clone(),
            self.phase.clone(),
            hops.join(" -> "),
            text(&first),
            since(self.since_ms, now_ms),
            text(&self.mtu),
        ]
    }
}

impl Listed for StoredEvent {
    const KIND: Kind = Kind::Events;
    const COLUMNS: &'static [Column] = &[
        Column::new("TIME"),
        Column::new("NODE"),
        Column::new("KIND"),
        Column::new("OBJECT"),
        Column::new("MESSAGE"),
    ];

    fn name(&self) -> String {
        self.id.to_string()
    }

    fn row(&self, _: u64) -> Vec<String> {
        vec![
            human::time(self.at_ms),
            text(&self.node),
            self.kind.clone(),
            self.object.clone(),
            self.message.clone(),
        ]
    }
}
