//! The control socket: newline-delimited JSON of `kc-forwarder-api` over a unix socket. Turns
//! requests into commands for the packet thread; never touches a packet, and nothing a client
//! does or leaves undone delays one.

mod client;
mod desk;
mod lines;
mod listener;
mod server;

pub use client::{Client, ClientError};
pub use desk::{Answer, Desk};
pub use listener::{ListenError, bind};
pub use server::{MAX_CLIENTS, Server};

/// Where a forwarder listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/kcluster/forwarder.sock";
