//! Watches what resources want to be alarmed about: who is measured, and how each stands.

use super::State;
use super::draft::Draft;
use super::{Instance, PlanEventKind, hardware_load, instances};
use crate::alarm::{AlarmReport, AlarmSpec, Metric, Of, Standing, SubjectReport};
use crate::resource::{Kind, Resource, ResourceId};
use crate::traffic;
use kc_agent_api::{BoxLoad, ContainerLoad, LoadReport, NodeName};
use kc_forwarder_api::{HealthState, Si, TunnelName};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The subject of an alarm over the mean.
const AVERAGE: &str = "average";

/// One alarm and those it watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlarmRecord {
    /// Whose alarm it is.
    pub owner: ResourceId,
    /// What it is.
    pub spec: AlarmSpec,
    /// Subjects that are not ok.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub subjects: BTreeMap<String, Subject>,
}

/// How a subject stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Pending or firing.
    #[serde(flatten)]
    pub standing: Standing,
    /// What was measured when it came to that.
    pub value: f32,
}

impl AlarmRecord {
    /// The worst of all subjects.
    pub fn worst(&self) -> Standing {
        let standings = self.subjects.values().map(|subject| subject.standing);
        standings.fold(Standing::Ok, Standing::worse)
    }

    fn report(&self, name: &str) -> AlarmReport {
        let subjects = self.subjects.iter();
        let subjects = subjects
            .filter_map(|(name, s)| SubjectReport::new(name, s.standing, s.value))
            .collect();
        let (owner, when) = (self.owner.to_string(), self.spec.when.to_string());
        let (name, worst) = (name.to_owned(), self.worst());
        AlarmReport::new(name, owner, self.spec.severity, when, worst, subjects)
    }
}

impl State {
    /// Every alarm as it stands, in name order.
    pub fn alarm_reports(&self) -> impl Iterator<Item = AlarmReport> {
        self.alarms.iter().map(|(name, record)| record.report(name))
    }

    /// Every alarm, and the webhooks that are told of it.
    pub fn alarm_notices(&self) -> impl Iterator<Item = (AlarmReport, &[String])> {
        let alarms = self.alarms.iter();
        alarms.map(|(name, record)| (record.report(name), record.spec.notify.as_slice()))
    }
}

/// Measures everything anew.
pub(super) fn evaluate(draft: &mut Draft<'_>) {
    let mut former = std::mem::take(&mut draft.state.alarms);
    for (owner, spec) in wanted(&draft.state) {
        let name = format!("{}.{}.{}", owner.kind, owner.name, spec.name).to_lowercase();
        let before = former.remove(&name).map(|record| record.subjects);
        let before = before.unwrap_or_default();
        let mut subjects = BTreeMap::new();
        // Of most subjects there is nothing to say.
        let step = |(subject, value): (Cow<'_, str>, Option<f32>)| {
            let known = before.get(&*subject).copied();
            let standing = known.map_or(Standing::Ok, |known| known.standing);
            let (next, wake) = spec.step(standing, value, draft.now_ms);
            let is_calm = known.is_none() && next == Standing::Ok;
            (!is_calm).then(|| (subject.into_owned(), value, known, next, wake))
        };
        let measured = measured(draft, &owner, &spec).into_iter();
        for (subject, value, known, next, wake) in measured.filter_map(step).collect::<Vec<_>>() {
            let standing = known.map_or(Standing::Ok, |known| known.standing);
            if let Some(at_ms) = wake {
                draft.wake(at_ms);
            }
            let value = match known {
                Some(known) if known.standing.word() == next.word() => known.value,
                _ => value.unwrap_or_default(),
            };
            tell(
                draft,
                &name,
                &owner,
                &spec,
                (&subject, value),
                (standing, next),
            );
            if next != Standing::Ok {
                let standing = next;
                subjects.insert(subject, Subject { standing, value });
            }
        }
        let record = AlarmRecord {
            owner,
            spec,
            subjects,
        };
        draft.state.alarms.insert(name, record);
    }
}

/// All alarms of all resources.
fn wanted(state: &State) -> Vec<(ResourceId, AlarmSpec)> {
    let alarms = state.resources.iter().flat_map(|(id, resource)| {
        let alarms: &[AlarmSpec] = match resource {
            Resource::ServiceFunction(object) => &object.spec.alarms,
            Resource::Service(object) => &object.spec.alarms,
            Resource::Node(object) => &object.spec.alarms,
            Resource::Chain(object) => &object.spec.alarms,
            Resource::Secret(_) => &[],
        };
        alarms.iter().map(|alarm| (id.clone(), alarm.clone()))
    });
    alarms.collect()
}

/// Subjects of an alarm with what is measured; `None` where nothing recent is.
fn measured<'a>(
    draft: &'a Draft<'_>,
    owner: &'a ResourceId,
    spec: &AlarmSpec,
) -> Vec<(Cow<'a, str>, Option<f32>)> {
    let metric = spec.when.metric;
    match owner.kind {
        Kind::Node if metric.of_chains() => {
            let tunnels = of_tunnels(draft, owner, metric).into_iter();
            return tunnels.map(|(name, value)| (name.into(), value)).collect();
        }
        Kind::Node => {
            let node = NodeName::new(owner.name.as_str()).ok();
            let load = node.and_then(|node| recent(draft, &node));
            let value = load.and_then(|load| of_box(metric, &load.machine));
            return vec![(owner.name.as_str().into(), value)];
        }
        Kind::Chain => {
            let value = match metric {
                Metric::Latency => takes(draft, owner),
                _ => loses(draft, owner),
            };
            return vec![(owner.name.as_str().into(), value)];
        }
        _ => {}
    }
    let instances = instances::of(draft, owner).filter_map(|(name, instance)| {
        instance.node.as_ref()?;
        Some((name.as_str().into(), measure(draft, name, instance, metric)))
    });
    match spec.of {
        Of::Any => instances.collect(),
        Of::Average => {
            let values: Vec<f32> = instances.filter_map(|(_, value)| value).collect();
            let count = f32::from(u16::try_from(values.len()).unwrap_or(u16::MAX));
            let mean = (!values.is_empty()).then(|| values.iter().sum::<f32>() / count);
            vec![(AVERAGE.into(), mean)]
        }
    }
}

/// A node's load, unless it is too old to say anything.
fn recent<'a>(draft: &'a Draft<'_>, node: &NodeName) -> Option<&'a LoadReport> {
    let load = draft.seen(node)?.load.as_ref()?;
    let age_ms = draft.now_ms.saturating_sub(load.at_ms);
    (age_ms <= draft.state.settings.load_max_age_ms).then_some(&load.report)
}

/// What a metric of an instance is at present.
pub(super) fn measure(
    draft: &Draft<'_>,
    name: &str,
    instance: &Instance,
    metric: Metric,
) -> Option<f32> {
    if instance.hardware.is_some() {
        let load = hardware_load(&draft.state, draft.observed, draft.now_ms, name, instance);
        let (load, _) = load.filter(|(_, stale)| !stale && metric == Metric::Cpu)?;
        return Some(load);
    }
    let load = recent(draft, instance.node.as_ref()?)?;
    let own = load.containers.iter().find(|own| own.name == name);
    of_container(metric, own?)
}

fn percent(part: u64, whole: u64) -> Option<f32> {
    let thousandths = u128::from(part) * 100_000 / u128::from(Some(whole).filter(|w| *w > 0)?);
    let thousandths = u32::try_from(thousandths).ok()?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "seven digits of a percentage are enough"
    )]
    Some(thousandths as f32 / 1000.0)
}

fn of_container(metric: Metric, load: &ContainerLoad) -> Option<f32> {
    match metric {
        Metric::Cpu => Some(load.cpu_percent),
        Metric::Memory => percent(load.memory_bytes, load.memory_limit_bytes?),
        Metric::Disk | Metric::Temperature | Metric::Loss | Metric::Latency => None,
    }
}

fn of_box(metric: Metric, load: &BoxLoad) -> Option<f32> {
    match metric {
        Metric::Cpu => Some(load.cpu_percent),
        Metric::Memory => percent(load.memory_used_bytes, load.memory_total_bytes),
        Metric::Disk => percent(load.disk_used_bytes, load.disk_total_bytes),
        Metric::Temperature => load.temperature_c,
        Metric::Loss | Metric::Latency => None,
    }
}

/// How a box's tunnels are: whether their other ends answer, so that all is lost or nothing, or how
/// long they take.
fn of_tunnels(draft: &Draft<'_>, owner: &ResourceId, metric: Metric) -> Vec<(String, Option<f32>)> {
    let node = NodeName::new(owner.name.as_str()).ok();
    let Some(node) = node.filter(|node| draft.is_ready(node)) else {
        return Vec::new();
    };
    let seen = draft.observed.nodes.get(&node);
    let state = seen.and_then(|seen| seen.state.as_ref());
    let tunnels = state.into_iter().flat_map(|state| &state.report.tunnels);
    let value = |name: &TunnelName, health: HealthState| match (metric, health) {
        (Metric::Latency, HealthState::Alive) => {
            link(draft, &node, &NodeName::new(name.as_str()).ok()?)
        }
        (Metric::Loss, HealthState::Alive) => Some(0.0),
        (Metric::Loss, HealthState::Dead) => Some(100.0),
        _ => None,
    };
    tunnels
        .map(|(name, health)| (format!("{node}->{name}"), value(name, *health)))
        .collect()
}

/// Milliseconds one way between two boxes.
fn link(draft: &Draft<'_>, from: &NodeName, to: &NodeName) -> Option<f32> {
    let tenths = draft.observed.latency(from, to)?.tenths();
    Some(f32::from(u16::try_from(tenths).unwrap_or(u16::MAX)) / 10.0)
}

/// How long the links of a chain's path take one way; what its functions take is not known.
fn takes(draft: &Draft<'_>, owner: &ResourceId) -> Option<f32> {
    let path = draft.state.chains.get(&owner.name)?.carrying()?;
    let legs = path.route.iter().flat_map(|leg| leg.windows(2));
    let links = legs.map(|pair| match pair {
        [from, to] => link(draft, from, to),
        _ => Some(0.0),
    });
    links.sum()
}

/// What a chain loses between its ends, by the path that carries it.
fn loses(draft: &Draft<'_>, owner: &ResourceId) -> Option<f32> {
    let path = draft.state.chains.get(&owner.name)?.carrying()?;
    let stops = u8::try_from(path.route.len()).ok()?.checked_sub(1)?;
    let last = Si::new(Si::MAX.get().checked_sub(stops)?).ok()?;
    let seen = |node: &NodeName| Some(&draft.observed.nodes.get(node)?.traffic);
    let (from, to) = (seen(&path.spec.from.node)?, seen(&path.spec.to.node)?);
    traffic::loss(path.forward, (from, Si::MAX), (to, last))
}

/// Tells when an alarm begins or ends.
fn tell(
    draft: &mut Draft<'_>,
    name: &str,
    owner: &ResourceId,
    spec: &AlarmSpec,
    (subject, value): (&str, f32),
    (before, after): (Standing, Standing),
) {
    if before.is_firing() == after.is_firing() {
        return;
    }
    let metric = spec.when.metric;
    let measure = format!(
        "{} of {subject} is {value:.0}{}",
        metric.as_str(),
        metric.unit()
    );
    let (kind, message) = match after.is_firing() {
        true => (
            PlanEventKind::AlarmFiring,
            format!("alarm {name}: {measure} ({})", spec.when),
        ),
        false => (
            PlanEventKind::AlarmCleared,
            format!("alarm {name} is over: {measure}"),
        ),
    };
    draft.tell(kind, owner, None, message);
}
