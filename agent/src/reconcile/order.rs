//! Who starts before whom on this box. What a container needs is ready when one container of that
//! function or service runs with its legs, and is healthy where it has a check. What is not on this box is not this
//! box's to wait for.

use super::plan::World;
use super::{Part, Phase, is_wired};
use kc_agent_api::{ContainerSpec, Health};

/// The first of what `want` needs that is on this box and not ready.
pub(crate) fn waits_for<'a>(want: &'a ContainerSpec, world: &World<'_>) -> Option<&'a str> {
    let mut needs = want.depends_on.iter().map(String::as_str);
    needs.find(|need| {
        let here = world.spec.containers.iter();
        let mut here = here
            .filter(|other| other.role.owner() == *need && other.name != want.name)
            .peekable();
        here.peek().is_some() && !here.any(|other| is_ready(other, world))
    })
}

fn is_ready(want: &ContainerSpec, world: &World<'_>) -> bool {
    world.seen.find(&want.name, Part::Main).is_some_and(|main| {
        let health = world.memory.vitals.health(want, main);
        main.phase == Phase::Running
            && is_wired(want, world.seen)
            && matches!(health, None | Some(Health::Healthy))
    })
}

#[cfg(test)]
mod tests {
    use crate::reconcile::model::{Model, container, leg};
    use crate::reconcile::{Action, Part, Phase};
    use kc_agent_api::{ContainerSpec, Health, Network};
    use proptest::prelude::*;

    fn needing(name: &str, needs: &[&str]) -> ContainerSpec {
        ContainerSpec {
            depends_on: needs.iter().map(|need| (*need).to_owned()).collect(),
            ..container(name, Network::Legs(vec![leg("eth0", &format!("{name}0"))]))
        }
    }

    /// Containers in the order in which they were made or started.
    fn order(actions: &[Action]) -> Vec<&str> {
        let started = actions.iter().filter_map(|action| match action {
            Action::Create { part, name, .. } | Action::Start { part, name, .. } => {
                (*part == Part::Main).then_some(name.as_str())
            }
            _ => None,
        });
        started.collect()
    }

    #[test]
    fn whoever_needs_another_starts_after_it_and_after_a_reboot_too() {
        let mut model = Model::new(vec![
            needing("web", &["app"]),
            needing("app", &["db", "elsewhere"]),
            needing("db", &[]),
        ]);
        let actions = model.settle();
        assert_eq!(order(&actions), ["db", "app", "web"]);
        // Images and wires wait for nobody.
        let first = actions.iter().position(|a| {
            matches!(
                a,
                Action::Create {
                    part: Part::Main,
                    ..
                }
            )
        });
        let images = actions.iter().take(first.unwrap());
        let images = images.filter(|a| {
            matches!(
                a,
                Action::Image {
                    part: Part::Main,
                    ..
                }
            )
        });
        assert_eq!(images.count(), 3);

        model.now_ms += 100_000;
        for name in ["web", "app", "db"] {
            let id = model.id(name, Part::Main);
            model.end(&id, Phase::Exited);
        }
        assert_eq!(order(&model.settle()), ["db", "app", "web"]);
        assert_eq!(model.settle(), []);
    }

    #[test]
    fn what_is_checked_has_to_be_healthy() {
        let mut model = Model::new(vec![needing("db", &[])]);
        model.settle();
        let says = |model: &mut Model, health| {
            let mut containers = model.seen.containers.iter_mut();
            let db = containers.find(|seen| seen.part == Part::Main).unwrap();
            db.health = Some(health);
        };
        for health in [Health::Starting, Health::Unhealthy] {
            says(&mut model, health);
            model.want(vec![needing("web", &["db"]), needing("db", &[])]);
            for _ in 0..50 {
                let plan = model.plan();
                model.act(&plan);
            }
            assert!(model.seen.find("web", Part::Main).is_none(), "{health:?}");
        }
        says(&mut model, Health::Healthy);
        model.settle();
        assert!(model.seen.find("web", Part::Main).is_some());
    }

    #[test]
    fn what_runs_goes_on_when_what_it_needs_ends() {
        let mut model = Model::new(vec![needing("web", &["db"]), needing("db", &[])]);
        model.settle();
        let web = model.id("web", Part::Main);
        model.now_ms += 100_000;
        let id = model.id("db", Part::Main);
        model.end(&id, Phase::Exited);
        assert_eq!(order(&model.settle()), ["db"]);
        assert_eq!(model.id("web", Part::Main), web);
    }

    proptest! {
        /// Needs that point backwards only, in any document order: everything runs in the end, and nothing
        /// before what it needs.
        #[test]
        fn every_order_without_circles_comes_up(
            needs in prop::collection::vec(prop::collection::btree_set(0..8_usize, 0..3), 1..8),
            seed in any::<u64>(),
        ) {
            let mut containers: Vec<ContainerSpec> = needs
                .iter()
                .enumerate()
                .map(|(at, needs)| {
                    let needs = needs.iter().filter(|need| **need < at);
                    let needs: Vec<String> = needs.map(|need| format!("c{need}")).collect();
                    let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
                    needing(&format!("c{at}"), &needs)
                })
                .collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut containers);
            let mut model = Model::new(containers.clone());
            let actions = model.settle();
            let order = order(&actions);
            prop_assert_eq!(order.len(), containers.len());
            let place = |name: &str| order.iter().position(|one| *one == name);
            for want in &containers {
                for need in &want.depends_on {
                    prop_assert!(place(need) < place(&want.name), "{:?}", order);
                }
            }
        }
    }
}
