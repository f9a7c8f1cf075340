//! Functions that nobody here wrote, in service paths of the real `kc-forwarder`: nftables, haproxy
//! and Suricata, alone and together, and functions that misbehave.
//!
//! Everything is in network namespaces and goes with the test, also when it panics. Needs what
//! `tests/setup.sh test` installs, and a Debian mirror once, for Suricata's root directory.
#![expect(clippy::unwrap_used, reason = "a test program")]

mod faults;
mod fragments;
mod haproxy;
mod mtu;
mod nft;
mod odd;
mod rootfs;
mod single;
mod site;
mod suricata;
mod sustained;
mod tables;
mod together;
mod traffic;
