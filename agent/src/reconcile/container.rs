//! The next step of one document entry.

use super::plan::World;
use super::{
    Action, Lane, LegState, Observed, Part, Phase, Seen, container_hash, leg_state, pause_hash,
    waits_for,
};
use kc_agent_api::{ContainerSpec, Health, Leg, Network, PullPolicy, Restart};

/// What one entry wants next.
#[derive(Debug, Default)]
pub(super) struct Next {
    /// Steps, at most one a lane.
    pub(super) actions: Vec<Action>,
    /// Its legs are not there yet, and nothing but a moment is missing for them.
    pub(super) wiring: bool,
    /// When to ask again.
    pub(super) wake_at_ms: Option<u64>,
}

/// The next step of `want`.
pub(super) fn next(want: &ContainerSpec, world: &World<'_>) -> Next {
    let mut entry = Entry {
        want,
        world,
        hash: container_hash(want),
        next: Next::default(),
    };
    match &want.network {
        Network::Host => {
            if entry.retire_extras() {
                entry.main(None);
            }
        }
        Network::Legs(legs) => entry.wired(legs),
    }
    entry.next
}

struct Entry<'a> {
    want: &'a ContainerSpec,
    world: &'a World<'a>,
    hash: String,
    next: Next,
}

impl Entry<'_> {
    fn seen(&self) -> &Observed {
        self.world.seen
    }

    /// Emits `action` unless its lane is busy or backing off. Says whether it may run now.
    fn emit(&mut self, action: Action) -> bool {
        let lane = action.lane();
        if self.world.memory.in_flight.contains(&lane) {
            return true;
        }
        if self.waits(&lane) {
            return false;
        }
        self.next.actions.push(action);
        true
    }

    fn waits(&mut self, lane: &Lane) -> bool {
        match self.world.memory.backoffs.waits(lane, self.world.now_ms) {
            Some(until) => {
                self.next.wake_at_ms = earliest(self.next.wake_at_ms, Some(until));
                true
            }
            None => false,
        }
    }

    /// Asks for an image; true once it is on the box.
    fn image(&mut self, part: Part) -> bool {
        let (image, policy, hash) = match part {
            Part::Pause => {
                let Network::Legs(_) = self.want.network else {
                    return true;
                };
                let hash = pause_hash(self.want);
                (self.world.pause_image, PullPolicy::IfNotPresent, hash)
            }
            Part::Main => (self.want.image.as_str(), self.want.pull, self.hash.clone()),
        };
        let mark = (self.want.name.clone(), part, hash);
        if self.world.memory.images.contains(&mark) {
            return true;
        }
        let (name, part, hash) = mark;
        let image = image.to_owned();
        let pinned = match part {
            Part::Main => self.world.memory.rollouts.pinned(&name).map(str::to_owned),
            Part::Pause => None,
        };
        self.emit(Action::Image {
            name,
            part,
            image,
            policy,
            hash,
            pinned,
        });
        false
    }

    fn remove(&mut self, seen: &Seen, why: &'static str) -> bool {
        if seen.phase == Phase::Removing {
            return true;
        }
        self.emit(Action::Remove {
            name: self.want.name.clone(),
            part: seen.part,
            id: seen.id.clone(),
            why,
        })
    }

    /// Removes what there is one too many of; true when nothing was.
    fn retire_extras(&mut self) -> bool {
        let world = self.world;
        let mains = world.seen.all(&self.want.name, Part::Main).skip(1);
        let keep_pauses = usize::from(matches!(self.want.network, Network::Legs(_)));
        let pauses = world
            .seen
            .all(&self.want.name, Part::Pause)
            .skip(keep_pauses);
        match mains.chain(pauses).next() {
            Some(extra) => {
                self.remove(extra, "one too many");
                false
            }
            None => true,
        }
    }

    /// An entry with legs: pause container, wires, container, in this order.
    fn wired(&mut self, legs: &[Leg]) {
        if !self.retire_extras() {
            return;
        }
        let world = self.world;
        let name = self.want.name.as_str();
        let main = world.seen.find(name, Part::Main);
        let Some(pause) = world.seen.find(name, Part::Pause) else {
            match main {
                Some(orphan) => self.next.wiring = self.remove(orphan, "its namespace has gone"),
                None => {
                    // The long wait, when there is one, runs beside the short ones.
                    self.image(Part::Main);
                    if self.image(Part::Pause) {
                        self.next.wiring = self.emit(Action::Create {
                            name: name.to_owned(),
                            part: Part::Pause,
                            join: None,
                        });
                    }
                }
            }
            return;
        };
        if pause.hash != pause_hash(self.want) {
            if world.memory.outdated {
                return;
            }
            // Both go; not before what replaces them can be made.
            let ready = [self.image(Part::Main), self.image(Part::Pause)];
            if ready == [true, true] {
                self.next.wiring = self.remove(main.unwrap_or(pause), "its legs have changed");
            }
            return;
        }
        match (pause.phase, pause.pid) {
            (Phase::Created, _) => {
                self.next.wiring = self.emit(Action::Start {
                    name: name.to_owned(),
                    part: Part::Pause,
                    id: pause.id.clone(),
                    again: false,
                });
            }
            (Phase::Running, Some(pid)) => self.in_namespace(pause, pid, legs, main),
            (Phase::Exited | Phase::Dead, _) => {
                let why = "its namespace has died";
                self.next.wiring = self.remove(main.unwrap_or(pause), why);
            }
            (Phase::Restarting | Phase::Removing | Phase::Running, _) => {}
        }
    }

    /// The pause container runs: see to the wires, then to the container.
    fn in_namespace(&mut self, pause: &Seen, pid: u32, legs: &[Leg], main: Option<&Seen>) {
        if let Some(main) = main
            && main.joined.as_ref() != Some(&pause.id)
        {
            self.next.wiring = self.remove(main, "it sits in another namespace");
            return;
        }
        let running = main.filter(|main| main.phase == Phase::Running);
        let moved = running.is_some_and(|main| main.netns.is_some() && main.netns != pause.netns);
        let todo = legs_to_do(legs, pause, self.seen());
        let worst = todo.iter().map(|(state, _)| *state).max();
        match (running, worst) {
            // Interfaces exist before the function starts: it is not shown one that appears later.
            (Some(main), Some(LegState::Missing)) => {
                self.next.wiring = self.stop(main);
            }
            (Some(main), _) if moved => self.next.wiring = self.stop(main),
            (_, Some(_)) => {
                self.next.wiring = self.emit(Action::Wire {
                    name: self.want.name.clone(),
                    pid,
                    legs: todo.into_iter().map(|(_, leg)| leg).collect(),
                });
                if main.is_none() {
                    self.image(Part::Main);
                }
            }
            (_, None) => self.main(Some(pause)),
        }
    }

    fn stop(&mut self, main: &Seen) -> bool {
        self.emit(Action::Stop {
            name: self.want.name.clone(),
            id: main.id.clone(),
        })
    }

    /// Everything the container stands on is there: see to the container itself.
    fn main(&mut self, pause: Option<&Seen>) {
        let world = self.world;
        let name = self.want.name.as_str();
        let held = waits_for(self.want, world).is_some();
        let Some(main) = world.seen.find(name, Part::Main) else {
            if self.image(Part::Main) && !held {
                self.emit(Action::Create {
                    name: name.to_owned(),
                    part: Part::Main,
                    join: pause.map(|pause| pause.id.clone()),
                });
            }
            return;
        };
        if main.hash != self.hash && !world.memory.outdated {
            if self.image(Part::Main) && !held {
                let why = match world.memory.rollouts.why(name) {
                    Some(_) => "the former one comes back",
                    None => "the document wants another",
                };
                self.remove(main, why);
            }
            return;
        }
        let start = |again| Action::Start {
            name: name.to_owned(),
            part: Part::Main,
            id: main.id.clone(),
            again,
        };
        match main.phase {
            Phase::Running => {
                let health = world.memory.vitals.health(self.want, main);
                let sick = health == Some(Health::Unhealthy) && self.want.restart != Restart::Never;
                if sick && !self.waits(&Lane::Unhealthy(name.to_owned())) {
                    let id = main.id.clone();
                    let name = name.to_owned();
                    self.emit(Action::Restart { name, id });
                }
            }
            Phase::Restarting | Phase::Removing => {}
            Phase::Created => {
                if !held {
                    self.emit(start(false));
                }
            }
            Phase::Dead => {
                self.remove(main, "the engine could not finish it");
            }
            // `docker kill` and `docker stop` do not trigger the engine's restart policy.
            Phase::Exited => {
                let again = match self.want.restart {
                    Restart::Always => true,
                    Restart::OnFailure => main.exit_code != Some(0),
                    Restart::Never => false,
                };
                if again && !held && !self.waits(&Lane::Restart(name.to_owned())) {
                    self.emit(start(true));
                }
            }
        }
    }
}

/// A try of the health check of `want`, should it run.
pub(super) fn probe(want: &ContainerSpec, seen: &Observed) -> Option<Action> {
    let main = seen.find(&want.name, Part::Main)?;
    let legs: &[Leg] = match &want.network {
        Network::Host => &[],
        Network::Legs(legs) => legs,
    };
    let addresses = legs.iter().flat_map(|leg| &leg.addresses);
    Some(Action::Probe {
        name: want.name.clone(),
        id: main.id.clone(),
        pid: main.pid?,
        addresses: addresses.map(ipnet::IpNet::addr).collect(),
        check: want.health.clone()?,
    })
}

fn legs_to_do(legs: &[Leg], pause: &Seen, seen: &Observed) -> Vec<(LegState, Leg)> {
    let inner = seen.inner.get(&pause.id);
    legs.iter()
        .map(|leg| (leg_state(leg, inner, &seen.host), leg.clone()))
        .filter(|(state, _)| *state != LegState::Wired)
        .collect()
}

/// The earlier of two moments.
pub(super) fn earliest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}
