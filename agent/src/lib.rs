//! `kc-agent`: makes one box match its desired document, and reports what it sees.
//!
//! [`reconcile`] and [`state`] decide and are pure; [`docker`], [`wiring`], [`forwarder`],
//! [`ledger`] touch the box and decide nothing; [`agent`] is the loop between them.

pub mod config;
pub mod docker;
pub mod ledger;
pub mod reconcile;
pub mod wiring;
