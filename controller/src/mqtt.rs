//! The controller's end of MQTT: what it subscribes to, what comes in, calls and their answers.

mod calls;
mod conversation;
mod inbound;
mod presence;

pub(crate) use calls::CREDIT;
pub use calls::{CallError, Calls};
pub use conversation::{Conversation, Inlet};
pub use inbound::{Inbound, Refusal, read};
pub use presence::OurPresence;

use kc_agent_api::{DomainName, Topic};
use kc_mqtt::{Config, Incoming, Message, QoS};
use tokio::sync::mpsc;

/// A link of `domain`'s controller to the broker at `host:port`, for all but events.
///
/// Its session is clean: at every connection the broker hands over what it retains, and nothing
/// that was said to a former self.
pub fn config(
    domain: &DomainName,
    host: String,
    port: u16,
    credentials: Option<(String, String)>,
    presence: OurPresence,
) -> Config {
    let mut config = Config::new(host, port, format!("kc-controller-{domain}"));
    config.last_will = Some(presence.last_will(domain));
    // Samples replace each other; all else must arrive.
    config.subscriptions = filters(domain, false)
        .map(|filter| {
            let sample = filter.ends_with("/load") || filter.ends_with("/tunnel");
            let qos = if sample {
                QoS::AtMostOnce
            } else {
                QoS::AtLeastOnce
            };
            (filter, qos)
        })
        .collect();
    config.credentials = credentials;
    config
}

/// A second link, for events alone. Its session lasts, so that events which boxes report while
/// this controller restarts wait at the broker.
pub fn event_config(
    domain: &DomainName,
    host: String,
    port: u16,
    credentials: Option<(String, String)>,
) -> Config {
    let mut config = Config::new(host, port, format!("kc-controller-{domain}-events"));
    config.subscriptions = filters(domain, true)
        .map(|filter| (filter, QoS::AtLeastOnce))
        .collect();
    config.clean_session = false;
    config.credentials = credentials;
    config
}

fn filters(domain: &DomainName, events: bool) -> impl Iterator<Item = String> {
    Topic::controller_filters(domain)
        .into_iter()
        .filter(move |filter| filter.ends_with("/event") == events)
}

/// What comes over the first link, and the messages of the second.
pub fn merged(
    mut incoming: mpsc::Receiver<Incoming>,
    mut events: mpsc::Receiver<Incoming>,
) -> mpsc::Receiver<Incoming> {
    let (sender, merged) = mpsc::channel(incoming.max_capacity());
    tokio::spawn(async move {
        loop {
            let word = tokio::select! {
                word = incoming.recv() => word,
                Some(word) = events.recv() => match word {
                    Incoming::Message(_) => Some(word),
                    Incoming::Connected | Incoming::Disconnected { .. } => continue,
                },
            };
            let Some(word) = word else { return };
            if sender.send(word).await.is_err() {
                return;
            }
        }
    });
    merged
}

/// A message on one of our topics, retained and guaranteed as the topic demands.
pub fn message(domain: &DomainName, topic: &Topic, payload: Vec<u8>) -> Message {
    Message {
        topic: topic.name(domain),
        payload,
        qos: if topic.qos() == 0 {
            QoS::AtMostOnce
        } else {
            QoS::AtLeastOnce
        },
        retain: topic.retained(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_session_of_events_lasts() {
        let domain = DomainName::new("lab").unwrap();
        let presence = OurPresence::drawn();
        let all = config(&domain, "broker".into(), 1883, None, presence);
        let events = event_config(&domain, "broker".into(), 1883, None);
        assert!(all.clean_session && !events.clean_session);
        assert_ne!(all.client_id, events.client_id);
        assert_eq!(all.subscriptions.len(), 6);
        let filter = "kcluster/lab/node/+/event".to_owned();
        assert_eq!(events.subscriptions, [(filter, QoS::AtLeastOnce)]);
    }
}
