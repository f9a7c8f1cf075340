//! The readings that go over MQTT, for those who read neither our topics nor our JSON: Home
//! Assistant and Prometheus. Each is off until it is asked for.
//!
//! [`entities`], [`discovery`], [`metrics`] and [`http`] are pure; [`former`] is a file and
//! [`scrape`] a socket. Nothing here measures: what the courier has just published is shown in
//! other words.

pub mod config;
pub mod discovery;
pub mod entities;
mod entity;
mod exposition;
pub mod former;
pub mod http;
pub mod metrics;
pub mod scrape;

pub use discovery::Discovery;
pub use metrics::Readings;

#[cfg(test)]
mod tests;
