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
//! **Back-pressure.** Incoming messages go through a bounded inbox to the reader's channel, and are
//! acknowledged when they enter the inbox. While it is full, QoS 0 messages to one topic replace
//! each other, or are dropped. When a QoS 1 message fills it, the link stops reading from the
//! broker until half of the inbox is free, but no longer than one keep-alive interval; then it
//! hangs up, and returns when there is room. A reader that stands still so takes its link off the
//! network instead of growing without bound, and loses nothing that was acknowledged.
//!
//! This crate knows nothing of K-Cluster's topics or payloads.

mod backoff;
mod config;
mod driver;
mod inbox;
mod link;
mod outbox;
mod probe;

pub use backoff::Backoff;
pub use config::{Config, Incoming, Message, QoS, Will};
pub use link::{Link, PublishError};
pub use probe::{ProbeError, probe};
