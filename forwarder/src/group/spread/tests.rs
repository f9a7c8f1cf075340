//! What a group promises, over random members.

use super::*;
use proptest::prelude::*;

const FLOWS: u64 = 40_000;

fn spread(members: &[(&str, u16, bool)]) -> Spread {
    Spread::new(members.iter().map(|&(key, weight, backup)| Share {
        key,
        weight,
        backup,
    }))
}

fn choices(spread: &Spread, usable: impl Fn(usize) -> bool) -> Vec<Option<usize>> {
    (0..FLOWS)
        .map(|flow| spread.choose(mix(flow), &usable))
        .collect()
}

#[test]
fn every_member_gets_its_share() {
    for weights in [&[1, 1][..], &[1, 3], &[100, 50, 50], &[1, 2, 3, 4, 5, 6]] {
        let names: Vec<_> = (0..weights.len()).map(|n| format!("fw-{n}")).collect();
        let members: Vec<_> = names
            .iter()
            .zip(weights)
            .map(|(name, &weight)| (name.as_str(), weight, false))
            .collect();
        let chosen = choices(&spread(&members), |_| true);
        let total: u16 = weights.iter().sum();
        for (place, &weight) in weights.iter().enumerate() {
            let got = chosen
                .iter()
                .filter(|choice| **choice == Some(place))
                .count();
            let (share, due) = (
                got as f64 / FLOWS as f64,
                f64::from(weight) / f64::from(total),
            );
            assert!(
                (share - due).abs() < 0.02,
                "{weights:?}[{place}]: {share:.3}, due {due:.3}"
            );
        }
    }
}

#[test]
fn backups_serve_only_while_nobody_else_does() {
    let group = spread(&[
        ("a", 1, false),
        ("b", 100, true),
        ("c", 1, false),
        ("d", 1, true),
    ]);
    let all = choices(&group, |_| true);
    assert!(all.iter().all(|choice| matches!(choice, Some(0 | 2))));
    let without_c = choices(&group, |place| place != 2);
    assert!(without_c.iter().all(|choice| *choice == Some(0)));
    let backups = choices(&group, |place| matches!(place, 1 | 3));
    assert!(backups.contains(&Some(1)) && backups.contains(&Some(3)));
    assert!(choices(&group, |_| false).iter().all(Option::is_none));
}

#[test]
fn a_choice_is_the_same_in_every_version() {
    // Forwarders of different versions share a path: these must never change.
    let group = spread(&[("fw-1", 1, false), ("fw-2", 2, false), ("fw-3", 1, false)]);
    let chosen: Vec<_> = (0..16)
        .map(|flow| group.choose(mix(flow), |_| true).unwrap())
        .collect();
    assert_eq!(chosen, GOLDEN);
}

const GOLDEN: [usize; 16] = [1, 2, 2, 2, 2, 1, 1, 2, 0, 0, 1, 1, 1, 0, 1, 2];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whoever_goes_takes_only_its_own_flows_and_gets_them_back(
        weights in prop::collection::vec((1..200_u16, any::<bool>()), 1..12),
        gone in any::<prop::sample::Index>(),
        dead in any::<u16>(),
    ) {
        let names: Vec<_> = (0..weights.len()).map(|n| format!("fw-{n}")).collect();
        let members: Vec<_> = names.iter().zip(&weights)
            .map(|(name, &(weight, backup))| (name.as_str(), weight, backup))
            .collect();
        let gone = gone.index(members.len());
        let alive = |place: usize| dead >> place & 1 == 0;
        let whole = spread(&members);
        let before = choices(&whole, alive);

        // Dead by liveness.
        let after = choices(&whole, |place| place != gone && alive(place));
        // Taken out of the tables.
        let mut fewer = members.clone();
        fewer.remove(gone);
        let back = |place: usize| if place < gone { place } else { place + 1 };
        let removed = choices(&spread(&fewer), |place| alive(back(place)));
        // In another order.
        let mut turned: Vec<_> = members.clone();
        turned.reverse();
        let turned = choices(&spread(&turned), |place| alive(members.len() - 1 - place));

        let only_backups = (0..members.len())
            .all(|place| weights[place].1 || place == gone || !alive(place));
        for flow in 0..before.len() {
            prop_assert_eq!(removed[flow].map(back), after[flow]);
            prop_assert_eq!(turned[flow].map(|place| members.len() - 1 - place), before[flow]);
            if before[flow] != Some(gone) {
                prop_assert_eq!(after[flow], before[flow]);
            } else {
                prop_assert_ne!(after[flow], before[flow]);
                let to_backup = after[flow].is_some_and(|place| weights[place].1);
                prop_assert!(!to_backup || only_backups);
            }
        }
    }
}
