//! The two tasks of a link: one polls `rumqttc`, the other hands messages to the reader.
//!
//! The polling task never waits for anybody but the network: what it learns goes into the shared
//! queues under a short lock. Each `poll` is given up after a while, because `rumqttc` writes
//! without a time limit: against a silently dead peer a full socket buffer would hold it, and the
//! pings that find out, for a quarter of an hour.

use crate::link::{Shared, message_of, mqtt_qos};
use crate::outbox::{Returned, SAMPLES, WINDOW};
use crate::{Backoff, Config, Incoming};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet,
    Publish, Request, StateError, Subscribe, SubscribeFilter, SubscribeReasonCode,
};
use std::net::Ipv6Addr;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// TCP connection, CONNECT and CONNACK together.
const CONNECT_SECONDS: u64 = 5;
/// Packet identifiers in use: far more than the window, so that one is not needed again while a
/// broker is late to acknowledge it.
const IDENTIFIERS: u16 = 1000;

/// Makes `rumqttc`'s two halves.
pub(crate) fn client(config: &Config) -> (AsyncClient, EventLoop) {
    let host = match config.host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => config.host.clone(),
    };
    let mut options = MqttOptions::new(&config.client_id, host, config.port);
    options
        .set_keep_alive(keep_alive(config))
        .set_max_packet_size(config.max_packet, config.max_packet)
        .set_inflight(IDENTIFIERS)
        .set_clean_session(config.clean_session || config.client_id.is_empty());
    if let Some((user, password)) = &config.credentials {
        options.set_credentials(user, password);
    }
    // Everything that can be in the channel at once: both windows and a DISCONNECT.
    AsyncClient::new(options, WINDOW + SAMPLES + 1)
}

fn keep_alive(config: &Config) -> Duration {
    Duration::from_secs(config.keep_alive.as_secs().clamp(1, 65_535))
}

/// How a connection ended.
enum End {
    Lost(String),
    Closed,
}

/// The polling task.
pub(crate) struct Driver {
    config: Config,
    events: EventLoop,
    shared: Arc<Shared>,
    backoff: Backoff,
    last_reason: Option<String>,
    reader_is_late: bool,
}

impl Driver {
    pub(crate) fn new(config: Config, events: EventLoop, shared: Arc<Shared>) -> Self {
        Self {
            config,
            events,
            shared,
            backoff: Backoff::default(),
            last_reason: None,
            reader_is_late: false,
        }
    }

    /// Connects again and again until the link is closed.
    pub(crate) async fn run(mut self) {
        loop {
            reader_has_room(&self.shared).await;
            let session = self.shared.begin_session();
            if let Some(will) = &self.config.last_will {
                let will = will.make(session);
                let will = LastWill::new(will.topic, will.payload, mqtt_qos(will.qos), will.retain);
                self.events.mqtt_options.set_last_will(will);
            }
            let start = Instant::now();
            let end = self.connection().await;
            self.take_back();
            match end {
                End::Closed => break,
                End::Lost(reason) => self.tell_lost(reason),
            }
            self.backoff.lived(start.elapsed());
            sleep(self.backoff.next(fastrand::f64())).await;
        }
        self.shared.connected.send_replace(false);
    }

    /// One connection, from CONNECT to its end.
    async fn connection(&mut self) -> End {
        let mut patience = Duration::from_secs(CONNECT_SECONDS * 2);
        self.events
            .network_options
            .set_connection_timeout(CONNECT_SECONDS)
            .set_tcp_nodelay(true);
        loop {
            let event = match timeout(patience, self.events.poll()).await {
                Ok(Ok(event)) => event,
                Ok(Err(error)) => return End::Lost(reason(error)),
                Err(_) => return End::Lost("the broker takes nothing any more".to_owned()),
            };
            if matches!(event, Event::Incoming(Packet::ConnAck(_))) {
                // From here on the limit is for a flush, which may hold a large packet.
                let flush = 2 * keep_alive(&self.config);
                self.events
                    .network_options
                    .set_connection_timeout(flush.as_secs());
                patience = 2 * flush;
            }
            if let Break(end) = self.on_event(event) {
                return end;
            }
            // Not reading is what slows a broker down. It takes our silence for as long as a ping
            // may be late; after that it is better to be gone, and known to be.
            if std::mem::take(&mut self.reader_is_late)
                && timeout(keep_alive(&self.config), reader_has_room(&self.shared))
                    .await
                    .is_err()
            {
                return End::Lost("the reader of this link is too slow".to_owned());
            }
        }
    }

    fn on_event(&mut self, event: Event) -> ControlFlow<End> {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => self.on_connack(),
            Event::Incoming(Packet::SubAck(ack)) => {
                let refused = ack.return_codes.iter().zip(&self.config.subscriptions);
                for (code, (filter, _)) in refused {
                    if *code == SubscribeReasonCode::Failure {
                        let reason = format!("the broker refused the subscription to {filter}");
                        return Break(End::Lost(reason));
                    }
                }
                self.on_connected();
            }
            Event::Incoming(Packet::Publish(publish)) => self.on_message(publish),
            Event::Incoming(Packet::PubAck(ack)) => {
                let mut state = self.shared.lock();
                state.outbox.acknowledged(ack.pkid);
                self.shared.pump(&mut state);
            }
            Event::Outgoing(Outgoing::Publish(id)) => {
                let mut state = self.shared.lock();
                state.outbox.written(id);
                self.shared.pump(&mut state);
            }
            Event::Outgoing(Outgoing::Disconnect) => return Break(End::Closed),
            _ => {}
        }
        Continue(())
    }

    fn on_connack(&mut self) {
        self.shared.lock().inbox.connecting();
        let filters = self.config.subscriptions.iter();
        let filters: Vec<_> = filters
            .map(|(filter, qos)| SubscribeFilter::new(filter.clone(), mqtt_qos(*qos)))
            .collect();
        if filters.is_empty() {
            self.on_connected();
        } else {
            let subscribe = Subscribe::new_many(filters);
            self.events.pending.push_back(Request::Subscribe(subscribe));
        }
    }

    fn on_connected(&mut self) {
        self.last_reason = None;
        let mut state = self.shared.lock();
        state.open = !state.closed;
        state.inbox.connected();
        self.shared.inbox_ready.notify_one();
        self.shared.connected.send_replace(true);
        self.shared.pump(&mut state);
    }

    fn on_message(&mut self, publish: Publish) {
        let mut state = self.shared.lock();
        let dropped = state.inbox.dropped();
        self.reader_is_late |= !state.inbox.push(message_of(publish));
        if dropped == 0 && state.inbox.dropped() > 0 {
            tracing::warn!("a slow reader has begun to cost QoS 0 messages");
        }
        self.shared.inbox_ready.notify_one();
    }

    /// Empties `rumqttc` of all it holds, which it would forget or resend out of order.
    fn take_back(&mut self) {
        // Nothing enters the channel from here on.
        self.shared.lock().open = false;
        // What arrived together with the end is still good.
        for event in std::mem::take(&mut self.events.state.events) {
            if !matches!(event, Event::Incoming(Packet::SubAck(_))) {
                let _ = self.on_event(event);
            }
        }
        self.events.clean();
        let collision = self
            .events
            .state
            .collision
            .take()
            .map(|publish| Publish { pkid: 0, ..publish });
        let pending = std::mem::take(&mut self.events.pending);
        let publishes = pending.into_iter().filter_map(|request| match request {
            Request::Publish(publish) => Some(publish),
            _ => None,
        });
        // Sent ones with an identifier, then the one that found its identifier taken, then those
        // that were never looked at.
        let (sent, unsent): (Vec<_>, Vec<_>) = publishes.partition(|publish| publish.pkid != 0);
        let returned = sent
            .into_iter()
            .chain(collision)
            .chain(unsent)
            .filter(|publish| publish.qos != rumqttc::QoS::AtMostOnce)
            .map(|publish| Returned {
                id: publish.pkid,
                message: message_of(publish),
            })
            .collect();
        let mut state = self.shared.lock();
        state.inbox.ended();
        self.shared.inbox_ready.notify_one();
        state.outbox.connection_lost(returned);
        self.shared.pump(&mut state);
    }

    fn tell_lost(&mut self, reason: String) {
        self.shared.connected.send_replace(false);
        if self.last_reason.as_ref() == Some(&reason) {
            return;
        }
        tracing::info!(broker = %self.config.host, port = self.config.port, reason, "link lost");
        self.last_reason = Some(reason.clone());
        self.shared.lock().inbox.disconnected(reason);
        self.shared.inbox_ready.notify_one();
    }
}

async fn reader_has_room(shared: &Shared) {
    while !shared.lock().inbox.has_room() {
        shared.inbox_room.notified().await;
    }
}

/// The delivering task: hands messages to the reader. Without a reader they are forgotten.
pub(crate) async fn deliver(shared: Arc<Shared>, reader: mpsc::Sender<Incoming>) {
    loop {
        let next = shared.lock().inbox.pop();
        let Some(incoming) = next else {
            shared.inbox_ready.notified().await;
            continue;
        };
        let _ = reader.send(incoming).await;
        shared.inbox_room.notify_one();
    }
}

fn reason(error: ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => format!("the broker refused: {code:?}"),
        ConnectionError::NetworkTimeout => "the broker does not answer".to_owned(),
        ConnectionError::FlushTimeout => "the broker takes nothing any more".to_owned(),
        ConnectionError::Io(error) => error.to_string(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            "the broker does not answer pings".to_owned()
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            "the broker closed the connection".to_owned()
        }
        ConnectionError::MqttState(StateError::CollisionTimeout) => {
            "the broker owes an acknowledgement for too long".to_owned()
        }
        other => other.to_string(),
    }
}
