//! What is wrong is refused, and nothing makes a reader panic or run away.

use super::strategies as any;
use kc_agent_api::{
    Call, ContainerPhase, ControllerStatus, Event, EventAck, EventKind, LoadReport, NodeSpec,
    NodeState, NodeStatus, PayloadError, Reply, Topic, TunnelReport, decode, encode,
};
use proptest::prelude::*;

/// Reads `bytes` as everything there is.
fn read_as_all(bytes: &[u8]) {
    let _ = decode::<NodeSpec>(bytes);
    let _ = decode::<NodeState>(bytes);
    let _ = decode::<NodeStatus>(bytes);
    let _ = decode::<LoadReport>(bytes);
    let _ = decode::<TunnelReport>(bytes);
    let _ = decode::<Event>(bytes);
    let _ = decode::<EventAck>(bytes);
    let _ = decode::<ControllerStatus>(bytes);
    let _ = decode::<Call>(bytes);
    let _ = decode::<Reply>(bytes);
}

proptest! {
    #[test]
    fn noise_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_as_all(&bytes);
    }

    #[test]
    fn a_spoilt_payload_is_read_without_panic(
        spec in any::spec(),
        load in any::load(),
        spoil in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        for mut bytes in [encode(&spec).unwrap(), encode(&load).unwrap()] {
            for (place, byte) in &spoil {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            read_as_all(&bytes);
        }
    }

    #[test]
    fn any_text_is_a_topic_or_a_foreign_one(text in "\\PC{0,80}") {
        if let Ok((domain, topic)) = Topic::parse(&text) {
            // Numbers may be written with leading zeros or a plus; everything else is as it was.
            prop_assert_eq!(Topic::parse(&topic.name(&domain)), Ok((domain, topic)));
        }
    }

    #[test]
    fn another_version_is_refused_whatever_it_says(v in 2u32.., event in any::event()) {
        let text = String::from_utf8(encode(&event).unwrap()).unwrap();
        let text = text.replacen("\"v\":1", &format!("\"v\":{v}"), 1);
        let Err(PayloadError::Version { found, .. }) = decode::<Event>(text.as_bytes()) else {
            return Err(TestCaseError::fail("read"));
        };
        prop_assert_eq!(found, v);
    }
}

#[test]
fn a_payload_without_a_version_is_refused() {
    for wrong in [
        r#"{"generation":3}"#,
        r#"{"v":null,"generation":3}"#,
        r#"{"v":"1","generation":3}"#,
        r#"{"v":-1,"generation":3}"#,
        r#"{"v":1.5,"generation":3}"#,
        r#"{"v":1}"#,
        r#"{"v":1,"generation":-3}"#,
        r#"{"v":1,"generation":3}{}"#,
        "[]",
        "null",
        "1",
        "",
    ] {
        let found = decode::<NodeSpec>(wrong.as_bytes());
        assert!(
            matches!(found, Err(PayloadError::Malformed { .. })),
            "{wrong}"
        );
    }
}

#[test]
fn a_kind_of_event_from_the_future_is_unknown_and_not_lost() {
    let text = r#"{"v":1,"boot":"b","mono-ms":1,"wall-ms":2,"sequence":3,
        "kind":"container-beamed-up","object":"o","message":"m"}"#;
    let event: Event = decode(text.as_bytes()).unwrap();
    assert_eq!((event.kind, event.sequence), (EventKind::Unknown, 3));
}

#[test]
fn a_newer_agents_words_leave_its_reports_readable() {
    let text = r#"{"v":1,"spec-generation":1,"forwarder-generation":1,"errors":[],
        "containers":[{"name":"c","id":"","image":"i","phase":"hibernating","exit-code":null,
            "restarts":0,"started-at":null,"error":null}],
        "ports":[{"name":"p","interface":"p","backend":"xdp","state":"draining","mtu":1,"reason":""}]}"#;
    let state: NodeState = decode(text.as_bytes()).unwrap();
    assert_eq!(state.containers[0].phase, ContainerPhase::Unknown);
    assert_eq!(state.ports[0].state.to_string(), "draining");
    let text = r#"{"v":1,"boot":"b","mono-ms":1,"wall-ms":2,"box":{},"containers":[],"paths":[],
        "drops":{"no-path":1,"worm-hole":2,"glitch":3}}"#;
    let load: LoadReport = decode(text.as_bytes()).unwrap();
    assert_eq!(load.drops[&kc_forwarder_api::DropReason::Other], 5);
    let text = r#"{"v":1,"boot":"b","mono-ms":1,"wall-ms":2,"tunnels":[{"remote":"10.0.0.1",
        "vni":1,"encapsulation":"geneve","rx-packets":0,"rx-bytes":0,"tx-packets":0,"tx-bytes":0}]}"#;
    let report: TunnelReport = decode(text.as_bytes()).unwrap();
    assert_eq!(report.tunnels[0].encapsulation.to_string(), "geneve");
}

#[test]
fn ten_thousand_brackets_overflow_no_stack() {
    for deep in ["[", r#"{"a":"#] {
        let text = format!(r#"{{"v":1,"containers":{}"#, deep.repeat(10_000));
        assert!(decode::<NodeSpec>(text.as_bytes()).is_err());
        let text = format!(r#"{{"unknown":{}"#, deep.repeat(10_000));
        assert!(decode::<NodeSpec>(text.as_bytes()).is_err());
    }
}

#[test]
fn identifiers_out_of_range_are_refused_by_name() {
    let text = r#"{"v":1,"boot":"b","mono-ms":1,"wall-ms":2,"tunnels":[{"remote":"10.0.0.1",
        "vni":0,"encapsulation":"vxlan","rx-packets":0,"rx-bytes":0,"tx-packets":0,"tx-bytes":0}]}"#;
    let Err(PayloadError::Malformed { name, source }) = decode::<TunnelReport>(text.as_bytes())
    else {
        panic!("a VNI of 0 is refused");
    };
    assert_eq!(name, "tunnel");
    assert!(source.to_string().contains("VNI 0"), "{source}");
}

#[test]
fn a_measure_that_would_become_infinite_is_refused() {
    for field in ["cpu-percent", "load-1m", "temperature-c"] {
        let report = |number: &str| {
            let text = format!(
                r#"{{"v":1,"boot":"b","mono-ms":1,"wall-ms":2,"box":{{"{field}":{number}}},
                    "containers":[],"paths":[],"drops":{{}}}}"#
            );
            decode::<LoadReport>(text.as_bytes())
        };
        assert!(report("1e30").is_ok(), "{field}");
        for wrong in ["1e300", "-1e300", "1e999"] {
            assert!(report(wrong).is_err(), "{field} {wrong}");
        }
    }
}
