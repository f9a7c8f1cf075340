//! Changed containers on trial: what ran before is kept until its successor has proved itself, and
//! comes back when that does not. Pure; the shell writes this down before a document is taken up.

use super::container::earliest;
use super::{Observed, Part, Phase, Seen, Vitals, container_hash};
use kc_agent_api::{ContainerSpec, Health, NodeSpec, UpdatePolicy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One changed container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rollout {
    /// Fingerprint of the successor.
    hash: String,
    /// What ran before.
    former: ContainerSpec,
    /// The engine's id of the image it ran: its name may mean another by now.
    image_id: Option<String>,
    /// Why the successor was given up.
    #[serde(default)]
    given_up: Option<String>,
    /// When what ran before was gone.
    #[serde(skip)]
    replaced_ms: Option<u64>,
}

/// All changed containers, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rollouts(BTreeMap<String, Rollout>);

/// The end of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The container.
    pub name: String,
    /// Why it was given up; `None` when it has proved itself.
    pub given_up: Option<String>,
}

impl Rollouts {
    /// `new` takes the place of `old`. `seen` and `vitals` tell whether what runs is worth keeping.
    pub fn change(&mut self, old: &NodeSpec, new: &NodeSpec, seen: &Observed, vitals: &Vitals) {
        let mut before = std::mem::take(&mut self.0);
        for want in &new.containers {
            let hash = container_hash(want);
            let known = before.remove(&want.name);
            let next = match known {
                _ if !want.update.rollback => None,
                Some(rollout) if rollout.hash == hash => Some(rollout),
                Some(rollout) => Some(Rollout {
                    hash: hash.clone(),
                    given_up: None,
                    replaced_ms: None,
                    ..rollout
                }),
                None => old
                    .containers
                    .iter()
                    .find(|former| former.name == want.name)
                    .filter(|former| worth_keeping(former, seen, vitals))
                    .map(|former| Rollout {
                        hash: hash.clone(),
                        former: former.clone(),
                        image_id: running(former, seen).and_then(|main| main.image_id.clone()),
                        given_up: None,
                        replaced_ms: None,
                    }),
            };
            // Whoever goes back to what ran before needs no trial.
            let next = next.filter(|next| container_hash(&next.former) != hash);
            self.0.extend(next.map(|next| (want.name.clone(), next)));
        }
    }

    /// Fits what was on disk to the document that was: a power cut may have come between the two.
    pub fn found(&mut self, spec: &NodeSpec) {
        let none = Observed::default();
        self.change(spec, spec, &none, &Vitals::default());
    }

    /// The document with what was given up replaced by what ran before. How it is wired stays as the
    /// document says: the tables go by that.
    pub fn effective(&self, spec: &NodeSpec) -> NodeSpec {
        let mut spec = spec.clone();
        for want in &mut spec.containers {
            if let Some(rollout) = self.given_up(&want.name) {
                *want = ContainerSpec {
                    role: want.role.clone(),
                    network: want.network.clone(),
                    cluster: want.cluster.clone(),
                    ..rollout.former.clone()
                };
            }
        }
        spec
    }

    fn given_up(&self, name: &str) -> Option<&Rollout> {
        self.0
            .get(name)
            .filter(|rollout| rollout.given_up.is_some())
    }

    /// Whether `name` has yet to prove itself.
    pub fn on_trial(&self, name: &str) -> bool {
        let rollout = self.0.get(name);
        rollout.is_some_and(|rollout| rollout.given_up.is_none())
    }

    /// Why the successor of `name` was given up, if it was.
    pub fn why(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.given_up.as_deref()
    }

    /// The engine's id of the image to go back to.
    pub fn pinned(&self, name: &str) -> Option<&str> {
        self.given_up(name)?.image_id.as_deref()
    }

    /// Images that must stay, by the engine's id.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.0
            .values()
            .filter_map(|rollout| rollout.image_id.as_deref())
    }

    /// Judges the trials: who has proved itself, who is given up, and when to judge again.
    pub fn judge(
        &mut self,
        document: &NodeSpec,
        seen: &Observed,
        vitals: &Vitals,
        now_ms: u64,
    ) -> (Vec<Judgement>, Option<u64>) {
        let (mut judged, mut wake) = (Vec::new(), None);
        if !seen.engine {
            return (judged, wake);
        }
        for want in &document.containers {
            let Some(rollout) = self.0.get_mut(&want.name) else {
                continue;
            };
            if rollout.given_up.is_some() {
                continue;
            }
            let mut mains = seen.all(&want.name, Part::Main);
            // While what ran before is there, its successor's image is on its way: no hurry.
            if mains.any(|main| main.hash != rollout.hash) {
                continue;
            }
            let replaced = *rollout.replaced_ms.get_or_insert(now_ms);
            let deadline_ms = u64::from(want.update.deadline_ms);
            let deadline = replaced.saturating_add(deadline_ms);
            let main = seen.find(&want.name, Part::Main);
            let (given_up, again) = match prospects(want, main, vitals, deadline_ms) {
                Prospects::Good => (None, None),
                Prospects::GoodAt(at) if now_ms >= at => (None, None),
                Prospects::Bad(why) => (Some(why), None),
                Prospects::Open(why) if now_ms >= deadline => {
                    let seconds = deadline_ms.div_ceil(1_000);
                    (Some(format!("{why} after {seconds} s")), None)
                }
                Prospects::GoodAt(at) => (None, Some(at)),
                Prospects::Open(_) => (None, Some(deadline)),
            };
            if let Some(again) = again {
                wake = earliest(wake, Some(again));
                continue;
            }
            judged.push(Judgement {
                name: want.name.clone(),
                given_up: given_up.clone(),
            });
            match given_up {
                Some(_) => rollout.given_up = given_up,
                None => drop(self.0.remove(&want.name)),
            }
        }
        (judged, wake)
    }
}

enum Prospects {
    Good,
    /// If it goes on like this until then.
    GoodAt(u64),
    Bad(String),
    /// What is so at present.
    Open(String),
}

fn prospects(
    want: &ContainerSpec,
    main: Option<&Seen>,
    vitals: &Vitals,
    deadline_ms: u64,
) -> Prospects {
    let Some(main) = main else {
        return Prospects::Open("it could not be made".to_owned());
    };
    if main.phase != Phase::Running {
        let why = match (&main.error, main.exit_code) {
            (Some(error), _) => format!("it did not start ({error})"),
            (None, Some(code)) => format!("it ended with {code}"),
            (None, None) => "it did not start".to_owned(),
        };
        return Prospects::Open(why);
    }
    let life = vitals.of(&want.name);
    let said = life.and_then(|life| life.said.as_deref());
    let said = said.map_or_else(String::new, |said| format!(" ({said})"));
    match vitals.health(want, main) {
        Some(Health::Healthy) => Prospects::Good,
        Some(Health::Unhealthy) => Prospects::Bad(format!("it is unhealthy{said}")),
        Some(_) => Prospects::Open(format!("it is not healthy{said}")),
        None => match life {
            Some(life) => Prospects::GoodAt(
                life.since_ms
                    .saturating_add(UpdatePolicy::PROOF_MS.min(deadline_ms)),
            ),
            None => Prospects::Open("it does not run".to_owned()),
        },
    }
}

fn running<'a>(want: &ContainerSpec, seen: &'a Observed) -> Option<&'a Seen> {
    let main = seen.find(&want.name, Part::Main)?;
    (main.phase == Phase::Running && main.hash == container_hash(want)).then_some(main)
}

/// Whether it does any good to go back to `want`: it runs, and is healthy if anybody asks. An engine that was not heard yet says nothing
/// against it.
fn worth_keeping(want: &ContainerSpec, seen: &Observed, vitals: &Vitals) -> bool {
    !seen.engine
        || running(want, seen)
            .is_some_and(|main| matches!(vitals.health(want, main), None | Some(Health::Healthy)))
}
