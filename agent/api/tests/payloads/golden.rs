//! The wire format, letter by letter: what agents and controllers in the field have agreed on.

use kc_agent_api::{
    BootId, Call, CallBody, Capacity, ControllerStatus, Entry, Event, EventAck, EventKind, Finding,
    NodeName, NodeStatus, Output, Payload, Presence, Reply, ReplyBody, Stamp, Window, decode,
    encode,
};
use kc_forwarder_api::Request;
use std::fmt::Debug;
use std::net::IpAddr;

fn is_written<P: Payload + PartialEq + Debug>(payload: &P, text: &str) {
    assert_eq!(String::from_utf8(encode(payload).unwrap()).unwrap(), text);
    assert_eq!(&decode::<P>(text.as_bytes()).unwrap(), payload);
}

#[test]
fn a_status_is_written_so() {
    let status = NodeStatus {
        node: NodeName::new("pi-1").unwrap(),
        presence: Presence::Online,
        version: "0.1.0".into(),
        arch: "aarch64".into(),
        boot: BootId("b00".into()),
        session: 3,
        labels: [("zone".into(), "a".into())].into(),
        capacity: Capacity {
            cpu_millis: 4000,
            memory_bytes: 968_368_128,
            disk_bytes: 31_268_536_320,
        },
        vtep: Some(IpAddr::from([192, 168, 50, 1])),
        underlay_mtu: 1500,
        engine: None,
        update: None,
        seal_key: None,
    };
    is_written(
        &status,
        concat!(
            r#"{"v":1,"node":"pi-1","presence":"online","version":"0.1.0","arch":"aarch64","#,
            r#""boot":"b00","session":3,"labels":{"zone":"a"},"capacity":{"cpu-millis":4000,"#,
            r#""memory-bytes":968368128,"disk-bytes":31268536320},"vtep":"192.168.50.1","#,
            r#""underlay-mtu":1500,"engine":null}"#
        ),
    );
}

#[test]
fn an_event_is_written_so() {
    let event = Event {
        at: Stamp {
            boot: BootId("b00".into()),
            mono_ms: 77_120,
            wall_ms: 1_700_000_000_000,
        },
        sequence: 9,
        kind: EventKind::ContainerDied,
        object: "firewall-1".into(),
        message: "exit code 137".into(),
    };
    is_written(
        &event,
        concat!(
            r#"{"v":1,"boot":"b00","mono-ms":77120,"wall-ms":1700000000000,"sequence":9,"#,
            r#""kind":"container-died","object":"firewall-1","message":"exit code 137"}"#
        ),
    );
}

#[test]
fn what_a_controller_says_of_events_and_itself_is_written_so() {
    let ack = EventAck {
        boot: BootId("b00".into()),
        stored: vec![(1, 7), (9, 9)],
    };
    is_written(&ack, r#"{"v":1,"boot":"b00","stored":[[1,7],[9,9]]}"#);
    let status = ControllerStatus {
        presence: Presence::Offline,
        version: "0.1.0".into(),
        instance: 77,
        session: 3,
    };
    is_written(
        &status,
        r#"{"v":1,"presence":"offline","version":"0.1.0","instance":77,"session":3}"#,
    );
}

#[test]
fn calls_and_replies_are_written_so() {
    let call = Call {
        body: CallBody::Logs {
            container: "firewall-1".into(),
            tail: Some(10),
            since_s: None,
            since_wall_s: None,
            follow: true,
            timestamps: false,
            previous: false,
            credit: 32,
        },
    };
    is_written(
        &call,
        concat!(
            r#"{"v":1,"body":{"logs":{"container":"firewall-1","tail":10,"since-s":null,"#,
            r#""since-wall-s":null,"follow":true,"timestamps":false,"credit":32}}}"#
        ),
    );
    // What was agreed on first has none of the later fields.
    let earlier = br#"{"v":1,"body":{"logs":{"container":"a","tail":null,"since-s":5}}}"#;
    assert!(decode::<Call>(earlier).is_ok());
    let counters = Call {
        body: CallBody::Forwarder {
            request: Box::new(Request::Counters),
            credit: 16,
        },
    };
    is_written(
        &counters,
        r#"{"v":1,"body":{"forwarder":{"request":{"op":"counters"},"credit":16}}}"#,
    );
    let credit = Call {
        body: CallBody::Credit { id: 7, parts: 32 },
    };
    is_written(&credit, r#"{"v":1,"body":{"credit":{"id":7,"parts":32}}}"#);
    let cancel = Call {
        body: CallBody::Cancel { id: 7 },
    };
    is_written(&cancel, r#"{"v":1,"body":{"cancel":{"id":7}}}"#);
    let data = Reply {
        part: 3,
        last: false,
        body: ReplyBody::data(b"\n\r\r\n"),
    };
    is_written(
        &data,
        r#"{"v":1,"part":3,"last":false,"body":{"data":{"base64":"Cg0NCg=="}}}"#,
    );
}

#[test]
fn what_streams_both_ways_is_written_so() {
    let window = Window {
        rows: 24,
        columns: 80,
    };
    let container = || "firewall-1".to_owned();
    let calls = [
        (
            CallBody::Exec {
                container: container(),
                command: vec!["sh".into(), "-c".into(), "ls".into()],
                stdin: true,
                tty: Some(window),
                credit: 32,
            },
            concat!(
                r#"{"exec":{"container":"firewall-1","command":["sh","-c","ls"],"stdin":true,"#,
                r#""tty":{"rows":24,"columns":80},"credit":32}}"#
            ),
        ),
        (
            CallBody::Upload {
                container: container(),
                path: "/etc".into(),
                credit: 32,
            },
            r#"{"upload":{"container":"firewall-1","path":"/etc","credit":32}}"#,
        ),
        (
            CallBody::Download {
                container: container(),
                path: "/etc".into(),
                credit: 32,
            },
            r#"{"download":{"container":"firewall-1","path":"/etc","credit":32}}"#,
        ),
        (
            CallBody::input(7, 1, b"\n\r\r\n", true),
            r#"{"input":{"id":7,"part":1,"base64":"Cg0NCg==","last":true}}"#,
        ),
        (
            CallBody::Resize { id: 7, window },
            r#"{"resize":{"id":7,"window":{"rows":24,"columns":80}}}"#,
        ),
    ];
    for (body, text) in calls {
        is_written(&Call { body }, &format!(r#"{{"v":1,"body":{text}}}"#));
    }
    let replies = [
        (
            ReplyBody::Begun {
                credit: 16,
                entry: Some(Entry::Directory),
            },
            r#"{"begun":{"credit":16,"entry":"directory"}}"#,
        ),
        (
            ReplyBody::Credit { parts: 24 },
            r#"{"credit":{"parts":24}}"#,
        ),
        (
            ReplyBody::output(b"a\n", Output::Stderr),
            r#"{"data":{"base64":"YQo=","stream":"stderr"}}"#,
        ),
        (
            ReplyBody::Ended { exit_code: Some(3) },
            r#"{"ended":{"exit-code":3}}"#,
        ),
    ];
    for (body, text) in replies {
        let reply = Reply {
            part: 3,
            last: false,
            body,
        };
        let text = format!(r#"{{"v":1,"part":3,"last":false,"body":{text}}}"#);
        is_written(&reply, &text);
    }
}

#[test]
fn a_look_at_the_box_is_written_so() {
    let call = Call {
        body: CallBody::Doctor,
    };
    is_written(&call, r#"{"v":1,"body":"doctor"}"#);
    let reply = Reply {
        part: 0,
        last: true,
        body: ReplyBody::Doctor {
            findings: vec![
                Finding::ok("power", "no under-voltage"),
                Finding::problem("disk /", "full", "docker system prune"),
            ],
            wall_ms: 1_700_000_000_000,
        },
    };
    is_written(
        &reply,
        concat!(
            r#"{"v":1,"part":0,"last":true,"body":{"doctor":{"findings":["#,
            r#"{"check":"power","severity":"ok","found":"no under-voltage","fix":null},"#,
            r#"{"check":"disk /","severity":"problem","found":"full","fix":"docker system prune"}],"#,
            r#""wall-ms":1700000000000}}}"#
        ),
    );
}
