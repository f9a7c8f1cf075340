//! What is wrong, as far as it can be seen from here: what boxes find on themselves, and what the
//! controller knows of them that they cannot tell.

use super::{NodeCondition, NodeView};
use kc_agent_api::Finding;
use serde::{Deserialize, Serialize};

/// A look at the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DoctorView {
    /// What the controller finds on itself: `{check, severity, found, fix}` each, of severity
    /// `ok`, `warning`, `problem` or `unknown`.
    #[schema(value_type = Vec<Object>)]
    pub controller: Vec<Finding>,
    /// Boxes in name order.
    pub nodes: Vec<NodeFindings>,
}

/// One box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeFindings {
    /// The box.
    pub node: String,
    /// The controller's findings, and then its own if it answers.
    #[schema(value_type = Vec<Object>)]
    pub findings: Vec<Finding>,
}

/// Milliseconds by which a box's clock may differ, and from which on certificates may fail.
const NOTABLE: u64 = 2_000;
const GRAVE: u64 = 60_000;

/// The controller's own state.
pub fn controller_findings(broker: &str, connected: bool) -> Vec<Finding> {
    let check = "broker";
    vec![match connected {
        true => Finding::ok(check, format!("{broker} is connected")),
        false => Finding::problem(
            check,
            format!("{broker} is not connected: boxes go on, nothing can be changed"),
            format!(
                "start the broker at {broker}; kc-agent doctor --broker {broker} tells why it fails"
            ),
        ),
    }]
}

/// What is known of a box without asking it, at `now_ms` by the controller's clock.
pub fn node_findings(node: &NodeView, version: &str, now_ms: u64) -> Vec<Finding> {
    let since = node.since_ms.map_or_else(String::new, |ms| {
        format!(" for {}", time(now_ms.saturating_sub(ms)))
    });
    let start = format!(
        "is {} on, and its network? there: systemctl status kc-agent; kc-agent doctor",
        node.name
    );
    let presence = "presence";
    let mut findings = vec![match node.condition {
        NodeCondition::Ready => Finding::ok(presence, format!("Ready{since}")),
        NodeCondition::Unreachable => {
            let found = format!("Unreachable{since}: the broker knows it, but it says nothing");
            Finding::problem(presence, found, start)
        }
        NodeCondition::Offline => Finding::problem(
            presence,
            format!("Offline{since}: its agent has gone"),
            start,
        ),
        NodeCondition::Unknown => Finding::problem(
            presence,
            "a manifest names it, and it was never seen",
            format!(
                "on that box: kc-agent run --node {} --broker HOST:PORT",
                node.name
            ),
        ),
    }];
    if let Some(theirs) = &node.version {
        let check = "version";
        findings.push(match theirs == version {
            true => Finding::ok(check, format!("kc-agent {theirs}, as the controller")),
            false => {
                let found = format!("kc-agent {theirs}, the controller is {version}");
                Finding::warning(check, found, "install the same version on all boxes")
            }
        });
    }
    // Of a box that is gone they say only that it is gone.
    let there = node.condition == NodeCondition::Ready;
    for error in node.errors.iter().filter(|_| there) {
        let fix = format!("kc describe node {}; kc events {}", node.name, node.name);
        findings.push(Finding::problem("document", error, fix));
    }
    findings
}

/// How far a box's clock is from the controller's: it said `theirs_ms` at a moment between
/// `asked_ms` and `heard_ms`.
pub fn clock_finding(theirs_ms: u64, asked_ms: u64, heard_ms: u64) -> Finding {
    let check = "clock-offset";
    let (off, side) = if theirs_ms < asked_ms {
        (asked_ms - theirs_ms, "behind")
    } else {
        (theirs_ms.saturating_sub(heard_ms), "ahead of")
    };
    let found = format!("{} {side} the controller's clock", time(off));
    let fix =
        "let both ask a time server: apt install systemd-timesyncd && timedatectl set-ntp true";
    match off {
        GRAVE.. => Finding::problem(check, found, fix),
        NOTABLE.. => Finding::warning(check, found, fix),
        _ => Finding::ok(check, "as the controller's clock"),
    }
}

/// A box that should answer and does not.
pub fn no_answer(node: &str, why: &str) -> Finding {
    Finding::unknown(
        "agent",
        format!("its own findings are missing: {why}"),
        format!("on {node}: sudo kc-agent doctor"),
    )
}

fn time(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;

    fn node(condition: &str, since_ms: u64) -> NodeView {
        serde_json::from_value(serde_json::json!({
            "name": "box2", "condition": condition, "sinceMs": since_ms, "cordoned": false,
            "draining": false, "labels": {}, "version": "0.1.0", "containersWanted": 0,
            "containersRunning": 0, "generation": 1, "acknowledged": 1, "drops": {},
            "packetIo": [], "dead": [], "errors": [],
        }))
        .unwrap()
    }

    #[test]
    fn a_box_that_is_gone_is_told_with_how_long() {
        let gone = node_findings(&node("offline", 1_000_000), "0.1.0", 1_000_000 + 7_200_000);
        assert_eq!(gone[0].severity, Severity::Problem);
        assert_eq!(gone[0].found, "Offline for 2 h: its agent has gone");
        let ready = node_findings(&node("ready", 1_000_000), "0.1.0", 1_005_000);
        assert_eq!(ready[0], Finding::ok("presence", "Ready for 5 s"));
        assert_eq!(ready.len(), 2);
    }

    #[test]
    fn another_version_is_a_warning_and_an_unmet_document_a_problem() {
        let mut node = node("ready", 0);
        node.errors = vec!["fw-1: no such image".into()];
        let findings = node_findings(&node, "0.2.0", 0);
        assert_eq!(findings[1].severity, Severity::Warning);
        assert_eq!(findings[2].found, "fw-1: no such image");
        assert_eq!(findings[2].severity, Severity::Problem);
    }

    #[test]
    fn the_time_an_answer_takes_is_not_held_against_a_clock() {
        assert_eq!(
            clock_finding(104_000, 100_000, 108_000).severity,
            Severity::Ok
        );
        assert_eq!(
            clock_finding(99_000, 100_000, 108_000).severity,
            Severity::Ok
        );
        let behind = clock_finding(96_000, 100_000, 108_000);
        assert_eq!(behind.severity, Severity::Warning);
        assert_eq!(behind.found, "4 s behind the controller's clock");
        let ahead = clock_finding(10_900_000, 100_000, 100_050);
        assert_eq!(ahead.severity, Severity::Problem);
        assert_eq!(ahead.found, "2 h ahead of the controller's clock");
    }

    #[test]
    fn a_broker_that_is_away_is_the_controllers_own_problem() {
        let away = controller_findings("192.0.2.10:1883", false);
        assert_eq!(away[0].severity, Severity::Problem);
        let there = controller_findings("192.0.2.10:1883", true);
        assert_eq!(there[0].severity, Severity::Ok);
    }
}
