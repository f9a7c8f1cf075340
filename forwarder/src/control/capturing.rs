//! Captures as connections: who may have one, and a stream that tells its printer the time.

use super::connection::write_line;
use super::stream::{Flow, Stream};
use crate::capture::{self, Printer, Progress, Ring, Tap};
use crate::runtime::wall_clock_ns;
use crate::tables::{Compiled, nearest};
use kc_forwarder_api::{Capture, CaptureError, MAX_CAPTURES, Response};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Captures that run, or whose memory the packet thread has not let go of yet.
#[derive(Debug, Default)]
pub(super) struct Captures(Vec<Arc<Ring>>);

/// Why there is no capture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// It makes no sense.
    #[error(transparent)]
    Wrong(#[from] CaptureError),
    /// A name that is not in the tables.
    #[error("there is no {what} {name}{}", .near.as_ref().map_or_else(String::new, |near| format!("; did you mean {near}?")))]
    Unknown {
        /// What was named.
        what: &'static str,
        /// The name.
        name: String,
        /// One that is there, and much like it.
        near: Option<String>,
    },
    /// Too many of them.
    #[error("{MAX_CAPTURES} captures run already; end one of them first")]
    Busy,
}

impl Captures {
    /// Both ends of a new capture of what is `wanted` under `tables`.
    pub(super) fn begin(
        &mut self,
        wanted: &Capture,
        tables: &Compiled,
    ) -> Result<(Tap, Capturing), Refused> {
        wanted.check()?;
        let ports = || tables.ports().iter().map(|port| port.name.as_str());
        let functions = || {
            tables
                .functions
                .iter()
                .map(|function| function.name.as_str())
        };
        for port in &wanted.ports {
            known("port", port.as_str(), ports)?;
        }
        for function in &wanted.functions {
            known("function", function.as_str(), functions)?;
        }
        // The other side lets go with its next batch, or when another capture begins. What is
        // freed is freed here.
        self.0
            .retain(|ring| !ring.is_closed() || Arc::strong_count(ring) > 1);
        if self.0.iter().filter(|ring| !ring.is_closed()).count() >= MAX_CAPTURES {
            return Err(Refused::Busy);
        }
        let (tap, printer) = capture::begin(wanted, wall_clock_ns());
        self.0.push(Arc::clone(printer.ring()));
        let capturing = Capturing {
            printer,
            seconds: wanted.seconds,
            begun: false,
            deadline: None,
        };
        Ok((tap, capturing))
    }
}

fn known<'a, I: Iterator<Item = &'a str>>(
    what: &'static str,
    name: &str,
    all: impl Fn() -> I,
) -> Result<(), Refused> {
    if all().any(|known| known == name) {
        return Ok(());
    }
    let near = nearest(name, all()).map(str::to_owned);
    Err(Refused::Unknown {
        what,
        name: name.to_owned(),
        near,
    })
}

/// A capture on its way to its reader.
#[derive(Debug)]
pub(super) struct Capturing {
    printer: Printer,
    seconds: Option<u64>,
    begun: bool,
    deadline: Option<Instant>,
}

impl Stream for Capturing {
    fn make(&mut self, now: Instant, output: &mut Vec<u8>, room: usize) -> Flow {
        if !self.begun {
            self.begun = true;
            self.deadline = self
                .seconds
                .and_then(|seconds| now.checked_add(Duration::from_secs(seconds)));
            if let Err(error) = write_line(output, &Response::Capturing) {
                tracing::error!(%error, "control socket: an answer could not be written");
                return Flow::Close;
            }
            self.printer.begin(output);
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.printer.end();
        }
        match self.printer.print(output, room, wall_clock_ns()) {
            Progress::Wait => Flow::Wait,
            Progress::More => Flow::More,
            Progress::Done => Flow::Close,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn half_closed(&mut self) {
        self.printer.end();
    }
}
