//! The controller of a K-Cluster domain: manifests in, plans out, documents published.
//!
//! The deciding half (resources, manifest, topology, scheduler, placement, render, plan) is
//! pure: no clock, socket, file or task in it. The rest is shell around it.

pub mod alarm;
pub mod cli;
pub mod execute;
pub mod frame;
pub mod http;
pub mod latency;
pub mod manifest;
pub mod mqtt;
mod notify;
pub mod observation;
pub mod pcapng;
pub mod placement;
pub mod plan;
pub mod playground;
pub mod render;
pub mod resource;
pub mod scaling;
pub mod scheduler;
pub mod shared;
pub mod simulate;
pub mod store;
pub mod topology;
pub mod trace;
pub mod traffic;
pub mod views;
