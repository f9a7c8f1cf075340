//! Health and updates: takes up what tries of health checks came to, has changed containers judged, and
//! keeps what is to come back where a power cut does not reach it.

use super::{Keeper, explain};
use crate::docker::{self, container_name};
use crate::reconcile::{Judgement, Lane, Part, Rollouts};
use kc_agent_api::{EventKind, Health};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Keeper {
    /// Takes up what runs, and ends the trials that have an end. Says when to look again.
    pub(super) async fn examine(&mut self) -> Option<u64> {
        let now = self.now_ms();
        let memory = &mut self.memory;
        memory
            .vitals
            .follow(&self.effective, &self.seen, &memory.rollouts, now);
        if memory.outdated {
            return None;
        }
        let (judged, wake) = memory
            .rollouts
            .judge(&self.spec, &self.seen, &memory.vitals, now);
        if judged.is_empty() {
            return wake;
        }
        for judgement in judged {
            self.tell_judgement(judgement);
        }
        self.effective = Arc::new(self.memory.rollouts.effective(&self.spec));
        let rollouts = self.memory.rollouts.clone();
        self.keep_rollouts(rollouts).await;
        wake
    }

    fn tell_judgement(&mut self, Judgement { name, given_up }: Judgement) {
        let full = container_name(&name, Part::Main);
        let Some(why) = given_up else {
            tracing::info!("{full} has proved itself");
            return;
        };
        // What its successor failed with says nothing about the former one.
        self.memory.backoffs.retain(|lane| lane.object() != name);
        self.facts.failures.retain(|lane, _| lane.object() != name);
        let told = format!("{full} goes back to what ran before: {why}");
        self.event(EventKind::ContainerRolledBack, &name, told);
    }

    /// Writes down what is to come back.
    pub(super) async fn keep_rollouts(&mut self, rollouts: Rollouts) {
        let ledger = self.ledger.clone();
        let stored = tokio::task::spawn_blocking(move || ledger.store_rollouts(&rollouts)).await;
        match stored {
            Ok(Ok(())) => {}
            // A full disk must not keep the box from going back.
            Ok(Err(error)) => self.ledger_trouble(&error),
            Err(error) => tracing::error!(%error, "the ledger's writer ended early"),
        }
    }

    /// A try of a health check has ended.
    pub(super) fn tried(&mut self, name: &str, life: (&str, u32), outcome: Result<(), String>) {
        if let Err(said) = &outcome {
            tracing::debug!(name, said, "health check failed");
        }
        let now = self.now_ms();
        if let Some(health) = self.memory.vitals.tried(name, life, outcome, now) {
            let said = self.said(name);
            let full = container_name(name, Part::Main);
            let told = format!("{full} is {}{said}", health.as_str());
            self.event(EventKind::ContainerHealth, name, told);
            self.is_healthy(name, health);
        }
    }

    /// What the last failure of a health check said, to be put behind a sentence.
    pub(super) fn said(&self, name: &str) -> String {
        let life = self.memory.vitals.of(name);
        let said = life.and_then(|life| life.said.as_deref());
        said.map_or_else(String::new, |said| format!(": {said}"))
    }

    /// A container that got healthy has a clean record.
    pub(super) fn is_healthy(&mut self, name: &str, health: Health) {
        if health == Health::Healthy {
            let lane = Lane::Unhealthy(name.to_owned());
            self.memory.backoffs.succeeded(&lane);
        }
    }

    /// A container that is unhealthy is started again; says so, and when that may happen again.
    pub(super) fn restarts_unhealthy(&mut self, name: &str) {
        let now = self.now_ms();
        let lane = Lane::Unhealthy(name.to_owned());
        let backoff = self.memory.backoffs.failed(lane, now, fastrand::f64());
        let told = format!(
            "{} is unhealthy{} and is started again; not again for {} ms",
            container_name(name, Part::Main),
            self.said(name),
            backoff.until_ms.saturating_sub(now)
        );
        self.event(EventKind::ContainerRestarted, name, told);
    }

    /// Asks for the digests of images that are new here.
    pub(super) async fn learn_digests(&mut self) {
        let Some(docker) = self.docker.clone() else {
            return;
        };
        let used: BTreeSet<String> = self
            .seen
            .containers
            .iter()
            .filter(|seen| seen.part == Part::Main)
            .filter_map(|seen| seen.image_id.clone())
            .collect();
        self.facts.digests.retain(|id, _| used.contains(id));
        for id in used {
            if self.facts.digests.contains_key(&id) {
                continue;
            }
            match docker::digest(&docker, &id).await {
                Ok(digest) => drop(self.facts.digests.insert(id, digest)),
                Err(error) => tracing::debug!("{}", explain(&error)),
            }
        }
    }
}
