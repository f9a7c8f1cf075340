//! How many there shall be: examples, and what holds whatever is measured.

use super::*;
use proptest::prelude::*;

fn spec(text: &str) -> AutoscaleSpec {
    serde_saphyr::from_str(text).unwrap()
}

fn tracking() -> AutoscaleSpec {
    spec("{min: 1, max: 4, target: {cpu: 60%}}")
}

fn cpu(values: &[f32]) -> Seen<'static> {
    Seen {
        wanted: u32::try_from(values.len()).unwrap(),
        measured: BTreeMap::from([(Metric::Cpu, values.to_vec())]),
        ..Seen::default()
    }
}

fn number(decision: &Decision) -> Option<u32> {
    decision.change.as_ref().map(|(replicas, _)| *replicas)
}

#[test]
fn as_many_as_bring_the_mean_to_its_target() {
    let mut history = History::default();
    let decision = decide(&tracking(), &mut history, &cpu(&[90.0, 80.0]), 1_000);
    assert_eq!(
        decision.change,
        Some((3, "cpu is 85% in the mean of 2, the target 60%".to_owned()))
    );
    let near = decide(&tracking(), &mut History::default(), &cpu(&[65.0, 64.0]), 0);
    assert_eq!(near, Decision::default(), "near enough");
}

#[test]
fn it_grows_no_further_than_it_may_and_says_so() {
    let (spec, mut history) = (tracking(), History::default());
    let full = cpu(&[100.0; 4]);
    let decision = decide(&spec, &mut history, &full, 0);
    assert_eq!(decision.change, None);
    assert_eq!(decision.held.unwrap(), "4 are the most there may be");
    let fewer = decide(&spec, &mut history, &cpu(&[100.0; 6]), 0);
    assert_eq!(fewer.change, Some((4, "at most 4".to_owned())));
}

#[test]
fn it_shrinks_after_five_quiet_minutes_and_not_a_second_before() {
    let (spec, mut history) = (tracking(), History::default());
    let idle = cpu(&[10.0, 10.0, 10.0]);
    for now in (0..300_000).step_by(1_000) {
        assert_eq!(decide(&spec, &mut history, &idle, now).change, None);
    }
    assert_eq!(
        number(&decide(&spec, &mut history, &idle, 300_000)),
        Some(1)
    );
}

#[test]
fn a_single_busy_moment_within_the_window_keeps_them_all() {
    let (spec, mut history) = (tracking(), History::default());
    decide(&spec, &mut history, &cpu(&[10.0, 10.0]), 0);
    decide(&spec, &mut history, &cpu(&[55.0, 60.0]), 200_000);
    decide(&spec, &mut history, &cpu(&[10.0, 10.0]), 201_000);
    let idle = cpu(&[10.0, 10.0]);
    assert_eq!(decide(&spec, &mut history, &idle, 400_000).change, None);
    assert_eq!(decide(&spec, &mut history, &idle, 500_999).change, None);
    assert_eq!(
        number(&decide(&spec, &mut history, &idle, 501_000)),
        Some(1)
    );
}

#[test]
fn what_nobody_measures_is_neither_made_up_for_nor_taken_away() {
    let (spec, mut history) = (tracking(), History::default());
    let half = Seen {
        wanted: 4,
        ..cpu(&[20.0, 20.0])
    };
    assert_eq!(decide(&spec, &mut history, &half, 0), Decision::default());
    let wished = decide(&spec, &mut history, &half, 400_000);
    assert_eq!(number(&wished), Some(3), "two of 20 % and two of 60 %");
    let nobody = Seen {
        wanted: 3,
        ..Seen::default()
    };
    let mut history = History::default();
    for now in [0, 400_000, 800_000] {
        assert_eq!(decide(&spec, &mut history, &nobody, now).change, None);
    }
    let coming = Seen {
        wanted: 3,
        coming: 1,
        ..cpu(&[85.0, 85.0])
    };
    assert_eq!(
        decide(&spec, &mut history, &coming, 0).change,
        None,
        "the third is on its way"
    );
}

#[test]
fn steps_follow_alarms_each_after_its_cooldown() {
    let spec = spec(
        "{max: 5, steps: [{alarm: busy, add: 2}, {alarm: idle, remove: 1}], scaleOut: {cooldown: 30s}}",
    );
    let (busy, idle) = (Name::new("busy").unwrap(), Name::new("idle").unwrap());
    let fires = |wanted, alarm| Seen {
        wanted,
        firing: BTreeSet::from([alarm]),
        ..Seen::default()
    };
    let mut history = History::default();
    let first = decide(&spec, &mut history, &fires(1, &busy), 0);
    assert_eq!(first.change, Some((3, "alarm busy fires".to_owned())));
    let early = decide(&spec, &mut history, &fires(3, &busy), 29_999);
    assert_eq!((early.change, early.wake_at_ms), (None, Some(30_000)));
    let coming = Seen {
        coming: 1,
        ..fires(3, &busy)
    };
    let waits = decide(&spec, &mut history, &coming, 30_000);
    assert_eq!(waits.held.as_deref(), Some("more are on their way"));
    assert_eq!(
        number(&decide(&spec, &mut history, &fires(3, &busy), 30_000)),
        Some(5)
    );
    let soon = decide(&spec, &mut history, &fires(5, &idle), 80_000);
    assert_eq!((soon.change, soon.wake_at_ms), (None, Some(90_000)));
    assert_eq!(
        number(&decide(&spec, &mut history, &fires(5, &idle), 90_000)),
        Some(4)
    );
}

#[test]
fn a_target_that_wants_them_keeps_what_a_step_would_remove() {
    let spec = spec("{max: 4, target: {cpu: 50%}, steps: [{alarm: idle, remove: 2}]}");
    let idle = Name::new("idle").unwrap();
    let seen = Seen {
        firing: BTreeSet::from([&idle]),
        ..cpu(&[50.0, 50.0, 50.0])
    };
    let mut history = History::default();
    for now in [0, 300_000, 600_000] {
        assert_eq!(decide(&spec, &mut history, &seen, now).change, None);
    }
}

#[test]
fn who_waits_for_one_more_gets_one_and_no_second_while_it_comes() {
    let spec = spec("{max: 3}");
    let mut history = History::default();
    let need = Seen {
        wanted: 1,
        need: Some("nobody could take web from dpi-1".into()),
        ..Seen::default()
    };
    assert_eq!(number(&decide(&spec, &mut history, &need, 0)), Some(2));
    let coming = Seen {
        wanted: 2,
        coming: 1,
        ..need
    };
    let waits = decide(&spec, &mut history, &coming, 60_000);
    assert_eq!(waits.held.as_deref(), Some("more are on their way"));
}

proptest! {
    /// Whatever is measured, in whatever order, with clocks that jump.
    #[test]
    fn bounds_cooldowns_and_the_budget_always_hold(
        samples in prop::collection::vec(
            (prop::collection::vec(0.0..200.0_f32, 0..6), 0..60_000_u64, any::<bool>(), 0..20_u8),
            1..200,
        ),
    ) {
        let spec = spec(
            "{min: 2, max: 5, target: {cpu: 60%}, steps: [{alarm: busy, add: 1}], \
             scaleOut: {cooldown: 20s}, scaleIn: {cooldown: 40s, stabilization: 60s}, \
             flapBudget: {turns: 3, within: 10m}}",
        );
        let busy = Name::new("busy").unwrap();
        let (mut history, mut now, mut wanted) = (History::default(), 1_000_000, 2);
        let mut changes: Vec<(u64, bool)> = Vec::new();
        let mut jumped = false;
        for (values, pass, fires, jump) in samples {
            now += pass;
            if jump == 0 {
                now -= 500_000.min(now);
                jumped = true;
            }
            let seen = Seen {
                wanted,
                measured: BTreeMap::from([(Metric::Cpu, values)]),
                firing: fires.then_some(&busy).into_iter().collect(),
                ..Seen::default()
            };
            let before = history.clone();
            let decision = decide(&spec, &mut history, &seen, now);
            let Some((next, _)) = decision.change else {
                let mut again = history.clone();
                prop_assert_eq!(&decide(&spec, &mut again, &seen, now), &decision);
                prop_assert_eq!(again, history.clone(), "the same again changes nothing");
                continue;
            };
            prop_assert!((2..=5).contains(&next) && next != wanted, "{:?}", before);
            let out = next > wanted;
            let gap = if out { 20_000 } else { 40_000 };
            let barred = changes.iter().any(|(at, grew)| now - at.min(&now) < gap && (*grew || !out));
            prop_assert!(jumped || !barred, "{:?} at {}: {:?}", changes, now, next);
            changes.push((now, out));
            wanted = next;
            if !jumped && !out {
                let recent: Vec<_> = changes.iter().filter(|(at, _)| now - at < 600_000).collect();
                let turns = recent.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
                prop_assert!(turns <= 4, "{:?}", recent);
            }
        }
    }

    /// A steady load moves the number once and writes nothing more.
    #[test]
    fn a_steady_load_comes_to_rest(load in 1.0..400.0_f32) {
        let spec = tracking();
        let (mut history, mut wanted) = (History::default(), 2_u32);
        let mut last = 0;
        for now in (0..4_000_000).step_by(1_000) {
            let each = load / f32::from(u16::try_from(wanted).unwrap());
            let before = history.clone();
            let seen = cpu(&vec![each; usize::try_from(wanted).unwrap()]);
            if let Some((next, _)) = decide(&spec, &mut history, &seen, now).change {
                wanted = next;
                last = now;
            } else if now > last + 400_000 {
                prop_assert_eq!(before, history.clone());
            }
        }
        prop_assert!(last < 2_000_000, "still moving at {}", last);
    }
}
