//! The handle to a link: publish, ask, close. Nothing here waits except `drained` and `close`.

use crate::driver::{self, Driver};
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::{Config, Incoming, Message, QoS};
use rumqttc::{AsyncClient, ClientError, Publish, Request};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// Room in the reader's channel; more waits in the inbox.
const CHANNEL: usize = 64;
/// How long `close` waits for its DISCONNECT to be written.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The queue of unacknowledged messages is full.
    #[error("{queue} messages wait for the broker already")]
    Full {
        /// Its length.
        queue: usize,
    },
    /// The packet would be longer than allowed.
    #[error("a packet of {size} bytes is longer than the limit of {limit}")]
    TooLarge {
        /// Bytes of the packet.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// MQTT does not allow the topic.
    #[error("{0:?} is no topic name: 1 to 65535 bytes without +, # and NUL")]
    Topic(String),
    /// The link was closed.
    #[error("the link is closed")]
    Closed,
}

/// A link to one broker. Clones share it; when the last one is dropped without [`Link::close`],
/// the connection breaks and the broker publishes the last will.
#[derive(Debug, Clone)]
pub struct Link {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

#[derive(Debug)]
struct Tasks {
    driver: JoinHandle<()>,
    delivery: JoinHandle<()>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.driver.abort();
        self.delivery.abort();
    }
}

impl Link {
    /// Starts connecting, for ever. Must be called inside a tokio runtime.
    pub fn start(config: Config) -> (Self, mpsc::Receiver<Incoming>) {
        let (client, events) = driver::client(&config);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                outbox: Outbox::new(config.queue),
                inbox: Inbox::new(config.inbox),
                open: false,
                closed: false,
            }),
            client,
            session: AtomicU64::new(0),
            max_packet: config.max_packet,
            queue: config.queue.max(1),
            unacknowledged: watch::Sender::new(0),
            connected: watch::Sender::new(false),
            inbox_ready: Notify::new(),
            inbox_room: Notify::new(),
        });
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let tasks = Tasks {
            driver: tokio::spawn(Driver::new(config, events, Arc::clone(&shared)).run()),
            delivery: tokio::spawn(driver::deliver(Arc::clone(&shared), sender)),
        };
        let link = Self {
            shared,
            tasks: Arc::new(tasks),
        };
        (link, receiver)
    }

    /// Queues a message. Never waits.
    ///
    /// QoS 1 messages to a topic go out in the order they were published and are kept until the
    /// broker acknowledges them; a retained one that is still waiting is replaced by a newer one
    /// to the same topic. QoS 0 messages wait at most once per topic.
    pub fn publish(&self, message: Message) -> Result<(), PublishError> {
        let shared = &*self.shared;
        if !legal_topic(&message.topic) {
            return Err(PublishError::Topic(message.topic));
        }
        let size = packet_size(&message);
        if size > shared.max_packet {
            return Err(PublishError::TooLarge {
                size,
                limit: shared.max_packet,
            });
        }
        let mut state = shared.lock();
        if state.closed {
            return Err(PublishError::Closed);
        }
        let full = |_| PublishError::Full {
            queue: shared.queue,
        };
        state.outbox.push(message).map_err(full)?;
        shared.pump(&mut state);
        Ok(())
    }

    /// Whether a connection stands with all its subscriptions.
    pub fn connected(&self) -> bool {
        *self.shared.connected.borrow()
    }

    /// Follows [`Link::connected`].
    pub fn watch_connected(&self) -> watch::Receiver<bool> {
        self.shared.connected.subscribe()
    }

    /// Number of the current connection attempt, 1 for the first: what
    /// [`crate::Will::per_session`] was given for the connection that stands now.
    pub fn session(&self) -> u64 {
        self.shared.session.load(Ordering::Acquire)
    }

    /// QoS 1 messages the broker has not acknowledged.
    pub fn backlog(&self) -> usize {
        *self.shared.unacknowledged.borrow()
    }

    /// Waits until every QoS 1 message is acknowledged. `false` when time ran out first.
    pub async fn drained(&self, limit: Duration) -> bool {
        self.backlog_below(1, limit).await
    }

    /// Waits until fewer than `count` QoS 1 messages are unacknowledged: how a long answer leaves
    /// room for others. `false` when time ran out first.
    pub async fn backlog_below(&self, count: usize, limit: Duration) -> bool {
        let mut backlog = self.shared.unacknowledged.subscribe();
        let room = backlog.wait_for(|backlog| *backlog < count);
        matches!(tokio::time::timeout(limit, room).await, Ok(Ok(_)))
    }

    /// Ends the link and all its clones with a DISCONNECT, so that the broker discards the last
    /// will. Publish an "offline" of your own and wait for [`Link::drained`] first.
    pub async fn close(self) {
        let mut connected = self.shared.connected.subscribe();
        {
            let mut state = self.shared.lock();
            state.closed = true;
            if !state.open || self.shared.client.try_disconnect().is_err() {
                return self.abandon();
            }
        }
        let gone = connected.wait_for(|connected| !connected);
        let _ = tokio::time::timeout(FAREWELL, gone).await;
        self.abandon();
    }

    fn abandon(&self) {
        self.tasks.driver.abort();
        self.tasks.delivery.abort();
        self.shared.connected.send_replace(false);
    }
}

/// What the handle and the two tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    client: AsyncClient,
    session: AtomicU64,
    max_packet: usize,
    queue: usize,
    unacknowledged: watch::Sender<usize>,
    pub(crate) connected: watch::Sender<bool>,
    pub(crate) inbox_ready: Notify,
    pub(crate) inbox_room: Notify,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    /// Whether messages may be handed over.
    pub(crate) open: bool,
    pub(crate) closed: bool,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a new connection attempt.
    pub(crate) fn begin_session(&self) -> u64 {
        self.session.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Hands over what the windows allow. Under the lock, so that order is that of `publish`.
    pub(crate) fn pump(&self, state: &mut State) {
        while state.open
            && let Some(message) = state.outbox.take()
        {
            let Message {
                topic,
                payload,
                qos,
                retain,
            } = message;
            let handed = self
                .client
                .try_publish(topic, mqtt_qos(qos), retain, payload);
            if let Err(ClientError::TryRequest(request) | ClientError::Request(request)) = handed {
                if let Request::Publish(publish) = request {
                    state.outbox.put_back(message_of(publish));
                }
                break;
            }
        }
        let count = state.outbox.unacknowledged();
        self.unacknowledged
            .send_if_modified(|before| std::mem::replace(before, count) != count);
    }
}

pub(crate) fn mqtt_qos(qos: QoS) -> rumqttc::QoS {
    match qos {
        QoS::AtMostOnce => rumqttc::QoS::AtMostOnce,
        QoS::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
    }
}

pub(crate) fn message_of(publish: Publish) -> Message {
    let qos = match publish.qos {
        rumqttc::QoS::AtMostOnce => QoS::AtMostOnce,
        rumqttc::QoS::AtLeastOnce | rumqttc::QoS::ExactlyOnce => QoS::AtLeastOnce,
    };
    Message {
        topic: publish.topic,
        payload: publish.payload.into(),
        qos,
        retain: publish.retain,
    }
}

/// MQTT 3.1.1 section 3.3.2.1: "The Topic Name in the PUBLISH Packet MUST NOT contain wildcard
/// characters"; section 4.7.3: at least one character, no NUL, at most 65535 bytes.
fn legal_topic(topic: &str) -> bool {
    (1..=65535).contains(&topic.len()) && !topic.contains(['+', '#', '\0'])
}

/// Upper bound of the PUBLISH packet in bytes: fixed header, topic, identifier, payload.
fn packet_size(message: &Message) -> usize {
    5 + 2 + message.topic.len() + 2 + message.payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_with_wildcards_is_refused() {
        for wrong in ["", "a/+", "#", "a\0b", &"x".repeat(65536)] {
            assert!(!legal_topic(wrong), "{wrong}");
        }
        assert!(legal_topic("kcluster/lab/node/pi-1/status"));
    }
}
