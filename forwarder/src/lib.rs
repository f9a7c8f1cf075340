//! `kc-forwarder`: classifier, SFF, SFC proxy and plain-VXLAN overlay in user space.

pub mod capture;
mod classifier;
pub mod config;
pub mod control;
mod ecn;
mod fast;
pub mod frame;
mod group;
mod health;
mod limits;
mod neighbour;
mod oam;
mod overlay;
pub mod pipeline;
pub mod port;
pub mod probe;
mod proxy;
pub mod runtime;
pub mod selftest;
mod sff;
mod stats;
pub mod tables;
pub mod wire;
