//! Whatever has happened to a box, it comes to match its document, then rests; and what was
//! right from the start is not touched on the way.

use super::model::{Model, container, leg};
use super::*;
use kc_agent_api::{ContainerSpec, Network};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Accident {
    KillMain(usize),
    KillPause(usize),
    PauseRestartsBeneath(usize),
    CutLeg(usize),
    LegDown(usize),
    Reboot,
    LoseMemory,
    MainHalfMade(usize),
}

fn document() -> impl Strategy<Value = Vec<ContainerSpec>> {
    let entry = (0..4u8, 0..3u8, 0..3u8);
    prop::collection::btree_map(0..5u8, entry, 0..5).prop_map(|entries| {
        let entries = entries.into_iter();
        entries
            .map(|(name, (image, legs, mtu))| {
                let network = match legs {
                    0 if image == 3 => Network::Host,
                    legs => Network::Legs(
                        (0..legs)
                            .map(|n| {
                                let mut leg = leg(&format!("eth{n}"), &format!("kc{name}p{n}"));
                                leg.mtu = 1400 + u16::from(mtu);
                                leg
                            })
                            .collect(),
                    ),
                };
                let mut spec = container(&format!("c{name}"), network);
                spec.image = format!("app:{image}");
                spec
            })
            .collect()
    })
}

fn accident() -> impl Strategy<Value = Accident> {
    prop_oneof![
        any::<usize>().prop_map(Accident::KillMain),
        any::<usize>().prop_map(Accident::KillPause),
        any::<usize>().prop_map(Accident::PauseRestartsBeneath),
        any::<usize>().prop_map(Accident::CutLeg),
        any::<usize>().prop_map(Accident::LegDown),
        any::<usize>().prop_map(Accident::MainHalfMade),
        Just(Accident::Reboot),
        Just(Accident::LoseMemory),
    ]
}

fn pick(model: &Model, part: Part, n: usize) -> Option<String> {
    let all: Vec<_> = model
        .seen
        .containers
        .iter()
        .filter(|seen| seen.part == part)
        .collect();
    (!all.is_empty()).then(|| all[n % all.len()].id.clone())
}

fn happen(model: &mut Model, accident: Accident) {
    match accident {
        Accident::KillMain(n) => {
            if let Some(id) = pick(model, Part::Main, n) {
                model.end(&id, Phase::Exited);
            }
        }
        Accident::KillPause(n) => {
            if let Some(id) = pick(model, Part::Pause, n) {
                model.end(&id, Phase::Exited);
            }
        }
        Accident::PauseRestartsBeneath(n) => {
            if let Some(id) = pick(model, Part::Pause, n) {
                model.end(&id, Phase::Exited);
                model.run(&id);
            }
        }
        Accident::CutLeg(n) => {
            let ports: Vec<_> = model.seen.host.keys().cloned().collect();
            if !ports.is_empty() {
                model.cut(&ports[n % ports.len()]);
            }
        }
        Accident::LegDown(n) => {
            let count = model.seen.host.len();
            if let Some(link) = model.seen.host.values_mut().nth(n % count.max(1)) {
                link.up = false;
            }
        }
        Accident::MainHalfMade(n) => {
            if let Some(id) = pick(model, Part::Main, n) {
                model.end(&id, Phase::Created);
            }
        }
        Accident::Reboot => {
            let ids: Vec<_> = model
                .seen
                .containers
                .iter()
                .map(|seen| seen.id.clone())
                .collect();
            for id in &ids {
                model.end(id, Phase::Exited);
            }
            // The engine brings up what it can.
            for part in [Part::Pause, Part::Main] {
                for id in &ids {
                    let seen = model.seen.containers.iter().find(|seen| &seen.id == id);
                    if seen.is_some_and(|seen| seen.part == part) {
                        model.run(id);
                    }
                }
            }
        }
        Accident::LoseMemory => model.memory = Memory::default(),
    }
}

/// Ids of entries that are just as the document wants them.
fn healthy(model: &Model) -> BTreeMap<String, Vec<(String, Option<u32>)>> {
    let mut healthy = BTreeMap::new();
    for want in &model.spec.containers {
        let mut probe = model.clone();
        probe.spec.containers = vec![want.clone()];
        probe.seen.containers.retain(|seen| seen.name == want.name);
        if probe.differs().is_none() {
            let ids = probe.seen.containers.iter();
            healthy.insert(
                want.name.clone(),
                ids.map(|seen| (seen.id.clone(), seen.pid)).collect(),
            );
        }
    }
    healthy
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_box_comes_to_match_its_document_and_rests(
        first in document(),
        accidents in prop::collection::vec(accident(), 0..6),
        second in document(),
    ) {
        let mut model = Model::new(first);
        model.settle();
        for accident in accidents {
            happen(&mut model, accident);
        }
        model.want(second);
        let before = healthy(&model);
        model.settle();
        model.assert_matches();
        prop_assert_eq!(model.plan(), Plan::default());
        let after = healthy(&model);
        for (name, ids) in before {
            prop_assert_eq!(Some(&ids), after.get(&name), "{} was touched", name);
        }
    }
}
