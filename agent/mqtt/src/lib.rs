//! One MQTT 3.1.1 link that keeps what it promised: `rumqttc` with its losses cured.
//!
//! * A QoS 1 message belongs to this crate's own bounded queue until the broker has acknowledged
//!   it. When a connection is lost, everything `rumqttc` still held is taken back, in order, and
//!   offered anew on the next one. Consumers may see a message twice, never not at all.
//! * Retained messages wait at most once per topic, QoS 0 messages too: the newest wins.
//! * One task does nothing but poll; publishing never waits; a slow reader never stops the pings.
//! * Reconnecting backs off with jitter; subscriptions are made again, and answered, before
//!   [`Incoming::Connected`] is told.
//!
//! **Back-pressure.** Incoming messages go through a bounded buffer to the reader. While it is
//! full, QoS 0 messages to one topic replace each other, then the oldest are dropped. QoS 1
//! messages are acknowledged only once the reader's channel took them, so the broker's own window
//! slows it down; should a broker keep sending regardless, the link hangs up and returns when the
//! reader has caught up half of its arrears.
//!
//! This crate knows nothing of K-Cluster's topics or payloads.

mod backoff;
mod config;
mod driver;
mod inbox;
mod link;
mod outbox;

pub use backoff::Backoff;
pub use config::{Config, Incoming, Message, QoS, Will};
pub use link::{Link, PublishError};
