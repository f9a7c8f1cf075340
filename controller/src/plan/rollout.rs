//! Changed containers come to the instances of a resource a few at a time. Who waits for its turn goes
//! on as it was; whoever has its turn first loses its paths, where another can take them, then is
//! drained, changed, and the next one's turn comes when it is healthy. When a box gives a change up, the rest
//! stays as it was until the resource is changed again.

use super::draft::Draft;
use super::drain;
use super::instances::on_a_path;
use super::places::has_stand_in;
use super::secrets::{SecretInFile, Secrets, files};
use super::spare::{self, Spare};
use super::{Instance, InstanceHealth, PlanEventKind, State, Step};
use crate::resource::{Name, Resource, ResourceId, Secret, UpdateSpec, WorkloadSpec};
use kc_agent_api::{ContainerPhase, NodeName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long whoever has its turn waits for its paths to leave. A chain that finds no other path
/// would hold the change up for ever.
const CLEARING_MS: u64 = 30_000;

/// A resource whose containers are being changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutRecord {
    /// The resource as it was, once or several times.
    versions: Vec<Former>,
    /// Instances that are still as they were: which version.
    held: BTreeMap<String, usize>,
    /// Whose turn it is, and since when.
    turns: BTreeMap<String, u64>,
    /// Why no more turns are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stopped: Option<String>,
    /// Stands in for those who have nobody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) spare: Option<Spare>,
}

/// A resource as it was, and the secrets it names as they were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Former {
    resource: Resource,
    #[serde(default, skip_serializing_if = "Secrets::is_empty")]
    secrets: Secrets,
}

impl Former {
    fn made_of(&self) -> Option<MadeOf<'_>> {
        made_of(&self.resource, |name| self.secrets.get(name))
    }
}

impl RolloutRecord {
    /// Secrets that instances still have as they were.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let versions = self.versions.iter();
        versions.flat_map(|former| former.secrets.values())
    }
}

impl State {
    /// A resource was changed from `old`, or one of the `secrets` it names: its instances stay as they
    /// are until their turn comes.
    pub(super) fn hold(&mut self, id: &ResourceId, old: &Resource, secrets: &Secrets) {
        let Some(new) = self.resources.get(id) else {
            return;
        };
        let wanted = made_of(new, |name| self.secret(name));
        if made_of(old, |name| secrets.get(name)) == wanted {
            return;
        }
        let named = workload(old).map(|work| work.secrets.as_slice());
        let named = named.unwrap_or_default().iter();
        let named = named.filter_map(|reference| secrets.get_key_value(&reference.name));
        let old = Former {
            resource: old.clone(),
            secrets: named
                .map(|(name, secret)| (name.clone(), secret.clone()))
                .collect(),
        };
        let before = self.rollouts.get(id).cloned().unwrap_or_default();
        let mut record = RolloutRecord::default();
        let placed = |instance: &Instance| instance.owner == *id && instance.node.is_some();
        for (name, _) in self
            .instances
            .iter()
            .filter(|(_, i)| placed(i) && !i.retiring)
        {
            let version = before
                .held
                .get(name)
                .and_then(|at| before.versions.get(*at));
            let version = version.unwrap_or(&old);
            if version.made_of() == wanted {
                continue;
            }
            let known = record.versions.iter().position(|known| known == version);
            let at = known.unwrap_or_else(|| {
                record.versions.push(version.clone());
                record.versions.len() - 1
            });
            record.held.insert(name.clone(), at);
        }
        if record.held.is_empty() {
            self.rollouts.remove(id);
        } else {
            self.rollouts.insert(id.clone(), record);
        }
    }

    /// The container of an instance: as its resource says, or as it said before.
    pub fn workload(&self, name: &str, owner: &ResourceId) -> Option<WorkloadSpec<'_>> {
        let held = self.held(name, owner).map(|former| &former.resource);
        workload(held.or_else(|| self.owner(owner))?)
    }

    /// Whether an instance is told what it is in clusters, and has a leg for its peers.
    pub fn is_told(&self, name: &str, owner: &ResourceId) -> bool {
        let held = self.held(name, owner).map(|former| &former.resource);
        held.or_else(|| self.owner(owner)).is_some_and(is_told)
    }

    /// The files with values of secrets that an instance has.
    pub fn secret_files(&self, name: &str, owner: &ResourceId) -> Vec<SecretInFile> {
        let Some(work) = self.workload(name, owner) else {
            return Vec::new();
        };
        match self.held(name, owner) {
            Some(former) => files(work.secrets, |secret| former.secrets.get(secret)),
            None => files(work.secrets, |secret| self.secret(secret)),
        }
    }

    fn held(&self, name: &str, owner: &ResourceId) -> Option<&Former> {
        let record = self.rollouts.get(owner)?;
        record.versions.get(*record.held.get(name)?)
    }

    /// Whether it is the turn of an instance to be changed.
    pub fn in_turn(&self, name: &str, owner: &ResourceId) -> bool {
        let record = self.rollouts.get(owner);
        record.is_some_and(|record| record.turns.contains_key(name))
    }

    /// Whether an instance is about to be changed and still as it was.
    pub(crate) fn gives_way(&self, name: &str, owner: &ResourceId) -> bool {
        let record = self.rollouts.get(owner);
        record.is_some_and(|r| r.turns.contains_key(name) && r.held.contains_key(name))
    }

    /// How far the change of a resource is, for people; nothing when there is none.
    pub fn rollout(&self, id: &ResourceId) -> Option<String> {
        let record = self.rollouts.get(id)?;
        let held = record.held.len();
        Some(match (&record.stopped, record.turns.is_empty()) {
            (Some(why), _) if held == 0 => format!("stopped: {why}"),
            (Some(why), _) => format!("stopped, {held} as before: {why}"),
            (None, true) => match self.spare(id) {
                Some(ordinal) => format!("waits for {}-{ordinal}, {held} to go", id.name),
                None => format!("waits, {held} to go"),
            },
            (None, false) => {
                let turns: Vec<_> = record.turns.keys().map(String::as_str).collect();
                let to_go = record
                    .held
                    .keys()
                    .filter(|name| !record.turns.contains_key(*name));
                format!("changing {}, {} to go", turns.join(", "), to_go.count())
            }
        })
    }
}

pub(super) fn workload(resource: &Resource) -> Option<WorkloadSpec<'_>> {
    match resource {
        Resource::ServiceFunction(object) => Some(object.spec.workload()),
        Resource::Service(object) => Some(object.spec.workload()),
        Resource::Chain(_) | Resource::Node(_) | Resource::Secret(_) => None,
    }
}

/// The container, the files with values of secrets, and whether it has a leg for its peers.
type MadeOf<'a> = (WorkloadSpec<'a>, Vec<SecretInFile>, bool);

fn is_told(resource: &Resource) -> bool {
    match resource {
        Resource::ServiceFunction(object) => object.spec.is_told(),
        _ => false,
    }
}

/// What a change of is a change of containers.
fn made_of<'a>(
    resource: &'a Resource,
    secrets: impl Fn(&Name) -> Option<&'a Secret>,
) -> Option<MadeOf<'a>> {
    workload(resource).map(|work| {
        let files = files(work.secrets, secrets);
        let work = WorkloadSpec {
            update: &UpdateSpec::USUAL,
            stop_timeout: &None,
            pull_secret: &None,
            ..work
        };
        (work, files, is_told(resource))
    })
}

pub(super) fn update(resource: &Resource) -> UpdateSpec {
    match resource {
        Resource::ServiceFunction(object) => object.spec.update,
        Resource::Service(object) => object.spec.update,
        Resource::Chain(_) | Resource::Node(_) | Resource::Secret(_) => UpdateSpec::default(),
    }
}

/// Takes every change as far as it may go now.
pub(super) fn advance(draft: &mut Draft<'_>) {
    let ids: Vec<_> = draft.state.rollouts.keys().cloned().collect();
    for id in ids {
        end_turns(draft, &id);
        spare::judge(draft, &id);
        release_absent(draft, &id);
        give_turns(draft, &id);
        release(draft, &id);
        let over = |record: &RolloutRecord| {
            record.held.is_empty() && record.turns.is_empty() && record.stopped.is_none()
        };
        if draft.state.rollouts.get(&id).is_some_and(over) {
            draft.state.rollouts.remove(&id);
            let message = format!("{id} is changed everywhere");
            draft.tell(PlanEventKind::UpdateFinished, &id, None, message);
        }
    }
}

/// Forgets who has gone, and ends the turns of those that are healthy or were given up.
fn end_turns(draft: &mut Draft<'_>, id: &ResourceId) {
    let instances = &draft.state.instances;
    let there = |name: &String| {
        let instance = instances.get(name);
        instance.is_some_and(|i| i.owner == *id && !i.retiring && i.node.is_some())
    };
    let known = draft.state.resources.contains_key(id);
    let Some(record) = draft.state.rollouts.get_mut(id) else {
        return;
    };
    record.held.retain(|name, _| known && there(name));
    record.turns.retain(|name, _| known && there(name));
    let turns: Vec<_> = record.turns.keys().cloned().collect();
    for name in turns {
        let fate = fate(draft, id, &name);
        let Some(record) = draft.state.rollouts.get_mut(id) else {
            return;
        };
        match fate {
            Fate::Open => {}
            Fate::Healthy => drop(record.turns.remove(&name)),
            Fate::GivenUp(node, why) => {
                record.turns.remove(&name);
                let message = format!("{name} on {node} went back to what ran before: {why}");
                record.stopped = Some(message.clone());
                draft.tell(PlanEventKind::UpdateStopped, id, Some(&node), message);
            }
        }
    }
}

enum Fate {
    Open,
    Healthy,
    GivenUp(NodeName, String),
}

fn fate(draft: &Draft<'_>, id: &ResourceId, name: &str) -> Fate {
    if draft.state.gives_way(name, id) {
        return Fate::Open;
    }
    let Some(instance) = draft.state.instances.get(name) else {
        return Fate::Open;
    };
    let Some(node) = instance.node.as_ref() else {
        return Fate::Open;
    };
    let taken_up = draft.observed.taken_up(node);
    if instance.since == 0 || taken_up < instance.since || !draft.is_ready(node) {
        return Fate::Open;
    }
    let Some(container) = draft.observed.container(node, name) else {
        return Fate::Open;
    };
    if let Some(why) = &container.rolled_back {
        return Fate::GivenUp(node.clone(), why.clone());
    }
    let runs = container.phase == ContainerPhase::Running;
    if runs
        && !container.former
        && !container.on_trial
        && instance.health == InstanceHealth::Running
    {
        return Fate::Healthy;
    }
    Fate::Open
}

/// Whose box is away is down already: it takes the change up when it comes back.
fn release_absent(draft: &mut Draft<'_>, id: &ResourceId) {
    let Some(record) = draft.state.rollouts.get(id) else {
        return;
    };
    let away = |name: &&String| {
        let instance = draft.state.instances.get(*name);
        let node = instance.and_then(|instance| instance.node.as_ref());
        node.is_some_and(|node| !draft.is_ready(node))
    };
    let away: Vec<_> = record.held.keys().filter(away).cloned().collect();
    if record.stopped.is_some() {
        return;
    }
    for name in away {
        change(draft, id, &name);
    }
}

/// Gives turns to as many as may be changed at a time, those first that do not run anyway.
fn give_turns(draft: &mut Draft<'_>, id: &ResourceId) {
    let at_once = draft.state.owner(id).map_or(1, |r| update(r).at_once());
    let elsewhere = turns_elsewhere(draft, id);
    let now_ms = draft.now_ms;
    let instances = &draft.state.instances;
    let Some(record) = draft.state.rollouts.get_mut(id) else {
        return;
    };
    if record.stopped.is_some() {
        return;
    }
    let mut waiting: Vec<_> = record
        .held
        .keys()
        .filter(|n| !record.turns.contains_key(*n))
        .collect();
    waiting.sort_by_key(|name| {
        let instance = instances.get(*name);
        instance.map(|i| (i.health == InstanceHealth::Running, i.ordinal))
    });
    let free = at_once.saturating_sub(record.turns.len() + elsewhere);
    let next: Vec<_> = waiting.into_iter().take(free).cloned().collect();
    for name in next {
        if spare::may_go(draft, id, &name)
            && let Some(record) = draft.state.rollouts.get_mut(id)
        {
            record.turns.insert(name, now_ms);
        }
    }
}

/// Turns in other resources that provide the same function type.
fn turns_elsewhere(draft: &Draft<'_>, id: &ResourceId) -> usize {
    let Some(function): Option<&Name> = draft.state.function_type(id) else {
        return 0;
    };
    let others = draft.state.rollouts.iter();
    let others = others
        .filter(|(other, _)| *other != id && draft.state.function_type(other) == Some(function));
    others.map(|(_, record)| record.turns.len()).sum()
}

/// Changes those whose turn it is and who carry nothing any more, or for whom nobody can stand in.
fn release(draft: &mut Draft<'_>, id: &ResourceId) {
    let Some(record) = draft.state.rollouts.get(id) else {
        return;
    };
    let turns: Vec<_> = record
        .turns
        .iter()
        .map(|(n, at)| (n.clone(), *at))
        .collect();
    for (name, since_ms) in turns {
        if !draft.state.gives_way(&name, id) {
            continue;
        }
        let Some(instance) = draft.state.instances.get(&name) else {
            continue;
        };
        let busy = instance.health == InstanceHealth::Running
            && on_a_path(draft, &name)
            && has_stand_in(draft, &name, instance);
        let until_ms = since_ms.saturating_add(CLEARING_MS);
        if busy && draft.now_ms < until_ms {
            draft.wake(until_ms);
            continue;
        }
        if !drain::is_over(draft, &name) {
            continue;
        }
        change(draft, id, &name);
    }
}

fn change(draft: &mut Draft<'_>, id: &ResourceId, name: &str) {
    if let Some(record) = draft.state.rollouts.get_mut(id) {
        record.held.remove(name);
    }
    let Some(instance) = draft.state.instances.get_mut(name) else {
        return;
    };
    // Until its box has taken the change up, what it says is about what ran before.
    instance.since = 0;
    instance.draining_ms = None;
    let node = instance.node.clone();
    draft.steps.push(Step::Update {
        instance: name.to_owned(),
        node: node.clone(),
    });
    let message = format!("{name} is changed");
    draft.tell(PlanEventKind::Updating, id, node.as_ref(), message);
}
