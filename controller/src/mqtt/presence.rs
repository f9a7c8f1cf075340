//! What boxes are told of the controller itself: that there is one, or that it has gone. They need
//! none; an agent waits with what it would only say again.

use super::message;
use kc_agent_api::{ControllerStatus, DomainName, Presence, Topic, encode};
use kc_mqtt::{Link, Message, Will};

/// This very process.
#[derive(Debug, Clone, Copy)]
pub struct OurPresence {
    instance: u64,
}

impl OurPresence {
    /// One that no other process has.
    pub fn drawn() -> Self {
        Self {
            instance: fastrand::u64(..),
        }
    }

    fn status(self, presence: Presence, session: u64) -> ControllerStatus {
        ControllerStatus {
            presence,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: self.instance,
            session,
        }
    }

    /// We are there, on the connection that stands now.
    pub fn online(self, link: &Link) -> ControllerStatus {
        self.status(Presence::Online, link.session())
    }

    /// We go.
    pub fn farewell(self, domain: &DomainName, link: &Link) -> Message {
        self.offline(domain, link.session())
    }

    /// What the broker says when our connection breaks.
    pub(super) fn last_will(self, domain: &DomainName) -> Will {
        let domain = domain.clone();
        Will::per_session(move |session| self.offline(&domain, session))
    }

    fn offline(self, domain: &DomainName, session: u64) -> Message {
        let status = self.status(Presence::Offline, session);
        // Text and numbers, which JSON always takes.
        let payload = encode(&status).unwrap_or_default();
        message(domain, &Topic::Controller, payload)
    }
}
