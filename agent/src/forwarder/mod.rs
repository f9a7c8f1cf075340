//! Keeping one `kc-forwarder` alive and fed. It is a process of its own that outlives the
//! agent: it is adopted when it answers on its socket, started when it does not, and the end of
//! the one control connection tells within milliseconds that it has died.

mod connection;
mod error;
mod process;
mod supervisor;
mod watch;

pub use connection::Connection;
pub use error::ForwarderError;
pub use supervisor::{Forwarder, Supervision, Word};
