//! What engine, forwarder and kernel say.

use super::{Keeper, explain};
use crate::docker::{Happening, Word as EngineWord, container_name};
use crate::forwarder::Word as ForwarderWord;
use crate::reconcile::{Action, Lane, Part, TablesProgress};
use crate::wiring::LinkMonitor;
use kc_agent_api::{EventKind, Health};
use std::collections::BTreeSet;
use tokio::sync::mpsc;

impl Keeper {
    /// Takes `word` and everything said with it, then looks once.
    pub(super) async fn on_engine(
        &mut self,
        word: EngineWord,
        more: &mut mpsc::Receiver<EngineWord>,
    ) {
        let mut changed = BTreeSet::new();
        let mut everything = false;
        let mut word = Some(word);
        while let Some(said) = word {
            match said {
                EngineWord::Up {
                    docker,
                    version,
                    data_root,
                } => {
                    if self.engine.is_some() || self.facts.troubles.contains_key("engine") {
                        self.event(
                            EventKind::Engine,
                            "docker",
                            format!("engine {version} is back"),
                        );
                    }
                    tracing::info!(%version, "the engine answers");
                    self.docker = Some(docker);
                    self.engine = Some(version);
                    self.data_root = Some(data_root);
                    // What failed while it was away failed for that reason, or did not fail: a start whose
                    // answer was lost is a start, and nothing would take the word back.
                    let own = |lane: &Lane| matches!(lane, Lane::Restart(_) | Lane::Unhealthy(_));
                    self.memory.backoffs.retain(own);
                    self.facts
                        .failures
                        .retain(|lane, _| own(lane) || matches!(lane, Lane::HostLeg(_)));
                    everything = true;
                }
                EngineWord::Down { error } => {
                    let told = explain(&error);
                    self.event(EventKind::Engine, "docker", told.clone());
                    self.facts.troubles.insert("engine", told);
                    self.docker = None;
                    self.seen.engine = false;
                }
                EngineWord::Container {
                    id,
                    name,
                    part,
                    what,
                } => {
                    self.tell(&name, part, &what);
                    changed.insert(id);
                }
            }
            word = more.try_recv().ok();
        }
        if everything {
            self.look_at_everything().await;
        } else if !changed.is_empty() {
            for id in changed {
                self.look_at(&id).await;
            }
            self.look_at_links().await;
        }
        self.heard.engine = true;
    }

    fn tell(&mut self, name: &str, part: Part, what: &Happening) {
        let full = container_name(name, part);
        match (what, part) {
            (Happening::Started, Part::Main) => {
                self.event(EventKind::ContainerStarted, name, format!("{full} started"));
            }
            (Happening::Died { exit_code }, _) => {
                let code = exit_code.map_or("an unknown code".to_owned(), |code| code.to_string());
                let ours = self.running.values().any(|(action, _)| {
                    matches!(action, Action::Stop { name: n, .. } | Action::Restart { name: n, .. } | Action::Remove { name: n, .. } if n == name)
                });
                let why = if ours { ", as it was told" } else { "" };
                self.event(
                    EventKind::ContainerDied,
                    name,
                    format!("{full} ended with {code}{why}"),
                );
            }
            (Happening::Oom, _) => {
                let told = format!("{full} ran out of memory");
                self.event(EventKind::ContainerOom, name, told);
            }
            (Happening::Health { status }, _) => {
                self.event(
                    EventKind::ContainerHealth,
                    name,
                    format!("{full} is {status}"),
                );
                if status == Health::Healthy.as_str() {
                    self.is_healthy(name, Health::Healthy);
                }
            }
            (Happening::Removed, Part::Main) => {
                self.event(EventKind::ContainerRemoved, name, format!("{full} removed"));
            }
            (Happening::Started | Happening::Removed, Part::Pause) | (Happening::Other, _) => {}
        }
    }

    pub(super) fn on_forwarder(&mut self, word: ForwarderWord) {
        self.heard.forwarder = true;
        match word {
            ForwarderWord::Up { status, adopted } => {
                self.facts.forwarder_generation = status.generation;
                self.facts.ports = status.ports;
                self.facts.underlay = status.underlay;
                self.facts.troubles.remove("forwarder");
                let (version, pid, generation) = (status.version, status.pid, status.generation);
                if adopted {
                    tracing::info!(version, pid, generation, "forwarder found running");
                } else {
                    let told = format!("version {version}, process {pid}, generation {generation}");
                    self.event(EventKind::ForwarderStarted, "kc-forwarder", told);
                }
                self.ask_ports_soon();
            }
            ForwarderWord::Watching { tunnels, functions } => self.on_watching(tunnels, functions),
            ForwarderWord::Health(event) => self.on_health(event),
            ForwarderWord::Down { reason } => {
                // Its successor begins anew.
                self.facts.tunnels.clear();
                self.facts.functions.clear();
                self.facts.forwarder_generation = 0;
                self.event(EventKind::ForwarderDied, "kc-forwarder", reason);
            }
            ForwarderWord::Unavailable { error } => {
                let told = explain(&error);
                if self.facts.troubles.get("forwarder") != Some(&told) {
                    self.event(EventKind::ForwarderDied, "kc-forwarder", told.clone());
                }
                self.facts.forwarder_generation = 0;
                self.facts.troubles.insert("forwarder", told);
                if self.memory.tables == TablesProgress::Waiting {
                    self.memory.tables = TablesProgress::Hopeless;
                }
            }
            ForwarderWord::Applied { generation } => {
                self.facts.forwarder_generation = generation;
                self.facts.troubles.remove("tables");
                if generation == self.spec.generation && self.memory.tables != TablesProgress::Due {
                    self.memory.tables = TablesProgress::Applied;
                }
                self.ask_ports_soon();
            }
            ForwarderWord::Refused { generation, error } => {
                let told = format!("tables of generation {generation} refused: {error}");
                if self.facts.troubles.get("tables") != Some(&told) {
                    self.event(EventKind::TablesRefused, "kc-forwarder", told.clone());
                }
                self.facts.troubles.insert("tables", told);
                if generation == self.spec.generation && self.memory.tables != TablesProgress::Due {
                    self.memory.tables = TablesProgress::Hopeless;
                }
            }
        }
    }

    /// An interface changed; looks once for all that did.
    pub(super) async fn on_link(&mut self, name: String, more: &mut LinkMonitor) {
        let mut ours = self.knows_interface(&name);
        while let Ok(name) = more.try_recv() {
            ours |= self.knows_interface(&name);
        }
        if ours {
            self.look_at_links().await;
            self.ask_ports_soon();
        }
    }
}
