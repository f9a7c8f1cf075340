//! The controller: whether there is one. A box needs none, so its absence is no problem of the box.

use kc_agent_api::{ControllerStatus, Finding, Presence};

const CHECK: &str = "controller";

/// Judges what it said of itself, or the broker in its name.
pub(super) fn controller(said: &ControllerStatus) -> Finding {
    match said.presence {
        Presence::Online => Finding::ok(CHECK, format!("version {} is there", said.version)),
        Presence::Offline => Finding::warning(
            CHECK,
            "it has gone; the box goes on without, and its events wait",
            "on the controller's machine: systemctl start kc-controller",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;

    #[test]
    fn a_controller_that_has_gone_is_a_warning_with_a_fix() {
        let said = |presence| ControllerStatus {
            presence,
            version: "0.1.0".into(),
            instance: 1,
            session: 1,
        };
        let there = controller(&said(Presence::Online));
        assert_eq!(there, Finding::ok(CHECK, "version 0.1.0 is there"));
        let gone = controller(&said(Presence::Offline));
        assert_eq!(gone.severity, Severity::Warning);
        assert!(gone.fix.is_some());
    }
}
