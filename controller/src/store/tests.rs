//! The store over restarts, damage, and files that are not ours.

use super::{Commit, EventQuery, HISTORY, NewEvent, Origin, SCHEMA_VERSION, Store, StoreError};
use kc_agent_api::{BootId, NodeName};
use std::path::{Path, PathBuf};

struct Place {
    _directory: tempfile::TempDir,
    file: PathBuf,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("data/controller.db");
    Place {
        _directory: directory,
        file,
    }
}

fn open(file: &Path) -> Store {
    Store::open(file).unwrap().0
}

/// Waits until the store's thread has let go of the file.
fn reopen(file: &Path) -> (Store, super::Loaded) {
    for _ in 0..50 {
        match Store::open(file) {
            Err(StoreError::InUse { .. }) => {}
            other => return other.unwrap(),
        }
    }
    panic!("the file is still in use");
}

fn event(sequence: u64) -> NewEvent {
    NewEvent {
        at_ms: 1_000 + sequence,
        node: Some(node("box1")),
        kind: "container-died".into(),
        object: "firewall-1".into(),
        message: "ended with 137".into(),
        origin: Some(Origin {
            boot: BootId("b".into()),
            sequence,
            mono_ms: sequence,
        }),
    }
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

#[tokio::test]
async fn the_file_is_its_owners_only_even_if_it_was_not() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("controller.db");
    let open_up = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    for round in 0..2 {
        let (store, _) = reopen(&file);
        let state = Some("{}".to_owned());
        let commit = Commit {
            state,
            ..Commit::default()
        };
        store.commit(commit).await.unwrap();
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "round {round}: {:?}", entry.path());
        }
        drop(store);
        open_up(&file);
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let place = place();
    let store = open(&place.file);
    let commit = Commit {
        state: Some("{\"a\":1}".into()),
        clock_ms: 77,
        documents: vec![(node("box1"), Some(b"spec".to_vec())), (node("box2"), None)],
        nodes: vec![(node("box1"), Some("{}".into()))],
        events: vec![event(1)],
    };
    let kept = store.commit(commit).await.unwrap();
    assert_eq!((kept.revision, kept.last_event), (1, 1));
    drop(store);

    let (store, loaded) = reopen(&place.file);
    assert_eq!(loaded.state, Some((1, "{\"a\":1}".into())));
    assert_eq!((loaded.clock_ms, loaded.last_event), (77, 1));
    assert_eq!(
        loaded.documents[&node("box1")].as_deref(),
        Some(&b"spec"[..])
    );
    assert_eq!(loaded.documents[&node("box2")], None);
    assert_eq!(loaded.nodes[&node("box1")], "{}");
    let events = store
        .events(EventQuery {
            limit: 10,
            ..EventQuery::default()
        })
        .await;
    assert_eq!(events.unwrap().len(), 1);
}

#[tokio::test]
async fn an_event_that_comes_twice_is_told_once() {
    let place = place();
    let store = open(&place.file);
    for _ in 0..2 {
        let commit = Commit {
            events: vec![event(1), event(2)],
            ..Commit::default()
        };
        store.commit(commit).await.unwrap();
    }
    // The same number in another boot, or on another box, is another event.
    let mut reboot = event(1);
    if let Some(origin) = &mut reboot.origin {
        origin.boot = BootId("c".into());
    }
    let elsewhere = NewEvent {
        node: Some(node("box2")),
        ..event(1)
    };
    let commit = Commit {
        events: vec![reboot, elsewhere],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
    let query = EventQuery {
        about: vec!["firewall-1".into()],
        limit: 10,
        ..EventQuery::default()
    };
    let numbers: Vec<u64> = store
        .events(query)
        .await
        .unwrap()
        .iter()
        .map(|e| e.at_ms)
        .collect();
    assert_eq!(numbers, [1_001, 1_002, 1_001, 1_001]);
}

#[tokio::test]
async fn a_file_of_the_version_before_is_taken_over_with_each_event_once() {
    let place = place();
    drop(open(&place.file));
    drop(reopen(&place.file));
    let connection = loop {
        // The store's thread lets go of the file a moment after its handle.
        let connection = rusqlite::Connection::open(&place.file).unwrap();
        let done = connection.execute_batch(
            "BEGIN IMMEDIATE;
             DROP INDEX events_once;
             CREATE UNIQUE INDEX events_once ON events (node, boot, sequence, mono_ms)
                WHERE boot IS NOT NULL;
             INSERT INTO events (at_ms, node, kind, object, message, boot, sequence, mono_ms) VALUES
                (1, 'box1', 'k', 'o', 'first', 'b', 1, 1),
                (2, 'box1', 'k', 'o', 'again', 'b', 1, 9),
                (3, 'box1', 'k', 'o', 'second', 'b', 2, 2),
                (4, NULL, 'k', 'o', 'own', NULL, NULL, NULL),
                (5, NULL, 'k', 'o', 'own', NULL, NULL, NULL);
             PRAGMA user_version = 1;
             COMMIT;",
        );
        if done.is_ok() {
            break connection;
        }
    };
    drop(connection);
    for _ in 0..2 {
        let (store, loaded) = reopen(&place.file);
        assert_eq!(loaded.last_event, 5);
        let query = EventQuery {
            limit: 10,
            ..EventQuery::default()
        };
        let all = store.events(query).await.unwrap();
        let messages: Vec<_> = all.iter().map(|event| event.message.as_str()).collect();
        assert_eq!(messages, ["first", "second", "own", "own"]);
    }
}

#[tokio::test]
async fn the_history_is_bounded_and_its_numbers_are_not_used_again() {
    let place = place();
    let store = open(&place.file);
    let commit = Commit {
        events: (0..HISTORY + 5).map(event).collect(),
        ..Commit::default()
    };
    let kept = store.commit(commit).await.unwrap();
    assert_eq!(kept.last_event, HISTORY + 5);
    let query = EventQuery {
        limit: u32::MAX,
        ..EventQuery::default()
    };
    let events = store.events(query.clone()).await.unwrap();
    assert_eq!(u64::try_from(events.len()).unwrap(), HISTORY);
    assert_eq!(events[0].id, 6);
    let newest = EventQuery {
        after: HISTORY,
        limit: 2,
        ..query
    };
    let ids: Vec<u64> = store
        .events(newest)
        .await
        .unwrap()
        .iter()
        .map(|e| e.id)
        .collect();
    assert_eq!(ids, [HISTORY + 4, HISTORY + 5], "the newest, oldest first");
}

#[tokio::test]
async fn a_resource_is_found_by_its_bare_name() {
    let place = place();
    let store = open(&place.file);
    let chain = NewEvent {
        object: "chain/web".into(),
        node: None,
        origin: None,
        ..event(1)
    };
    let commit = Commit {
        events: vec![chain, event(2)],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
    for (about, count) in [("web", 1), ("chain/web", 1), ("box1", 1), ("we", 0)] {
        let query = EventQuery {
            about: vec![about.into(), "none's\"".into()],
            limit: 10,
            ..EventQuery::default()
        };
        assert_eq!(store.events(query).await.unwrap().len(), count, "{about}");
    }
}

#[test]
fn a_second_controller_is_refused_while_the_first_runs() {
    let place = place();
    let _store = open(&place.file);
    let error = Store::open(&place.file).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
}

#[test]
fn a_damaged_file_is_named() {
    let place = place();
    std::fs::create_dir_all(place.file.parent().unwrap()).unwrap();
    std::fs::write(
        &place.file,
        "this is not a database, it is a text\n".repeat(200),
    )
    .unwrap();
    let error = Store::open(&place.file).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("controller.db"), "{error}");
}

#[tokio::test]
async fn a_file_with_broken_pages_is_damaged() {
    use std::io::{Seek as _, SeekFrom, Write as _};
    let place = place();
    let store = open(&place.file);
    let commit = Commit {
        events: (0..2_000).map(event).collect(),
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
    drop(store);
    drop(reopen(&place.file));
    for _ in 0..50 {
        if Store::open(&place.file).is_ok() {
            break;
        }
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(&place.file)
        .unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    file.seek(SeekFrom::Start(middle)).unwrap();
    file.write_all(&[0x5a; 16_384]).unwrap();
    drop(file);
    let error = Store::open(&place.file).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_newer_schema_and_a_foreign_database_are_left_alone() {
    let place = place();
    std::fs::create_dir_all(place.file.parent().unwrap()).unwrap();
    let connection = rusqlite::Connection::open(&place.file).unwrap();
    connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(connection);
    let error = Store::open(&place.file).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");

    std::fs::remove_file(&place.file).unwrap();
    let connection = rusqlite::Connection::open(&place.file).unwrap();
    let pragmas = format!(
        "PRAGMA application_id = 1801677941; PRAGMA user_version = {};",
        SCHEMA_VERSION + 1
    );
    connection.execute_batch(&pragmas).unwrap();
    drop(connection);
    let error = Store::open(&place.file).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    assert!(error.to_string().contains("newer controller"), "{error}");
}
