//! The HTTP API: JSON over TCP (loopback by default) and unix sockets, behind one bearer token.
//! It reads snapshots and sends mutations to the run loop; it decides nothing.

mod auth;
mod capture;
mod change;
mod doctor;
mod error;
mod inside;
mod listen;
mod look;
mod openapi;
mod params;
mod read;
mod routes;
mod session;
mod stream;
mod talk;
mod update;

pub use auth::{Token, TokenError};
pub use listen::{Listen, ListenError, Listener};
pub use openapi::document;
pub use routes::{App, ROUTES, router};

/// Longest request body in bytes.
pub const MAX_BODY: usize = 8 << 20;
