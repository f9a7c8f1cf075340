//! The spool over restarts, full disks and controllers that are away.

use super::*;
use kc_agent_api::BootId;

fn take(events: &mut Events) -> Vec<Event> {
    let mut seen = Vec::new();
    events.offer(|event| {
        seen.push(event.clone());
        true
    });
    seen
}

fn numbers(events: &mut Events) -> Vec<u64> {
    take(events).iter().map(|event| event.sequence).collect()
}

fn open(dir: &Path, boot: &str) -> Events {
    Events::open(dir, Boot::named(boot), false)
}

fn ack(boot: &str, stored: &[(u64, u64)]) -> EventAck {
    EventAck {
        boot: BootId(boot.into()),
        stored: stored.to_vec(),
    }
}

/// A directory in which boot "a" has used number `last`.
fn begun(last: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("events.seq"), format!("a {last:020}\n")).unwrap();
    let head = Line::Head {
        accounted: Some((BootId("a".into()), last)),
        lost: Vec::new(),
    };
    let head = serde_json::to_string(&head).unwrap();
    std::fs::write(dir.path().join("events.log"), head + "\n").unwrap();
    dir
}

#[test]
fn an_event_stays_until_it_is_acknowledged_also_over_restarts() {
    let dir = begun(0);
    let mut events = open(dir.path(), "a");
    for _ in 0..5 {
        events.record(EventKind::ContainerDied, "fw-1", "");
    }
    assert_eq!(numbers(&mut events), [1, 2, 3, 4, 5]);
    assert!(numbers(&mut events).is_empty(), "sent once");
    events.acknowledged(&ack("a", &[(1, 2), (4, 4)]));
    events.acknowledged(&ack("another boot", &[(3, 5)]));
    drop(events);
    let mut events = open(dir.path(), "a");
    events.record(EventKind::AgentStarted, "agent", "");
    assert_eq!(numbers(&mut events), [3, 5, 6]);
    events.again();
    assert_eq!(numbers(&mut events), [3, 5, 6]);
    events.acknowledged(&ack("a", &[(1, u64::MAX)]));
    assert_eq!(events.waiting(), 0);
}

#[test]
fn numbers_begin_anew_with_a_boot_and_what_was_not_acknowledged_keeps_its_own() {
    let dir = begun(7);
    let mut events = open(dir.path(), "a");
    events.record(EventKind::Engine, "docker", "");
    let mut events = open(dir.path(), "longer-name");
    events.record(EventKind::AgentStarted, "agent", "");
    let all = take(&mut events);
    let all: Vec<_> = all
        .iter()
        .map(|e| (e.at.boot.0.as_str(), e.sequence))
        .collect();
    assert_eq!(all, [("a", 8), ("longer-name", 1)]);
}

#[test]
fn a_spoilt_or_missing_file_makes_no_number_come_twice() {
    for text in [Some("a 00\u{0}x"), None] {
        let dir = tempfile::tempdir().unwrap();
        if let Some(text) = text {
            std::fs::write(dir.path().join("events.seq"), text).unwrap();
        }
        let mut events = open(dir.path(), "a");
        events.record(EventKind::AgentStarted, "agent", "");
        assert!(numbers(&mut events)[0] > 1000, "far above what was counted");
    }
}

#[test]
fn a_missing_directory_only_costs_the_memory() {
    let mut events = open(Path::new("/nonexistent"), "a");
    events.record(EventKind::AgentStarted, "agent", "");
    events.record(EventKind::Engine, "docker", "");
    assert_eq!(numbers(&mut events).len(), 2);
}

#[test]
fn the_oldest_give_way_and_the_loss_is_told_when_there_is_room() {
    let dir = begun(0);
    let mut events = open(dir.path(), "a");
    for number in 0..1003 {
        events.record(EventKind::ContainerDied, "fw-1", number.to_string());
    }
    assert_eq!(events.waiting(), spool::COUNT);
    // Also when the agent is killed meanwhile.
    let mut events = open(dir.path(), "a");
    assert_eq!(numbers(&mut events), (4..=1003).collect::<Vec<_>>());
    events.acknowledged(&ack("a", &[(4, 900)]));
    let told = take(&mut events);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].sequence, told[0].kind),
        (1004, EventKind::EventsLost)
    );
    assert!(
        told[0].message.starts_with("3 events, numbers 1 to 3,"),
        "{}",
        told[0].message
    );
    let mut events = open(dir.path(), "a");
    let kinds = take(&mut events);
    let told = kinds
        .iter()
        .filter(|event| event.kind == EventKind::EventsLost);
    assert_eq!(told.count(), 1, "once");
}

#[test]
fn many_bytes_count_as_well_as_many_events() {
    let dir = begun(0);
    let mut events = open(dir.path(), "a");
    for _ in 0..500 {
        events.record(EventKind::ContainerDied, "fw-1", "é".repeat(4096));
    }
    assert!(events.waiting() < 100, "{}", events.waiting());
    assert!(
        take(&mut events)
            .iter()
            .all(|event| event.message.len() == MESSAGE)
    );
    let length = std::fs::metadata(dir.path().join("events.log"))
        .unwrap()
        .len();
    assert!(length < 1 << 20, "{length}");
}

#[test]
fn a_journal_cut_anywhere_loses_nothing_unnoticed() {
    let dir = begun(0);
    let mut events = open(dir.path(), "a");
    for _ in 0..4 {
        events.record(EventKind::ContainerDied, "fw-1", "");
    }
    let whole = std::fs::read(dir.path().join("events.log")).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(dir.path().join("events.seq"), "a 00000000000000000004\n").unwrap();
        std::fs::write(dir.path().join("events.log"), &whole[..length]).unwrap();
        let mut events = open(dir.path(), "a");
        events.record(EventKind::AgentStarted, "agent", "");
        // And once more, so that what follows a half line is seen to be read.
        drop(events);
        let mut events = open(dir.path(), "a");
        let all = take(&mut events);
        let kept = all
            .iter()
            .filter(|event| event.kind == EventKind::ContainerDied)
            .count();
        let lost = all.iter().find(|event| event.kind == EventKind::EventsLost);
        match lost {
            None => assert_eq!(kept, 4, "{length}"),
            Some(lost) => {
                let from = kept + 1;
                let words = format!("{} events, numbers {from} to 4,", 4 - kept);
                assert!(
                    lost.message.starts_with(&words),
                    "{length}: {}",
                    lost.message
                );
            }
        }
        let mut used: Vec<u64> = all.iter().map(|event| event.sequence).collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), all.len(), "{length}");
    }
}

#[test]
fn what_is_not_taken_stays_in_order() {
    let dir = begun(0);
    let mut events = open(dir.path(), "a");
    for _ in 0..3 {
        events.record(EventKind::ContainerDied, "fw-1", "");
    }
    let mut room = 2;
    let taken = events.offer(|_| {
        room -= 1;
        room >= 0
    });
    assert_eq!((taken, numbers(&mut events)), (2, vec![3]));
}

#[test]
fn a_loss_before_a_reboot_is_told_though_the_agent_is_killed_before_it_says_so() {
    let dir = begun(0);
    let mut events = open(dir.path(), "a");
    events.record(EventKind::Engine, "docker", "one");
    events.record(EventKind::Engine, "docker", "two");
    let path = dir.path().join("events.log");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    drop(open(dir.path(), "b"));
    let mut events = open(dir.path(), "b");
    let all = take(&mut events);
    let told = all.iter().find(|event| event.kind == EventKind::EventsLost);
    let message = &told.unwrap().message;
    assert!(
        message.starts_with("1 events, numbers 2 to 2,"),
        "{message}"
    );
}
