//! How well containers are: what tries of their health checks came to, counted against thresholds.
//! Says when the next try is due, never tries itself.

use super::{Observed, Part, Phase, Rollouts, Seen};
use kc_agent_api::{ContainerSpec, Health, HealthCheck, NodeSpec, Probe};
use std::collections::BTreeMap;

/// Longest pause between tries until a container is healthy for the first time: readiness is not kept
/// waiting for a long interval.
const EAGER_MS: u32 = 1_000;

/// One life of one container, from a start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vital {
    id: String,
    pid: Option<u32>,
    check: Option<HealthCheck>,
    /// When it was first seen running.
    pub since_ms: u64,
    verdict: Health,
    passing: u32,
    failing: u32,
    /// From when on a failure counts again.
    counts_ms: u64,
    next_ms: u64,
    /// What the last failure said.
    pub said: Option<String>,
}

/// All containers that run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vitals {
    lives: BTreeMap<String, Vital>,
    /// Whether the engine was ever looked at. What ran before that is taken for healthy until tries
    /// say otherwise: an agent that restarts must not take healthy functions out of their paths.
    acquainted: bool,
}

impl Vitals {
    /// Takes up what runs now. Who is on trial is taken for nothing.
    pub fn follow(&mut self, spec: &NodeSpec, seen: &Observed, rollouts: &Rollouts, now_ms: u64) {
        if !seen.engine {
            return;
        }
        let mut before = std::mem::take(&mut self.lives);
        for want in &spec.containers {
            let main = seen.find(&want.name, Part::Main);
            let Some(main) = main.filter(|main| main.phase == Phase::Running) else {
                continue;
            };
            let known = before
                .remove(&want.name)
                .filter(|life| life.id == main.id && life.pid == main.pid);
            let check = want.health.clone().filter(|check| check.probe.is_ours());
            let life = match known {
                Some(life) if life.check == check => life,
                Some(life) => life.under(check, now_ms),
                None => {
                    let presumed = !self.acquainted && !rollouts.on_trial(&want.name);
                    Vital::new(main, check, presumed, now_ms)
                }
            };
            self.lives.insert(want.name.clone(), life);
        }
        self.acquainted = true;
    }

    /// The life of a container, while it runs.
    pub fn of(&self, name: &str) -> Option<&Vital> {
        self.lives.get(name)
    }

    /// What is known of the health of `main`; nothing where nobody checks it, or it does not run.
    pub fn health(&self, want: &ContainerSpec, main: &Seen) -> Option<Health> {
        if main.phase != Phase::Running {
            return None;
        }
        match want.health.as_ref().map(|check| &check.probe) {
            None | Some(Probe::Image) => main.health,
            Some(Probe::None) => None,
            Some(_) => Some(match self.lives.get(&want.name) {
                Some(life) if life.id == main.id && life.pid == main.pid => life.verdict,
                _ => Health::Starting,
            }),
        }
    }

    /// When the next try of `want` is due, where we are the ones to try.
    pub fn due(&self, want: &ContainerSpec) -> Option<u64> {
        let life = self.lives.get(&want.name)?;
        life.check.as_ref().map(|_| life.next_ms)
    }

    /// Takes up what a try of the container `id` in its life `pid` came to; the verdict when it
    /// changed.
    pub fn tried(
        &mut self,
        name: &str,
        (id, pid): (&str, u32),
        outcome: Result<(), String>,
        now_ms: u64,
    ) -> Option<Health> {
        let life = self.lives.get_mut(name)?;
        (life.id == id && life.pid == Some(pid)).then_some(())?;
        life.tried(outcome, now_ms)
    }
}

impl Vital {
    fn new(main: &Seen, check: Option<HealthCheck>, presumed: bool, now_ms: u64) -> Self {
        let grace = check.as_ref().map_or(0, |check| {
            u64::from(check.start_period_ms) + u64::from(check.interval_ms)
        });
        Self {
            id: main.id.clone(),
            pid: main.pid,
            check,
            since_ms: now_ms,
            verdict: if presumed {
                Health::Healthy
            } else {
                Health::Starting
            },
            passing: 0,
            failing: 0,
            counts_ms: if presumed {
                now_ms
            } else {
                now_ms.saturating_add(grace)
            },
            next_ms: now_ms,
            said: None,
        }
    }

    /// The same life under another check: it is not taken for worse than it was.
    fn under(self, check: Option<HealthCheck>, now_ms: u64) -> Self {
        let fine = self.check.is_none() || self.verdict == Health::Healthy;
        Self {
            check,
            verdict: if fine {
                Health::Healthy
            } else {
                Health::Starting
            },
            passing: 0,
            failing: 0,
            counts_ms: now_ms,
            next_ms: now_ms,
            said: None,
            ..self
        }
    }

    fn tried(&mut self, outcome: Result<(), String>, now_ms: u64) -> Option<Health> {
        let check = self.check.as_ref()?;
        let before = self.verdict;
        match outcome {
            Ok(()) => {
                self.failing = 0;
                self.passing = self.passing.saturating_add(1);
                if self.passing >= check.success_threshold {
                    self.verdict = Health::Healthy;
                    self.said = None;
                }
            }
            Err(said) => {
                self.passing = 0;
                self.said = Some(said);
                // Until it is healthy it is tried more often than failures count.
                if before == Health::Healthy || now_ms >= self.counts_ms {
                    self.failing = self.failing.saturating_add(1);
                    self.counts_ms = now_ms.saturating_add(u64::from(check.interval_ms));
                }
                if self.failing >= check.failure_threshold {
                    self.verdict = Health::Unhealthy;
                }
            }
        }
        let pause = match self.verdict {
            Health::Healthy => check.interval_ms,
            _ => check.interval_ms.min(EAGER_MS),
        };
        self.next_ms = now_ms.saturating_add(u64::from(pause));
        (self.verdict != before).then_some(self.verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Model, container};
    use super::*;
    use kc_agent_api::Network;

    fn checked() -> ContainerSpec {
        let mut spec = container("web", Network::Host);
        spec.health = Some(HealthCheck {
            start_period_ms: 5_000,
            success_threshold: 2,
            ..HealthCheck::new(Probe::Tcp { port: 80 })
        });
        spec
    }

    fn running() -> (Model, Vitals) {
        let mut vitals = Vitals::default();
        let mut model = Model::new(vec![checked()]);
        vitals.follow(&model.spec, &model.seen, &Rollouts::default(), 0);
        model.settle();
        vitals.follow(&model.spec, &model.seen, &Rollouts::default(), model.now_ms);
        (model, vitals)
    }

    fn life(model: &Model) -> (String, u32) {
        let main = model.seen.find("web", Part::Main).unwrap();
        (main.id.clone(), main.pid.unwrap())
    }

    fn fail() -> Result<(), String> {
        Err("refused".to_owned())
    }

    #[test]
    fn successes_in_a_row_make_healthy_and_a_failure_between_them_does_not() {
        let (model, mut vitals) = running();
        let (id, pid) = life(&model);
        let mut tried = |outcome, at| vitals.tried("web", (&id, pid), outcome, at);
        assert_eq!(tried(Ok(()), 0), None);
        assert_eq!(tried(fail(), 1_000), None);
        assert_eq!(tried(Ok(()), 2_000), None);
        assert_eq!(tried(Ok(()), 3_000), Some(Health::Healthy));
        assert_eq!(vitals.due(&checked()), Some(13_000));
    }

    #[test]
    fn failures_count_from_the_start_period_on_and_once_an_interval() {
        let (model, mut vitals) = running();
        let (id, pid) = life(&model);
        let verdict = (0..60).find_map(|second| {
            let at = second * 1_000;
            Some((at, vitals.tried("web", (&id, pid), fail(), at)?))
        });
        // 5 s of start period, then three intervals of 10 s.
        assert_eq!(verdict, Some((35_000, Health::Unhealthy)));
    }

    #[test]
    fn what_runs_when_the_agent_comes_is_healthy_until_it_fails() {
        let (model, _) = running();
        let (id, pid) = life(&model);
        let mut vitals = Vitals::default();
        vitals.follow(&model.spec, &model.seen, &Rollouts::default(), 0);
        let main = model.seen.find("web", Part::Main).unwrap();
        assert_eq!(vitals.health(&checked(), main), Some(Health::Healthy));
        for _ in 0..2 {
            assert_eq!(vitals.tried("web", (&id, pid), fail(), 0), None);
        }
        let third = vitals.tried("web", (&id, pid), fail(), 0);
        assert_eq!(third, Some(Health::Unhealthy));
    }

    #[test]
    fn a_word_about_a_former_life_says_nothing() {
        let (mut model, mut vitals) = running();
        let (id, pid) = life(&model);
        model.end(&id, Phase::Exited);
        model.run(&id);
        vitals.follow(&model.spec, &model.seen, &Rollouts::default(), 100);
        for _ in 0..9 {
            assert_eq!(vitals.tried("web", (&id, pid), Ok(()), 100), None);
        }
        let main = model.seen.find("web", Part::Main).unwrap();
        assert_eq!(vitals.health(&checked(), main), Some(Health::Starting));
    }

    #[test]
    fn a_new_check_does_not_make_a_healthy_container_worse() {
        let (mut model, mut vitals) = running();
        model.spec.containers[0].health = None;
        vitals.follow(&model.spec, &model.seen, &Rollouts::default(), 0);
        model.spec.containers[0] = checked();
        vitals.follow(&model.spec, &model.seen, &Rollouts::default(), 0);
        let main = model.seen.find("web", Part::Main).unwrap();
        assert_eq!(vitals.health(&checked(), main), Some(Health::Healthy));
    }
}
