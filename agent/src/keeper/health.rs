//! What the forwarder says of tunnels and functions: kept for the report, and told as an event when
//! something dies or comes back.

use super::Keeper;
use kc_agent_api::EventKind;
use kc_forwarder_api::{HealthEvent, HealthState, HealthSubject, SfName, TunnelName};
use std::collections::BTreeMap;

impl Keeper {
    pub(super) fn on_watching(
        &mut self,
        tunnels: BTreeMap<TunnelName, HealthState>,
        functions: BTreeMap<SfName, HealthState>,
    ) {
        // What is in the tables no more is not known of any more.
        self.facts
            .tunnels
            .retain(|name, _| tunnels.contains_key(name));
        let known = |name: &SfName| functions.contains_key(name);
        self.facts.functions.retain(|name, _| known(name));
        for (name, state) in tunnels {
            self.is_now(HealthSubject::Tunnel(name), state);
        }
        for (name, state) in functions {
            self.is_now(HealthSubject::Function(name), state);
        }
    }

    pub(super) fn on_health(&mut self, event: HealthEvent) {
        self.is_now(event.subject, event.state);
    }

    fn is_now(&mut self, subject: HealthSubject, state: HealthState) {
        let (before, object) = match &subject {
            HealthSubject::Tunnel(name) => {
                let before = self.facts.tunnels.insert(name.clone(), state);
                (before, name.to_string())
            }
            HealthSubject::Function(name) => {
                let before = self.facts.functions.insert(name.clone(), state);
                (before, name.to_string())
            }
        };
        let before = before.unwrap_or_default();
        if let Some((kind, message)) = story(&subject, before, state) {
            self.event(kind, &object, message);
        }
    }
}

/// What is worth telling of a change: a death, and the life after it. That everything is found
/// alive at first is no news.
fn story(
    subject: &HealthSubject,
    before: HealthState,
    now: HealthState,
) -> Option<(EventKind, String)> {
    let tunnel = matches!(subject, HealthSubject::Tunnel(_));
    match (before, now) {
        (HealthState::Dead, HealthState::Alive) => {
            let kind = if tunnel {
                EventKind::TunnelAlive
            } else {
                EventKind::FunctionAlive
            };
            Some((kind, format!("{subject} answers again")))
        }
        (HealthState::Unknown | HealthState::Alive, HealthState::Dead) => {
            let kind = if tunnel {
                EventKind::TunnelDead
            } else {
                EventKind::FunctionDead
            };
            Some((kind, format!("{subject} answers no more")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_and_a_return_are_told_and_a_first_sign_of_life_is_not() {
        use HealthState::{Alive, Dead, Unknown};
        let tunnel = HealthSubject::Tunnel(TunnelName::new("box2").unwrap());
        let function = HealthSubject::Function(SfName::new("fw-1").unwrap());
        let kind = |subject, before, now| story(subject, before, now).map(|(kind, _)| kind);
        assert_eq!(kind(&tunnel, Alive, Dead), Some(EventKind::TunnelDead));
        assert_eq!(kind(&tunnel, Dead, Alive), Some(EventKind::TunnelAlive));
        assert_eq!(
            kind(&function, Unknown, Dead),
            Some(EventKind::FunctionDead)
        );
        assert_eq!(kind(&function, Dead, Alive), Some(EventKind::FunctionAlive));
        for (before, now) in [
            (Unknown, Alive),
            (Dead, Dead),
            (Alive, Alive),
            (Dead, Unknown),
        ] {
            assert_eq!(kind(&tunnel, before, now), None);
        }
    }
}
