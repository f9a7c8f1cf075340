//! Trials of changed containers on a box that is only data.

use super::model::{Model, container};
use super::*;
use kc_agent_api::{ContainerSpec, HealthCheck, Network, NodeSpec, Probe};
use proptest::prelude::*;

/// A box whose images `app:bad` and `app:worse` never get healthy.
struct Trial {
    model: Model,
    document: NodeSpec,
}

fn web(image: &str, checked: bool) -> ContainerSpec {
    let mut spec = container("web", Network::Host);
    spec.image = image.to_owned();
    spec.health = checked.then(|| HealthCheck::new(Probe::Tcp { port: 80 }));
    spec
}

impl Trial {
    fn new(first: ContainerSpec) -> Self {
        let mut model = Model::new(vec![]);
        model.sick = ["app:bad", "app:worse"].map(str::to_owned).into();
        let document = model.spec.clone();
        let mut trial = Self { model, document };
        // The engine was looked at before anything ran.
        trial.step();
        trial.want(first);
        trial
    }

    fn want(&mut self, spec: ContainerSpec) {
        let new = NodeSpec {
            generation: self.document.generation + 1,
            containers: vec![spec],
            ..NodeSpec::default()
        };
        let memory = &mut self.model.memory;
        let old = &self.document;
        memory
            .rollouts
            .change(old, &new, &self.model.seen, &memory.vitals);
        let effective = memory.rollouts.effective(&new);
        self.model.want(effective.containers);
        self.document = new;
    }

    /// What the shell's loop does once.
    fn step(&mut self) -> (Plan, Vec<Judgement>) {
        let model = &mut self.model;
        let memory = &mut model.memory;
        memory
            .vitals
            .follow(&model.spec, &model.seen, &memory.rollouts, model.now_ms);
        let (judged, wake) =
            memory
                .rollouts
                .judge(&self.document, &model.seen, &memory.vitals, model.now_ms);
        model.spec.containers = memory.rollouts.effective(&self.document).containers;
        let mut plan = model.plan();
        plan.wake_at_ms = plan.wake_at_ms.into_iter().chain(wake).min();
        model.act(&plan);
        (plan, judged)
    }

    /// Lets the box work for so many milliseconds; what was judged on the way.
    fn pass(&mut self, milliseconds: u64) -> Vec<Judgement> {
        let until = self.model.now_ms + milliseconds;
        let mut judged = Vec::new();
        loop {
            let (plan, more) = self.step();
            judged.extend(more);
            if !plan.actions.is_empty() || plan.apply_tables {
                continue;
            }
            let next = plan.wake_at_ms.unwrap_or(until).max(self.model.now_ms + 1);
            if next > until {
                self.model.now_ms = until;
                return judged;
            }
            self.model.now_ms = next;
        }
    }

    fn runs(&self) -> Option<&str> {
        let main = self.model.seen.find("web", Part::Main)?;
        (main.phase == Phase::Running).then_some(main.image.as_str())
    }
}

#[test]
fn a_successor_that_gets_healthy_stays_and_its_predecessor_is_forgotten() {
    for checked in [true, false] {
        let mut trial = Trial::new(web("app:1", checked));
        trial.pass(60_000);
        trial.want(web("app:2", checked));
        let judged = trial.pass(60_000);
        assert_eq!(judged.len(), 1, "{judged:?}");
        assert_eq!(judged[0].given_up, None);
        assert_eq!(trial.runs(), Some("app:2"));
        assert_eq!(trial.model.memory.rollouts, Rollouts::default());
    }
}

#[test]
fn a_successor_that_does_not_is_given_up_and_stays_so() {
    let mut trial = Trial::new(web("app:1", true));
    trial.pass(60_000);
    trial.want(web("app:bad", true));
    let judged = trial.pass(60_000);
    let why = judged[0].given_up.clone().unwrap();
    assert_eq!(why, "it is unhealthy (refused)");
    assert_eq!(trial.runs(), Some("app:1"));
    assert_eq!(trial.pass(3_600_000), []);
    assert_eq!(trial.runs(), Some("app:1"));
    // The next document is tried, and falls back on the same.
    trial.want(web("app:worse", true));
    assert_eq!(trial.pass(60_000).len(), 1);
    assert_eq!(trial.runs(), Some("app:1"));
    trial.want(web("app:2", true));
    trial.pass(60_000);
    assert_eq!(trial.runs(), Some("app:2"));
}

#[test]
fn going_back_to_what_runs_restarts_nothing() {
    let mut trial = Trial::new(web("app:1", true));
    trial.pass(60_000);
    trial.want(web("app:bad", true));
    trial.pass(60_000);
    let id = trial.model.id("web", Part::Main);
    trial.want(web("app:1", true));
    trial.pass(60_000);
    assert_eq!(trial.model.id("web", Part::Main), id);
    assert_eq!(trial.model.memory.rollouts, Rollouts::default());
}

#[test]
fn one_that_ends_at_once_is_given_up_at_its_deadline() {
    let mut trial = Trial::new(web("app:1", false));
    trial.pass(60_000);
    trial.want(web("app:2", false));
    // Replaced, and dead before it proved itself; then so every time.
    let began = trial.model.now_ms;
    let judged = loop {
        let (plan, judged) = trial.step();
        if !judged.is_empty() {
            break judged;
        }
        if trial.runs() == Some("app:2") {
            let id = trial.model.id("web", Part::Main);
            trial.model.end(&id, Phase::Exited);
        }
        if plan.actions.is_empty() && !plan.apply_tables {
            trial.model.now_ms = plan.wake_at_ms.unwrap();
        }
    };
    assert_eq!(
        judged[0].given_up.as_deref(),
        Some("it ended with 137 after 60 s")
    );
    assert_eq!(trial.model.now_ms, began + 60_000);
    trial.pass(1);
    assert_eq!(trial.runs(), Some("app:1"));
}

#[test]
fn without_rollback_or_with_nothing_good_before_nothing_comes_back() {
    let mut never = web("app:bad", true);
    never.update.rollback = false;
    for (first, second) in [
        (web("app:1", true), never),
        (web("app:worse", true), web("app:bad", true)),
    ] {
        let mut trial = Trial::new(first);
        trial.pass(60_000);
        trial.want(second);
        assert_eq!(trial.pass(300_000), []);
        assert_eq!(trial.runs(), Some("app:bad"));
    }
}

#[test]
fn a_power_cut_forgets_neither_a_trial_nor_its_end() {
    let mut trial = Trial::new(web("app:1", true));
    trial.pass(60_000);
    trial.want(web("app:bad", true));
    trial.pass(1_000);
    for _ in 0..2 {
        let text = serde_json::to_string(&trial.model.memory.rollouts).unwrap();
        let mut rollouts: Rollouts = serde_json::from_str(&text).unwrap();
        rollouts.found(&trial.document);
        trial.model.memory = Memory {
            rollouts,
            ..Memory::default()
        };
        trial.pass(120_000);
        assert_eq!(trial.runs(), Some("app:1"));
    }
    // Cut between the two files: the document before is in force.
    let mut rollouts = trial.model.memory.rollouts.clone();
    let mut before = trial.document.clone();
    before.containers = vec![web("app:1", true)];
    rollouts.found(&before);
    assert_eq!(rollouts, Rollouts::default());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Once something was good, something good runs after every change and its deadline.
    #[test]
    fn what_was_good_once_never_leaves_a_box_with_nothing_good(
        changes in prop::collection::vec((0..5usize, 0..90_000u64), 1..8),
    ) {
        let images = ["app:1", "app:2", "app:bad", "app:3", "app:worse"];
        let mut trial = Trial::new(web("app:0", true));
        trial.pass(60_000);
        for (image, wait) in changes {
            trial.want(web(images[image], true));
            trial.pass(wait);
        }
        trial.pass(120_000);
        let runs = trial.runs().map(str::to_owned);
        prop_assert!(runs.is_some_and(|image| !trial.model.sick.contains(&image)));
        let wanted = &trial.document.containers[0].image;
        if !trial.model.sick.contains(wanted) {
            prop_assert_eq!(trial.runs(), Some(wanted.as_str()));
        }
    }
}
