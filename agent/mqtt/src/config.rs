//! What a link is told, and what it tells.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Delivery guarantee. QoS 2 is not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QoS {
    /// QoS 0: sent once, the newest replaces what could not be sent.
    AtMostOnce,
    /// QoS 1: kept until acknowledged.
    AtLeastOnce,
}

/// One application message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic name, without wildcards.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Guarantee.
    pub qos: QoS,
    /// To the broker: keep it for late subscribers. From the broker: it was kept.
    pub retain: bool,
}

/// The message a broker publishes when a connection ends without a word, made for every
/// connection attempt from its number (see [`crate::Link::session`]).
#[derive(Clone)]
pub struct Will(Arc<dyn Fn(u64) -> Message + Send + Sync>);

impl Will {
    /// A will that differs from session to session.
    pub fn per_session(make: impl Fn(u64) -> Message + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(crate) fn make(&self, session: u64) -> Message {
        (self.0)(session)
    }
}

impl From<Message> for Will {
    fn from(message: Message) -> Self {
        Self::per_session(move |_| message.clone())
    }
}

/// Everything a link needs to know.
#[derive(Clone)]
pub struct Config {
    /// Broker's name or address.
    pub host: String,
    /// Broker's TCP port.
    pub port: u16,
    /// Unique per broker: a second client of the same name throws the first one out.
    pub client_id: String,
    /// Interval of pings; a silent peer is given up after two. At least one second.
    pub keep_alive: Duration,
    /// Published by the broker when the link breaks.
    pub last_will: Option<Will>,
    /// Topic filters, subscribed to on every connection.
    pub subscriptions: Vec<(String, QoS)>,
    /// User name and password.
    pub credentials: Option<(String, String)>,
    /// Largest packet in bytes, both ways.
    pub max_packet: usize,
    /// QoS 1 messages kept until acknowledged, and topics of QoS 0 messages kept while waiting.
    pub queue: usize,
    /// Incoming messages kept for a slow reader.
    pub inbox: usize,
    /// Whether the broker forgets our subscriptions and their queued QoS 1 messages when we go.
    pub clean_session: bool,
}

impl Config {
    /// A link to `host:port` with defaults: pings every 2 s, 8 MiB packets, 1000 messages either
    /// way, a clean session, no will, no subscriptions, no credentials.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            client_id: client_id.into(),
            keep_alive: Duration::from_secs(2),
            last_will: None,
            subscriptions: Vec::new(),
            credentials: None,
            max_packet: 8 << 20,
            queue: 1000,
            inbox: 1000,
            clean_session: true,
        }
    }
}

impl fmt::Debug for Config {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("client_id", &self.client_id)
            .field("keep_alive", &self.keep_alive)
            .field("last_will", &self.last_will.is_some())
            .field("subscriptions", &self.subscriptions)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("max_packet", &self.max_packet)
            .field("queue", &self.queue)
            .field("inbox", &self.inbox)
            .field("clean_session", &self.clean_session)
            .finish()
    }
}

/// What a link tells its reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A connection stands and all subscriptions are in force. Messages that belong to them follow.
    Connected,
    /// There is no connection. Told once per outage, and again when the reason changes.
    Disconnected {
        /// Why, for people.
        reason: String,
    },
    /// A message; a QoS 1 message may come twice.
    Message(Message),
}
