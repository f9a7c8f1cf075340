//! Service functions for chains: each is a pure core that takes frames and `now` and returns
//! verdicts, and one shell that moves frames between the core and its network interfaces.
//! Beside them stand what a chain's container and a test need: `pause`, `serve`, `probe` and `burn`.

pub mod burn;
pub mod dpi;
pub mod duration;
pub mod echo;
pub mod firewall;
pub mod function;
pub mod loadbalancer;
pub mod nat;
pub mod pause;
pub mod probe;
pub mod serve;
pub mod shell;
pub mod signals;
pub mod stats;

mod connection;
mod fragments;
mod nearest;
mod packet;
mod table;

#[cfg(test)]
mod damage;
#[cfg(test)]
mod testing;
