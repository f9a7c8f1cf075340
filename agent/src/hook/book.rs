//! Which hooks are due, from what is wanted, what runs, and what was told before.

use crate::reconcile::{Part as Piece, Phase, Seen};
use kc_agent_api::{ClusterPart, ClusterRole, ContainerSpec, Membership, NodeName, NodeSpec, Peer};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// After how long a hook that has failed is tried again; each further failure doubles it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most doublings.
const MAX_DOUBLINGS: u32 = 5;

/// What containers were told, by name.
pub(crate) type Told = BTreeMap<String, Known>;

/// What a container was told since it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    life: Life,
    chains: BTreeMap<String, ClusterPart>,
}

/// One run of a container's process, which knows nothing of those before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Life {
    /// The engine's.
    pub(super) id: String,
    started_at: Option<String>,
}

/// A hook that is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) name: String,
    pub(super) life: Life,
    pub(super) chain: String,
    /// Nothing where it is no longer a member.
    part: Option<ClusterPart>,
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<String>,
}

impl Run {
    pub(super) fn role(&self) -> &'static str {
        let part = self.part.as_ref();
        part.map_or("none", |part| part.role.as_str())
    }
}

struct Failing {
    run: Run,
    times: u32,
    again: Instant,
}

/// See the module.
pub(super) struct Book {
    node: NodeName,
    told: Told,
    /// Containers in which a hook runs: there is one at a time.
    busy: BTreeSet<String>,
    failing: BTreeMap<String, Failing>,
}

impl Book {
    pub(super) const fn new(node: NodeName, told: Told) -> Self {
        Self {
            node,
            told,
            busy: BTreeSet::new(),
            failing: BTreeMap::new(),
        }
    }

    pub(super) const fn told(&self) -> &Told {
        &self.told
    }

    /// When one that has failed is to be tried again.
    pub(super) fn again(&self) -> Option<Instant> {
        let idle = self.failing.iter();
        let idle = idle.filter(|(name, _)| !self.busy.contains(*name));
        idle.map(|(_, failing)| failing.again).min()
    }

    /// Forgets containers that are no longer wanted.
    pub(super) fn forget(&mut self, spec: &NodeSpec) {
        // Before the first document nobody knows who is wanted.
        if spec.generation == 0 {
            return;
        }
        let there = |name: &String| spec.containers.iter().any(|spec| spec.name == *name);
        self.told.retain(|name, _| there(name));
        self.failing.retain(|name, _| there(name));
    }

    /// Hooks to run now. Containers that do not run are told when they do.
    pub(super) fn begin(&mut self, spec: &NodeSpec, seen: &[Seen], now: Instant) -> Vec<Run> {
        let mut runs = Vec::new();
        for spec in &spec.containers {
            let membership = spec.cluster.as_ref().filter(|one| !one.hook.is_empty());
            let running = seen.iter().find(|seen| {
                seen.name == spec.name && seen.part == Piece::Main && seen.phase == Phase::Running
            });
            let (Some(membership), Some(seen)) = (membership, running) else {
                continue;
            };
            let life = Life {
                id: seen.id.clone(),
                started_at: seen.started_at.clone(),
            };
            let Some(run) = self.due(spec, membership, life) else {
                self.failing.remove(&spec.name);
                continue;
            };
            let failing = self.failing.get(&spec.name);
            let waits = failing.is_some_and(|failing| failing.run == run && now < failing.again);
            if !waits && self.busy.insert(run.name.clone()) {
                runs.push(run);
            }
        }
        runs
    }

    /// The first thing that a container does not know yet.
    fn due(&self, spec: &ContainerSpec, membership: &Membership, life: Life) -> Option<Run> {
        let known = self.told.get(&spec.name).filter(|known| known.life == life);
        let known = known.map(|known| &known.chains);
        let gone = known.into_iter().flatten().map(|(chain, _)| (chain, None));
        let gone = gone.filter(|(chain, _)| !membership.chains.contains_key(*chain));
        let chains = membership.chains.iter();
        let new = chains.filter(|(chain, part)| {
            let known = known.and_then(|known| known.get(*chain));
            known != Some(*part)
        });
        let mut all = gone.chain(new.map(|(chain, part)| (chain, Some(part.clone()))));
        let (chain, part) = all.next()?;
        let me = Peer {
            name: spec.name.clone(),
            node: self.node.clone(),
            address: membership.address,
            role: part.as_ref().map_or(ClusterRole::None, |part| part.role),
        };
        let peers = part.iter().flat_map(|part| &part.peers);
        let peers: Vec<_> = peers.map(ToString::to_string).collect();
        Some(Run {
            name: spec.name.clone(),
            life,
            chain: chain.clone(),
            command: membership.hook.clone(),
            environment: vec![
                format!("CHAIN={chain}"),
                format!("ROLE={}", me.role.as_str()),
                format!("SELF={me}"),
                format!("PEERS={}", peers.join(" ")),
            ],
            part,
        })
    }

    /// A hook has ended. Whether that is news: it is not when the same has failed before.
    pub(super) fn end(&mut self, run: &Run, good: bool, now: Instant) -> bool {
        self.busy.remove(&run.name);
        let before = self.failing.remove(&run.name);
        let times = before.filter(|failing| failing.run == *run);
        let times = times.map_or(0, |failing| failing.times);
        if !good {
            let wait = PATIENCE * 2_u32.pow(times.min(MAX_DOUBLINGS));
            let failing = Failing {
                run: run.clone(),
                times: times.saturating_add(1),
                again: now + wait,
            };
            self.failing.insert(run.name.clone(), failing);
            return times == 0;
        }
        let known = self.told.entry(run.name.clone());
        let known = known.or_insert_with(|| Known {
            life: run.life.clone(),
            chains: BTreeMap::new(),
        });
        if known.life != run.life {
            known.life = run.life.clone();
            known.chains.clear();
        }
        match &run.part {
            Some(part) => known.chains.insert(run.chain.clone(), part.clone()),
            None => known.chains.remove(&run.chain),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClusterRole::{Active, Standby};
    use kc_agent_api::Network;

    fn spec(chains: &[(&str, ClusterRole, &str)]) -> NodeSpec {
        let chains = chains.iter().map(|(chain, role, peer)| {
            let peer = Peer {
                name: (*peer).to_owned(),
                node: NodeName::new("box2").unwrap(),
                address: Some([10, 128, 2, 2].into()),
                role: Standby,
            };
            let part = ClusterPart {
                role: *role,
                peers: vec![peer],
            };
            ((*chain).to_owned(), part)
        });
        let container = ContainerSpec {
            cluster: Some(Membership {
                hook: vec!["/sync".into()],
                address: Some([10, 128, 1, 2].into()),
                chains: chains.collect(),
            }),
            ..crate::reconcile::model::container("fw-1", Network::Host)
        };
        NodeSpec {
            generation: 1,
            containers: vec![container],
            ..NodeSpec::default()
        }
    }

    fn seen(id: &str, started_at: &str, phase: Phase) -> Seen {
        Seen {
            id: id.to_owned(),
            name: "fw-1".into(),
            part: Piece::Main,
            hash: String::new(),
            image: String::new(),
            phase,
            exit_code: None,
            error: None,
            restarts: 0,
            started_at: Some(started_at.to_owned()),
            pid: None,
            netns: None,
            joined: None,
            health: None,
            image_id: None,
        }
    }

    fn book(told: Told) -> Book {
        Book::new(NodeName::new("box1").unwrap(), told)
    }

    /// What all hooks are told that are due, one after another.
    fn told(book: &mut Book, spec: &NodeSpec, seen: &Seen) -> Vec<String> {
        let mut all = Vec::new();
        let now = Instant::now();
        loop {
            let runs = book.begin(spec, std::slice::from_ref(seen), now);
            assert!(book.begin(spec, std::slice::from_ref(seen), now).is_empty());
            let Some(run) = runs.first() else { return all };
            assert!(book.end(run, true, now));
            all.push(run.environment.join(" "));
        }
    }

    #[test]
    fn each_change_is_told_once_and_to_what_runs_only() {
        let mut known = book(Told::new());
        let standby = spec(&[("web", Standby, "fw-2")]);
        assert!(told(&mut known, &standby, &seen("a", "1", Phase::Exited)).is_empty());
        let a = seen("a", "1", Phase::Running);
        assert_eq!(
            told(&mut known, &standby, &a),
            ["CHAIN=web ROLE=standby SELF=fw-1@box1/10.128.1.2/standby \
                 PEERS=fw-2@box2/10.128.2.2/standby"]
        );
        assert!(told(&mut known, &standby, &a).is_empty());
        let both = spec(&[("dns", Active, "fw-3"), ("web", Active, "fw-3")]);
        assert_eq!(told(&mut known, &both, &a).len(), 2);
        let none = spec(&[("dns", Active, "fw-3")]);
        assert_eq!(
            told(&mut known, &none, &a),
            ["CHAIN=web ROLE=none SELF=fw-1@box1/10.128.1.2/none PEERS="]
        );
        assert!(told(&mut known, &none, &a).is_empty());
        // A container that was made or started anew knows nothing.
        assert_eq!(
            told(&mut known, &none, &seen("a", "2", Phase::Running)).len(),
            1
        );
        assert_eq!(
            told(&mut known, &none, &seen("b", "3", Phase::Running)).len(),
            1
        );
    }

    #[test]
    fn an_agent_that_starts_anew_tells_only_what_is_new() {
        let mut first = book(Told::new());
        let active = spec(&[("web", Active, "fw-2")]);
        let a = seen("a", "1", Phase::Running);
        assert_eq!(told(&mut first, &active, &a).len(), 1);
        let written = serde_json::to_vec(first.told()).unwrap();
        let mut second = book(serde_json::from_slice(&written).unwrap());
        second.forget(&NodeSpec::default());
        assert!(told(&mut second, &active, &a).is_empty());
        let other = spec(&[("web", Active, "fw-3")]);
        assert_eq!(told(&mut second, &other, &a).len(), 1);
        second.forget(&NodeSpec {
            generation: 2,
            ..NodeSpec::default()
        });
        assert!(second.told().is_empty());
    }

    #[test]
    fn what_fails_is_tried_again_ever_later_and_told_once_and_a_change_waits_for_nothing() {
        let mut book = book(Told::new());
        let (standby, active) = (
            spec(&[("web", Standby, "fw-2")]),
            spec(&[("web", Active, "fw-2")]),
        );
        let seen = [seen("a", "1", Phase::Running)];
        let mut now = Instant::now();
        let runs = book.begin(&standby, &seen, now);
        assert!(book.end(&runs[0], false, now));
        for seconds in [2, 4, 8] {
            assert!(book.begin(&standby, &seen, now).is_empty());
            assert_eq!(book.again(), Some(now + Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
            let runs = book.begin(&standby, &seen, now);
            assert!(!book.end(&runs[0], false, now));
        }
        let runs = book.begin(&active, &seen, now);
        assert_eq!(runs[0].role(), "active");
        // It runs: who is changed meanwhile is told behind it.
        assert!(book.begin(&standby, &seen, now).is_empty());
        assert!(book.end(&runs[0], true, now));
        assert_eq!(book.again(), None);
        assert_eq!(book.begin(&standby, &seen, now)[0].role(), "standby");
    }
}
