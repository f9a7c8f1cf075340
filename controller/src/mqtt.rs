//! The controller's end of MQTT: what it subscribes to, what comes in, calls and their answers.

mod calls;
mod inbound;

pub use calls::{CallError, Calls};
pub use inbound::{Inbound, Refusal, read};

use kc_agent_api::{DomainName, Topic};
use kc_mqtt::{Config, Message, QoS};

/// A link of `domain`'s controller to the broker at `host:port`.
pub fn config(
    domain: &DomainName,
    host: String,
    port: u16,
    credentials: Option<(String, String)>,
) -> Config {
    let mut config = Config::new(host, port, format!("kc-controller-{domain}"));
    // Samples replace each other; all else must arrive.
    config.subscriptions = Topic::controller_filters(domain)
        .into_iter()
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
    // Events that boxes report while this controller restarts wait at the broker.
    config.clean_session = false;
    config.credentials = credentials;
    config
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
