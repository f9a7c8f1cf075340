//! How `kc` fails: one exit code per kind of failure, documented in `kc --help`.

use super::client::ClientError;
use crate::views::ErrorBody;
use std::process::ExitCode;

/// What `kc --help` says about exit codes.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; for kc diff: no differences
  1  an error without a code of its own
  2  usage: unknown command, flag or kind
  3  the thing asked for does not exist
  4  the manifest was refused; nothing has changed
  5  no controller could be reached
  6  --timeout ran out
  7  kc diff found differences
  8  kc chain: something was lost, or a hop is broken
  9  kc doctor found a problem
 10  kc update: a box refused the update, or is back at its former version
 11  kc drain: something stays on the box; it goes on running
kc exec ends with the code of the command: 126 when it cannot be run, 127 when there is no such
program, 128 + n when kc was ended by signal n.";

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command makes no sense.
    #[error("{0}")]
    Usage(String),
    /// What was asked for does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The controller refused the manifest.
    #[error("{}", refused(.0))]
    Refused(Box<ErrorBody>),
    /// No controller.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("{0}")]
    Timeout(String),
    /// Traffic does not get through.
    #[error("{0}")]
    Broken(String),
    /// Something does not work; said on stdout already.
    #[error("{0} found")]
    Sick(String),
    /// A box runs what it ran before.
    #[error("{0}")]
    NotUpdated(String),
    /// Something stays on a drained box; what and why was said on stdout already.
    #[error("{0}")]
    Stays(String),
    /// There are differences; said on stdout already.
    #[error("")]
    Differs,
    /// The command that was run in a container says so.
    #[error("")]
    Exit(u8),
    /// Whoever read our output has gone.
    #[error("")]
    Closed,
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Failure {
    /// The process's exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Other(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Refused(_) => 4,
            Self::Unreachable(_) => 5,
            Self::Timeout(_) => 6,
            Self::Differs => 7,
            Self::Broken(_) => 8,
            Self::Sick(_) => 9,
            Self::NotUpdated(_) => 10,
            Self::Stays(_) => 11,
            Self::Exit(code) => *code,
        }
    }

    /// Says why on stderr, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        match self {
            Self::Differs | Self::Closed | Self::Exit(_) => {}
            Self::Other(error) => eprintln!("error: {error:#}"),
            other => eprintln!("error: {other}"),
        }
        ExitCode::from(self.code())
    }
}

fn refused(body: &ErrorBody) -> String {
    let mut text = body.message.clone();
    for problem in &body.details {
        text.push_str("\n\n");
        text.push_str(&problem.file);
        if let Some(line) = problem.line {
            text.push_str(&format!(":{line}"));
            if let Some(column) = problem.column {
                text.push_str(&format!(":{column}"));
            }
        }
        text.push_str(": ");
        text.push_str(&problem.message);
        if let Some(snippet) = &problem.snippet {
            text.push('\n');
            text.push_str(snippet.trim_end());
        }
    }
    text.push_str("\n\nnothing was changed");
    text
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Other(error.into()),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { status: 422, body } => Self::Refused(body),
            ClientError::Refused { status: 404, body } => Self::NotFound(body.message),
            ClientError::Refused { status: 504, body } => Self::Timeout(body.message),
            ClientError::Unreachable { .. } => Self::Unreachable(explain(&error)),
            ClientError::Timeout { .. } => Self::Timeout(error.to_string()),
            other => Self::Other(other.into()),
        }
    }
}

/// An error with its causes on one line.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut hint = None;
    if let Some((head, tail)) = text.split_once('\n') {
        hint = Some(tail.to_owned());
        text = head.to_owned();
    }
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    if let Some(hint) = hint {
        text.push('\n');
        text.push_str(&hint);
    }
    text
}
