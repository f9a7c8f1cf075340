//! The pipeline from outside: frames in, frames out, every counter. No sockets, no clock.

#![expect(
    clippy::allow_attributes,
    reason = "the fuzz targets read the same files and use less of them"
)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod affinity;
mod answers;
mod any_tables;
mod capture;
mod clusters;
mod consistency;
mod context;
mod ecn;
mod forged;
mod fragments;
mod frames;
#[path = "../frames/mod.rs"]
#[allow(dead_code, reason = "only the frames are wanted here")]
mod golden;
mod groups;
mod health;
mod lan;
mod legs;
mod limits;
mod loops;
mod middle;
mod oam;
mod offload;
mod overlay;
mod path;
mod proxy;
mod random;
mod refusals;
mod requirements;
mod seeds;
mod steps;
mod tables;
mod taint;
mod transports;
mod virtuals;
mod way_back;
mod world;
