//! Updates of an agent: any of them, and how they are written.

use kc_agent_api::{Call, CallBody, UpdateManifest, UpdateOutcome, UpdateRecord, decode, encode};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) fn record() -> impl Strategy<Value = UpdateRecord> {
    let outcome = select(vec![
        UpdateOutcome::Trying,
        UpdateOutcome::Updated,
        UpdateOutcome::Failed,
        UpdateOutcome::Unknown,
    ]);
    let texts = (".*", ".*", option::of(".*"));
    (any::<u32>(), texts, outcome).prop_map(|(attempt, (version, from, reason), outcome)| {
        UpdateRecord {
            attempt,
            version,
            from,
            outcome,
            reason,
        }
    })
}

pub(crate) fn call() -> impl Strategy<Value = CallBody> {
    let numbers = (any::<u32>(), any::<u64>(), any::<u32>());
    (numbers, ".*", any::<bool>()).prop_map(
        |((attempt, size, credit), signature, allow_downgrade)| CallBody::Update {
            attempt,
            size,
            signature,
            allow_downgrade,
            credit,
        },
    )
}

#[test]
fn an_update_is_written_so() {
    let body = CallBody::Update {
        attempt: 7,
        size: 9_000,
        signature: "untrusted comment: x".into(),
        allow_downgrade: false,
        credit: 32,
    };
    let text = concat!(
        r#"{"v":1,"body":{"update":{"attempt":7,"size":9000,"signature":"untrusted comment: x","#,
        r#""allow-downgrade":false,"credit":32}}}"#
    );
    let call = Call { body };
    assert_eq!(String::from_utf8(encode(&call).unwrap()).unwrap(), text);
    assert_eq!(decode::<Call>(text.as_bytes()).unwrap(), call);
    let record = UpdateRecord {
        attempt: 7,
        version: "0.2.0".into(),
        from: "0.1.0".into(),
        outcome: UpdateOutcome::Failed,
        reason: Some("it ended".into()),
    };
    let text =
        r#"{"attempt":7,"version":"0.2.0","from":"0.1.0","outcome":"failed","reason":"it ended"}"#;
    assert_eq!(serde_json::to_string(&record).unwrap(), text);
}

#[test]
fn what_later_versions_write_is_read_too() {
    let text = r#"{"attempt":7,"version":"2","from":"1","outcome":"paused","by":"x"}"#;
    let record: UpdateRecord = serde_json::from_str(text).unwrap();
    assert_eq!(record.outcome, UpdateOutcome::Unknown);
    let text = r#"{"format":1,"version":"0.2.0","arch":"arm","made":"today"}"#;
    let manifest: UpdateManifest = serde_json::from_str(text).unwrap();
    assert_eq!(manifest.arch, "arm");
}
