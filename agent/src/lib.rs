//! `kc-agent`: makes one box match its desired document, and reports what it sees.
//!
//! [`reconcile`] and [`state`] decide and are pure; [`docker`], [`wiring`], [`forwarder`],
//! [`ledger`] touch the box and decide nothing; [`keeper`] is the loop between
//! them. [`courier`] carries documents in and reports out over MQTT; [`load`], [`status`],
//! [`events`] and [`calls`] are what it carries, and [`readings`] shows the same to others. [`service`] tells
//! the system manager, [`update`] replaces the agent by another version of itself, and [`doctor`]
//! looks for what is wrong with the box.

pub mod agent;
pub mod calls;
pub mod config;
pub mod courier;
pub mod docker;
pub mod doctor;
pub mod events;
pub mod forwarder;
mod hook;
pub mod keeper;
pub mod last_words;
pub mod ledger;
pub mod load;
pub mod probe;
pub mod readings;
pub mod reconcile;
pub mod service;
pub mod state;
pub mod status;
pub mod update;
pub mod vault;
pub mod wiring;
