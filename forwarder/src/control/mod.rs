//! The control socket: newline-delimited JSON of `kc-forwarder-api` over a unix socket. Turns
//! requests into commands for the packet thread; never touches a packet, and nothing a client
//! does or leaves undone delays one.

mod capturing;
mod client;
mod connection;
mod desk;
mod lines;
mod listener;
mod server;
mod stream;

pub use client::{Client, ClientError};
pub use desk::{Answer, Desk};
pub use listener::{ListenError, bind};
pub use server::{MAX_CLIENTS, Server};
pub use stream::{Flow, Stream};

/// Where a forwarder listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/kcluster/forwarder.sock";
