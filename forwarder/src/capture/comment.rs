//! What is said of a packet, in words of the form `key=value` behind the name of its point.

use super::record::{Kind, Outer, Record, Verdict};
use crate::tables::steering::unpack;
use std::fmt::Write;

/// Writes the comment for `record` into `text`, which is emptied first.
pub(super) fn write(text: &mut String, record: &Record<'_>) {
    text.clear();
    text.push_str(record.point.as_str());
    if let Verdict::Drop(reason) = record.verdict
        && record.point == kc_forwarder_api::CapturePoint::Drop
    {
        word(text, "reason", reason.as_str());
    }
    word(text, "function", record.function);
    match record.kind {
        Kind::Port => word(text, "port", record.name),
        Kind::Tunnel => word(text, "tunnel", record.name),
        Kind::Gpe | Kind::Vxlan | Kind::Own => {}
    }
    word(text, "tunnel", record.tunnel);
    if let Outer::Udp { from, to, .. } = record.outer {
        let remote = match record.way {
            super::pcapng::Way::Outbound => to,
            _ => from,
        };
        number(text, "remote", remote.ip());
    }
    if let Some(vni) = record.vni {
        number(text, "vni", vni);
    }
    word(text, "rule", record.rule);
    if let Some(path) = record.path {
        let (spi, si) = unpack(path);
        number(text, "spi", spi);
        number(text, "si", si);
    }
    match record.verdict {
        Verdict::None => {}
        Verdict::Path => word(text, "verdict", "path"),
        Verdict::Segment(vni) => {
            word(text, "verdict", "segment");
            number(text, "vni", vni);
        }
        Verdict::Egress => {
            word(text, "verdict", "egress");
            word(text, "to", record.target);
        }
        Verdict::Drop(_) if record.point == kc_forwarder_api::CapturePoint::Drop => {}
        Verdict::Drop(reason) => {
            word(text, "verdict", "drop");
            word(text, "reason", reason.as_str());
        }
    }
}

fn number(text: &mut String, key: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(text, " {key}={value}");
}

/// A name that is empty is not there; one with spaces in it stays one word.
fn word(text: &mut String, key: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"';
    if value.chars().all(plain) {
        number(text, key, value);
    } else {
        // Writing to a string cannot fail.
        let _ = write!(text, " {key}={value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::pcapng::Way;
    use super::*;
    use kc_forwarder_api::{CapturePoint, DropReason};

    const RECORD: Record<'_> = Record {
        at_ns: 0,
        point: CapturePoint::Ingress,
        way: Way::Inbound,
        interface: 0,
        kind: Kind::Port,
        name: "c0",
        outer: Outer::Ethernet,
        path: Some(100 << 8 | 255),
        vni: None,
        verdict: Verdict::Path,
        function: "",
        rule: "web",
        target: "",
        tunnel: "",
        lost: 0,
        length: 0,
        octets: [&[], &[]],
    };

    fn comment(record: &Record<'_>) -> String {
        let mut text = String::from("former");
        write(&mut text, record);
        text
    }

    #[test]
    fn comments_read_as_the_request_documents_them() {
        assert_eq!(
            comment(&RECORD),
            "ingress port=c0 rule=web spi=100 si=255 verdict=path"
        );
        let function = Record {
            point: CapturePoint::Function,
            name: "fa",
            verdict: Verdict::None,
            function: "fw-1",
            rule: "",
            ..RECORD
        };
        assert_eq!(
            comment(&function),
            "function function=fw-1 port=fa spi=100 si=255"
        );
        let tunnel = Record {
            point: CapturePoint::Tunnel,
            way: Way::Outbound,
            kind: Kind::Tunnel,
            name: "box2",
            outer: Outer::Udp {
                from: "192.168.50.1:49152".parse().unwrap(),
                to: "192.168.50.2:4790".parse().unwrap(),
                class: 0,
            },
            path: Some(100 << 8 | 254),
            vni: Some(100),
            verdict: Verdict::None,
            rule: "",
            ..RECORD
        };
        assert_eq!(
            comment(&tunnel),
            "tunnel tunnel=box2 remote=192.168.50.2 vni=100 spi=100 si=254"
        );
        let drop = Record {
            point: CapturePoint::Drop,
            verdict: Verdict::Drop(DropReason::NoPath),
            path: Some(100 << 8 | 9),
            rule: "",
            ..RECORD
        };
        assert_eq!(comment(&drop), "drop reason=no-path port=c0 spi=100 si=9");
    }

    #[test]
    fn a_refusal_by_the_classifier_is_said_where_the_frame_came_in() {
        let refused = Record {
            path: None,
            rule: "no telnet, please",
            verdict: Verdict::Drop(DropReason::RuleDrop),
            ..RECORD
        };
        assert_eq!(
            comment(&refused),
            "ingress port=c0 rule=\"no telnet, please\" verdict=drop reason=rule-drop"
        );
        let passed = Record {
            path: None,
            verdict: Verdict::Egress,
            target: "s0",
            ..RECORD
        };
        assert_eq!(
            comment(&passed),
            "ingress port=c0 rule=web verdict=egress to=s0"
        );
    }
}
