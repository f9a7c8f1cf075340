//! Updates of the real agent over a real broker: good versions take over, all others are refused or
//! given up, and whoever is killed meanwhile, one agent remains.
#![cfg(test)]

mod kills;
mod package;
mod refusals;
mod site;
#[path = "../support/mod.rs"]
mod support;
mod trials;

#[test]
#[ignore = "plays the forwarder in a process of its own"]
fn plays_forwarder() {
    support::play();
}
