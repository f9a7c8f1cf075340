//! Single decisions, one at a time.

use super::model::{Model, PAUSE, container, leg};
use super::*;
use kc_agent_api::{Network, PullPolicy, Restart};

fn wired(name: &str) -> kc_agent_api::ContainerSpec {
    let legs = vec![
        leg("inside", &format!("{name}i")),
        leg("outside", &format!("{name}o")),
    ];
    container(name, Network::Legs(legs))
}

fn words(actions: &[Action]) -> Vec<String> {
    actions.iter().map(Action::to_string).collect()
}

#[test]
fn a_new_container_is_wired_before_it_starts() {
    let mut model = Model::new(vec![wired("fw")]);
    assert_eq!(
        words(&model.settle()),
        [
            "find image app:1 for fw",
            &format!("find image {PAUSE} for fw"),
            "create pause container of fw",
            "wire 2 legs of fw",
            "create container of fw",
        ]
    );
    model.assert_matches();
    assert_eq!(model.plan(), Plan::default());
}

#[test]
fn a_host_container_needs_no_pause() {
    let mut model = Model::new(vec![container("web", Network::Host)]);
    assert_eq!(
        words(&model.settle()),
        ["find image app:1 for web", "create container of web"]
    );
}

#[test]
fn a_lost_memory_restarts_nothing() {
    let mut model = Model::new(vec![wired("fw"), container("web", Network::Host)]);
    model.settle();
    model.memory = Memory::default();
    assert_eq!(model.settle(), []);
}

#[test]
fn a_killed_container_starts_again_at_once_and_then_more_slowly() {
    let mut model = Model::new(vec![wired("fw")]);
    model.settle();
    model.now_ms = 50_000;
    let id = model.id("fw", Part::Main);
    model.end(&id, Phase::Exited);
    assert_eq!(words(&model.settle()), ["start container of fw"]);
    assert_eq!(model.now_ms, 50_000);
    model.end(&id, Phase::Exited);
    assert_eq!(model.plan().wake_at_ms, Some(51_000));
    assert_eq!(model.plan().actions, []);
}

#[test]
fn a_container_the_engine_is_restarting_is_left_to_it() {
    let mut model = Model::new(vec![wired("fw")]);
    model.settle();
    model.end(&model.id("fw", Part::Main), Phase::Restarting);
    assert_eq!(model.plan(), Plan::default());
}

#[test]
fn a_container_that_may_end_is_left_alone() {
    for (restart, code, starts) in [
        (Restart::Never, 1, false),
        (Restart::OnFailure, 0, false),
        (Restart::OnFailure, 1, true),
        (Restart::Always, 0, true),
    ] {
        let mut spec = wired("job");
        spec.restart = restart;
        let mut model = Model::new(vec![spec]);
        model.settle();
        model.end(&model.id("job", Part::Main), Phase::Exited);
        model
            .seen
            .containers
            .iter_mut()
            .for_each(|seen| seen.exit_code = Some(code));
        assert_eq!(!model.settle().is_empty(), starts, "{restart:?} {code}");
    }
}

#[test]
fn a_dead_pause_takes_its_container_along() {
    let mut model = Model::new(vec![wired("fw")]);
    model.settle();
    model.end(&model.id("fw", Part::Pause), Phase::Exited);
    let done = words(&model.settle());
    assert_eq!(done[0], "remove container of fw: its namespace has died");
    assert_eq!(
        done[1],
        "remove pause container of fw: its namespace has died"
    );
    model.assert_matches();
}

#[test]
fn a_pause_that_restarted_beneath_gets_its_container_back_inside() {
    let mut model = Model::new(vec![wired("fw")]);
    model.settle();
    let (pause, main) = (model.id("fw", Part::Pause), model.id("fw", Part::Main));
    model.end(&pause, Phase::Exited);
    model.run(&pause);
    assert_eq!(
        words(&model.settle()),
        [
            "stop fw to rewire it",
            "wire 2 legs of fw",
            "start container of fw"
        ]
    );
    model.assert_matches();
    assert_eq!(model.id("fw", Part::Main), main);
}

#[test]
fn a_leg_that_drifted_is_put_right_under_the_running_container() {
    let mut model = Model::new(vec![wired("fw")]);
    model.settle();
    model.seen.host.get_mut("fwi").unwrap().up = false;
    assert_eq!(words(&model.settle()), ["wire 1 legs of fw"]);
}

#[test]
fn a_changed_container_goes_only_when_its_successors_image_is_there() {
    let mut model = Model::new(vec![wired("fw"), wired("dpi")]);
    model.settle();
    let mut changed = wired("fw");
    changed.image = "app:2".into();
    changed.pull = PullPolicy::Always;
    model.want(vec![changed, wired("dpi")]);
    let pause = model.id("fw", Part::Pause);
    assert_eq!(words(&model.plan().actions), ["find image app:2 for fw"]);
    assert_eq!(
        words(&model.settle()),
        [
            "find image app:2 for fw",
            "remove container of fw: the document wants another",
            "create container of fw",
        ]
    );
    assert_eq!(model.id("fw", Part::Pause), pause);
}

#[test]
fn changed_legs_replace_both() {
    let mut model = Model::new(vec![wired("fw")]);
    model.settle();
    model.want(vec![container(
        "fw",
        Network::Legs(vec![leg("inside", "fwi")]),
    )]);
    model.settle();
    model.assert_matches();
    assert!(!model.seen.host.contains_key("fwo"));
}

#[test]
fn what_leaves_the_document_goes_after_the_tables_that_know_it() {
    let mut model = Model::new(vec![wired("fw"), wired("dpi")]);
    model.settle();
    model.want(vec![wired("dpi")]);
    let plan = model.plan();
    assert!(plan.apply_tables && plan.actions.is_empty(), "{plan:?}");
    model.memory.tables = TablesProgress::Waiting;
    assert_eq!(model.plan(), Plan::default());
    for settled in [TablesProgress::Applied, TablesProgress::Hopeless] {
        let mut model = model.clone();
        model.memory.tables = settled;
        assert_eq!(
            words(&model.settle()),
            [
                "remove container of fw: it has left the document",
                "remove pause container of fw: it has left the document",
            ]
        );
    }
}

#[test]
fn an_outdated_document_takes_nothing_away() {
    let mut newer = wired("fw");
    newer.image = "app:2".into();
    let mut model = Model::new(vec![newer, wired("dpi")]);
    model.settle();
    model.want(vec![wired("fw"), wired("nat")]);
    model.memory.outdated = true;
    let done = words(&model.settle());
    assert!(done.iter().all(|step| step.ends_with("nat")), "{done:?}");
    model.want(vec![wired("fw"), wired("nat")]);
    model.memory.outdated = false;
    model.settle();
    model.assert_matches();
}

#[test]
fn tables_wait_for_wires_but_not_for_images_or_failures() {
    let mut model = Model::new(vec![wired("fw")]);
    // Images are on their way: nothing to wait for.
    for action in model.plan().actions {
        model.memory.in_flight.insert(action.lane());
    }
    assert!(model.plan().apply_tables);
    // Images are there: the pause container is made first, but not for ever.
    model.memory.in_flight.clear();
    let legs = wired("fw");
    let marks = [
        ("fw".into(), Part::Pause, pause_hash(&legs)),
        ("fw".into(), Part::Main, container_hash(&legs)),
    ];
    model.memory.images.extend(marks);
    let plan = model.plan();
    assert!(!plan.apply_tables);
    assert_eq!(plan.wake_at_ms, Some(2_000));
    model.now_ms = 2_000;
    assert!(model.plan().apply_tables);
    // It fails: nothing to wait for.
    model.now_ms = 0;
    let lane = Lane::Container("fw".into());
    model.memory.backoffs.failed(lane, 0, 1.0);
    assert!(model.plan().apply_tables);
}

#[test]
fn one_entry_that_fails_holds_up_no_other() {
    let mut model = Model::new(vec![wired("fw"), wired("dpi")]);
    let image = Lane::Image("fw".into(), Part::Main);
    for _ in 0..6 {
        model.memory.backoffs.failed(image.clone(), 0, 1.0);
    }
    while model.now_ms < 32_000 && model.seen.find("dpi", Part::Main).is_none() {
        let plan = model.plan();
        assert!(!plan.actions.is_empty(), "{plan:?}");
        let mut step = model.clone();
        step.spec.containers.retain(|want| want.name == "dpi");
        step.settle();
        model.seen = step.seen;
    }
    assert_eq!(model.now_ms, 0);
    assert!(model.plan().wake_at_ms.is_some());
}

#[test]
fn without_an_engine_only_tables_and_host_legs_are_seen_to() {
    let mut model = Model::new(vec![wired("fw")]);
    model.seen.engine = false;
    model.spec.host_legs = vec![leg("kcsvc", "kcsvc-p")];
    assert_eq!(words(&model.plan().actions), ["wire host leg kcsvc"]);
    model.settle();
    assert_eq!(model.memory.tables, TablesProgress::Applied);
}

#[test]
fn a_host_leg_nobody_wants_any_more_is_removed_and_a_foreign_link_is_not() {
    let mut model = Model::new(vec![]);
    model.spec.host_legs = vec![leg("kcsvc", "kcsvc-p")];
    model.settle();
    model.seen.host.insert("eth0".into(), SeenLink::default());
    model.spec.host_legs.clear();
    assert_eq!(words(&model.settle()), ["remove host leg kcsvc-p"]);
    assert_eq!(model.seen.host.keys().collect::<Vec<_>>(), ["eth0"]);
}

#[test]
fn a_document_that_contradicts_itself_is_refused() {
    let twice = Model::new(vec![]).spec;
    for (containers, word) in [
        (vec![wired("a"), wired("a")], "two containers"),
        (
            vec![container("a", Network::Host), container("a", Network::Host)],
            "two containers",
        ),
        (vec![container("a/b", Network::Host)], "a/b"),
        (vec![container("a-pause", Network::Host)], "-pause"),
        (
            vec![container(
                "a",
                Network::Legs(vec![leg("e", "p"), leg("e", "q")]),
            )],
            "a/e",
        ),
    ] {
        let mut spec = twice.clone();
        spec.containers = containers;
        let error = validate(&spec).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let mut spec = twice;
    let mut climbs = container("a", Network::Host);
    climbs.files = vec![kc_agent_api::File {
        path: "/etc/../x".into(),
        content: String::new(),
    }];
    spec.containers = vec![climbs];
    assert!(validate(&spec).is_err());
}

#[test]
fn an_address_that_is_shared_comes_to_what_runs_without_a_restart() {
    let mut model = Model::new(vec![wired("web")]);
    model.settle();
    let Network::Legs(legs) = &mut model.spec.containers[0].network else {
        panic!("it has legs");
    };
    legs[0].virtual_addresses = vec![[10, 128, 0, 1].into()];
    assert_eq!(words(&model.settle()), ["wire 1 legs of web"]);
    assert_eq!(model.plan(), Plan::default());
}
