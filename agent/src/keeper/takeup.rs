//! Taking a document up: from the ledger at start, from the controller later.

use super::run::WRITE_AGAIN;
use super::{Keeper, explain};
use crate::ledger::{Found, LedgerError, Verdict, judge};
use crate::reconcile::{Lane, Part, TablesProgress, container_hash, pause_hash, validate};
use kc_agent_api::{EventKind, NodeSpec, decode};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

impl Keeper {
    /// What the box ran before. Whatever is wrong with the ledger is said and survived.
    pub(super) fn load_ledger(&mut self) {
        match self.ledger.load_pulled() {
            Ok(pulled) => self.memory.pulled = pulled,
            // Those images stay, and that is all.
            Err(error) => tracing::warn!("{}", explain(&error)),
        }
        match self.ledger.load() {
            Ok(Found::Nothing) => tracing::info!("no document yet"),
            Ok(Found::Current(spec)) => {
                let generation = spec.generation;
                tracing::info!(generation, "document found in the ledger");
                self.find_rollouts(&spec);
                self.in_force(Arc::new(spec));
            }
            Ok(Found::Fallback { spec, error }) => {
                self.keep_previous = false;
                let mut told = explain(&error);
                match spec {
                    Some(spec) => {
                        told.push_str(&format!("; using generation {}", spec.generation));
                        self.in_force(Arc::new(spec));
                        self.memory.outdated = true;
                    }
                    None => told.push_str("; there is none before it"),
                }
                self.event(EventKind::SpecRefused, "ledger", told.clone());
                self.troubles().insert("ledger", told);
            }
            Err(error) => self.ledger_trouble(&error),
        }
    }

    /// A document from the controller.
    pub(super) async fn take_up(&mut self, bytes: &[u8]) {
        let spec = match decode::<NodeSpec>(bytes) {
            Ok(spec) => spec,
            Err(error) => return self.refuse(explain(&error)),
        };
        let generation = spec.generation;
        let in_force = self.has_spec.then_some(&*self.spec);
        match judge(in_force, &spec) {
            Verdict::Newer => {}
            Verdict::Same => {
                self.troubles().remove("document");
                return;
            }
            Verdict::Older => {
                let ours = self.spec.generation;
                return self.refuse(format!(
                    "generation {generation} is older than {ours}, which is in force; \
                     stop the agent and remove its spec.json to start over"
                ));
            }
            Verdict::Contradiction => {
                return self.refuse(format!(
                    "generation {generation} is in force with other contents; \
                     a change needs a new generation"
                ));
            }
        }
        if let Err(error) = validate(&spec) {
            return self.refuse(format!("generation {generation}: {error}"));
        }
        let (seen, vitals) = (&self.seen, &self.memory.vitals);
        let mut rollouts = self.memory.rollouts.clone();
        rollouts.change(&self.spec, &spec, seen, vitals);
        // First what is to come back, then the document: a power cut between the two loses neither.
        if rollouts != self.memory.rollouts {
            self.keep_rollouts(rollouts.clone()).await;
            self.memory.rollouts = rollouts;
        }
        let spec = Arc::new(spec);
        self.write_down(Arc::clone(&spec)).await;
        self.in_force(spec);
        self.troubles().remove("document");
        self.event(
            EventKind::SpecAccepted,
            "spec",
            format!("generation {generation}"),
        );
    }

    /// Puts the document on the disk; one that is full is tried again.
    pub(super) async fn write_down(&mut self, spec: Arc<NodeSpec>) {
        let (ledger, keep) = (self.ledger.clone(), self.keep_previous);
        self.write_at = None;
        let stored = tokio::task::spawn_blocking(move || ledger.store(&spec, keep)).await;
        match stored {
            Ok(Ok(())) => {
                self.keep_previous = true;
                self.troubles().remove("ledger");
            }
            // A full disk must not keep the box from doing as it is told.
            Ok(Err(error)) => {
                self.ledger_trouble(&error);
                self.write_at = Some(Instant::now() + WRITE_AGAIN);
            }
            Err(error) => tracing::error!(%error, "the ledger's writer ended early"),
        }
    }

    fn find_rollouts(&mut self, spec: &NodeSpec) {
        match self.ledger.load_rollouts() {
            Ok(mut rollouts) => {
                rollouts.found(spec);
                self.memory.rollouts = rollouts;
            }
            Err(error) => self.ledger_trouble(&error),
        }
    }

    pub(super) fn ledger_trouble(&mut self, error: &LedgerError) {
        let told = explain(error);
        tracing::error!("{told}");
        self.troubles().insert("ledger", told);
    }

    fn refuse(&mut self, told: String) {
        self.event(EventKind::SpecRefused, "spec", told.clone());
        self.troubles()
            .insert("document", format!("document refused: {told}"));
    }

    /// Makes `spec` the document in force, and forgets what was remembered about entries that
    /// are not in it, or are others now.
    fn in_force(&mut self, spec: Arc<NodeSpec>) {
        let same = |want: &&kc_agent_api::ContainerSpec| self.spec.containers.contains(want);
        let kept: BTreeSet<String> = spec
            .containers
            .iter()
            .filter(same)
            .map(|want| want.name.clone())
            .collect();
        let effective = self.memory.rollouts.effective(&spec);
        let mut marks = BTreeSet::new();
        for want in &effective.containers {
            marks.insert((want.name.clone(), Part::Main, container_hash(want)));
            marks.insert((want.name.clone(), Part::Pause, pause_hash(want)));
        }
        self.memory.images.retain(|mark| marks.contains(mark));
        self.memory
            .backoffs
            .retain(|lane| kept.contains(lane.object()));
        self.facts.failures.retain(|lane, _| match lane {
            Lane::HostLeg(_) => false,
            lane => kept.contains(lane.object()),
        });
        self.memory.accepted_ms = self.now_ms();
        self.memory.tables = TablesProgress::Due;
        self.memory.outdated = false;
        self.facts.troubles.remove("tables");
        self.has_spec = true;
        self.spec = spec;
        self.effective = Arc::new(effective);
        self.cancel_stale_pulls(&marks);
    }
}
