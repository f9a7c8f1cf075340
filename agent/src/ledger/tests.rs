//! The ledger after cuts, flips and kills.

use super::*;

fn spec(generation: u64) -> NodeSpec {
    NodeSpec {
        generation,
        ..NodeSpec::default()
    }
}

fn ledger() -> (tempfile::TempDir, Ledger) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path().join("state")).unwrap();
    (dir, ledger)
}

#[test]
fn a_new_box_has_nothing() {
    let (_dir, ledger) = ledger();
    assert!(matches!(ledger.load().unwrap(), Found::Nothing));
}

#[test]
fn what_was_stored_is_found_and_the_one_before_is_kept() {
    let (_dir, ledger) = ledger();
    for generation in 1..=3 {
        ledger.store(&spec(generation), true).unwrap();
    }
    let Found::Current(found) = ledger.load().unwrap() else {
        panic!()
    };
    assert_eq!(found, spec(3));
    assert_eq!(read(&ledger.dir.join(PREVIOUS)).unwrap(), Some(spec(2)));
}

#[test]
fn a_document_cut_anywhere_falls_back_to_the_one_before_or_is_whole() {
    let (_dir, ledger) = ledger();
    ledger.store(&spec(1), true).unwrap();
    ledger.store(&spec(2), true).unwrap();
    let whole = fs::read(ledger.dir.join(CURRENT)).unwrap();
    let end = encode(&spec(2)).unwrap().len();
    for length in 0..whole.len() {
        fs::write(ledger.dir.join(CURRENT), &whole[..length]).unwrap();
        match ledger.load().unwrap() {
            // Only the sum was cut off, with its line feed or without.
            Found::Current(found) if length == end || length == end + 1 => {
                assert_eq!(found, spec(2));
            }
            Found::Fallback { spec: found, .. } => assert_eq!(found, Some(spec(1))),
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn no_flipped_bit_makes_another_document() {
    let (_dir, ledger) = ledger();
    let wanted = NodeSpec {
        load_interval_s: 7,
        ..spec(12)
    };
    ledger.store(&spec(1), true).unwrap();
    ledger.store(&wanted, true).unwrap();
    let whole = fs::read(ledger.dir.join(CURRENT)).unwrap();
    for place in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[place / 8] ^= 1 << (place % 8);
        fs::write(ledger.dir.join(CURRENT), &bytes).unwrap();
        match ledger.load().unwrap() {
            Found::Fallback { spec: found, .. } => assert_eq!(found, Some(spec(1))),
            other => panic!("bit {place}: {other:?}"),
        }
    }
}

#[test]
fn a_document_without_a_sum_is_one_of_an_agent_before() {
    let (_dir, ledger) = ledger();
    for end in ["", "\n"] {
        let mut bytes = encode(&spec(4)).unwrap();
        bytes.extend_from_slice(end.as_bytes());
        fs::write(ledger.dir.join(CURRENT), bytes).unwrap();
        let Found::Current(found) = ledger.load().unwrap() else {
            panic!()
        };
        assert_eq!(found, spec(4));
    }
}

#[test]
fn two_ruined_documents_are_said_and_leave_the_box_as_new() {
    let (_dir, ledger) = ledger();
    fs::write(ledger.dir.join(CURRENT), b"\0\0\0").unwrap();
    fs::write(ledger.dir.join(PREVIOUS), b"{").unwrap();
    let Found::Fallback { spec: None, error } = ledger.load().unwrap() else {
        panic!()
    };
    assert!(error.to_string().contains("spec.json"), "{error}");
}

#[test]
fn a_crash_before_the_rename_leaves_the_old_document() {
    let (_dir, ledger) = ledger();
    ledger.store(&spec(1), true).unwrap();
    ledger.store(&spec(2), true).unwrap();
    // What a crash leaves at each step of the next store.
    fs::write(ledger.dir.join(".spec.json.tmp"), b"{\"v\":1,\"gen").unwrap();
    fs::hard_link(ledger.dir.join(CURRENT), ledger.dir.join(".previous.tmp")).unwrap();
    let Found::Current(found) = ledger.load().unwrap() else {
        panic!()
    };
    assert_eq!(found, spec(2));
    ledger.store(&spec(3), true).unwrap();
    let Found::Current(found) = ledger.load().unwrap() else {
        panic!()
    };
    assert_eq!(found, spec(3));
    assert_eq!(read(&ledger.dir.join(PREVIOUS)).unwrap(), Some(spec(2)));
}

#[test]
fn a_ruined_document_does_not_push_out_the_good_one_before() {
    let (_dir, ledger) = ledger();
    ledger.store(&spec(1), true).unwrap();
    ledger.store(&spec(2), true).unwrap();
    fs::write(ledger.dir.join(CURRENT), b"ruin").unwrap();
    ledger.store(&spec(3), false).unwrap();
    assert_eq!(read(&ledger.dir.join(PREVIOUS)).unwrap(), Some(spec(1)));
}

#[test]
fn an_older_or_contradicting_document_is_refused() {
    let other = NodeSpec {
        load_interval_s: 9,
        ..spec(5)
    };
    assert_eq!(judge(None, &spec(0)), Verdict::Newer);
    assert_eq!(judge(Some(&spec(5)), &spec(6)), Verdict::Newer);
    assert_eq!(judge(Some(&spec(5)), &spec(5)), Verdict::Same);
    assert_eq!(judge(Some(&spec(5)), &other), Verdict::Contradiction);
    assert_eq!(judge(Some(&spec(5)), &spec(4)), Verdict::Older);
}

/// A document that takes a while to write.
fn large(generation: u64) -> NodeSpec {
    NodeSpec {
        containers: (0..50)
            .map(|number| kc_agent_api::ContainerSpec {
                name: format!("c{number}"),
                args: vec![generation.to_string(); 20],
                ..crate::reconcile::model::container("c", kc_agent_api::Network::Host)
            })
            .collect(),
        ..spec(generation)
    }
}

/// Not a test of its own: the next one runs it in a process that it kills.
#[test]
#[ignore = "run by the next test, in a process of its own"]
fn a_writer_for_the_next_test() {
    let Some(dir) = std::env::var_os("KC_TEST_LEDGER") else {
        return;
    };
    let ledger = Ledger::open(dir).unwrap();
    let first = match ledger.load().unwrap() {
        Found::Current(spec) => spec.generation,
        _ => 0,
    };
    for generation in first + 1.. {
        ledger.store(&large(generation), true).unwrap();
    }
}

#[test]
fn a_writer_that_is_killed_at_any_moment_leaves_a_whole_document_and_never_an_older_one() {
    let (dir, ledger) = ledger();
    let mut before = 0;
    let mut moments = fastrand::Rng::with_seed(11);
    for _ in 0..40 {
        let mut writer = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "ledger::tests::a_writer_for_the_next_test",
                "--ignored",
            ])
            .env("KC_TEST_LEDGER", dir.path().join("state"))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_micros(moments.u64(3_000..40_000)));
        writer.kill().unwrap();
        writer.wait().unwrap();
        match ledger.load().unwrap() {
            Found::Current(found) => {
                assert!(
                    found.generation >= before,
                    "{} < {before}",
                    found.generation
                );
                assert_eq!(found, large(found.generation));
                before = found.generation;
            }
            Found::Nothing => assert_eq!(before, 0),
            Found::Fallback { error, .. } => panic!("{error}"),
        }
    }
    assert!(before > 40, "hardly anything was written: {before}");
}
