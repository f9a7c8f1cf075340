//! What can go wrong with a forwarder.

use kc_forwarder_api::ControlError;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why the forwarder did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ForwarderError {
    /// The program does not start.
    #[error("cannot start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The program ended before it answered.
    #[error("kc-forwarder ended with {status} before it answered: {last}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last line it wrote.
        last: String,
    },
    /// Its log cannot be opened.
    #[error("cannot write {}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nobody listens.
    #[error("no forwarder answers")]
    Absent,
    /// The connection broke.
    #[error("the forwarder broke the connection off")]
    Broken(#[source] io::Error),
    /// No answer in time.
    #[error("the forwarder has not answered for {0} s")]
    Silent(u64),
    /// An answer nobody understands.
    #[error("the forwarder's answer is not understood")]
    Malformed(#[source] serde_json::Error),
    /// Refused.
    #[error("the forwarder refuses")]
    Refused(#[source] ControlError),
    /// The answer to another question.
    #[error("the forwarder answered another question")]
    OutOfStep,
}
