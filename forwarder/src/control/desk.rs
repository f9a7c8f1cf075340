//! Answers requests: judges generations, has tables compiled and sockets bound before anything
//! changes, and hands the result to the packet thread.

use super::stream::Stream;
use crate::port::explain;
use crate::port::underlay::Underlay;
use crate::runtime::{Bell, Later, Packets, Stopped};
use crate::tables::Compiled;
use kc_forwarder_api::{ControlError, ErrorCode, Request, Response, Tables};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// What the control thread knows of the forwarder.
#[derive(Debug)]
pub struct Desk {
    packets: Packets,
    compiled: Arc<Compiled>,
    underlay: Option<Underlay>,
    bell: Bell,
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// Here it is.
    Now(Box<Response>),
    /// It comes when it is ready, in one part or many.
    Later(Later),
    /// Whatever the stream makes, its first line included, before the next request is answered.
    Stream(Box<dyn Stream>),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Now(Box::new(response))
    }
}

/// Why tables were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Refused; all is as it was.
    #[error(transparent)]
    Refused(#[from] ControlError),
    /// The packet thread has gone.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// How new tables relate to those in force.
#[derive(Debug, PartialEq, Eq)]
enum Age {
    /// To be put in force.
    Newer,
    /// In force already.
    Same,
    /// Older, or others under the same number.
    Stale,
}

fn age(in_force: &Tables, wanted: &Tables) -> Age {
    if wanted.generation > in_force.generation {
        Age::Newer
    } else if wanted == in_force {
        Age::Same
    } else {
        Age::Stale
    }
}

fn refuse(code: ErrorCode, message: impl ToString) -> ControlError {
    ControlError {
        code,
        message: message.to_string(),
    }
}

impl Desk {
    /// A desk in front of a packet thread that has just started with `compiled`. `bell` rings
    /// when answers that were promised are there.
    pub fn new(packets: Packets, compiled: Arc<Compiled>, bell: Bell) -> Self {
        Self {
            packets,
            compiled,
            underlay: None,
            bell,
        }
    }

    /// The tables in force.
    pub fn tables(&self) -> &Tables {
        self.compiled.tables()
    }

    /// Rings when a promised answer has something new.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Hangs up when the packet thread ends.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.packets.ended()
    }

    /// Answers the request in `line`.
    ///
    /// # Errors
    /// The packet thread has gone; there is nothing left to answer for.
    pub fn answer(&mut self, line: &[u8]) -> Result<Answer, Stopped> {
        let request = match serde_json::from_slice(line) {
            Ok(request) => request,
            Err(error) => return Ok(refusal(refuse(ErrorCode::Malformed, error)).into()),
        };
        let response = match request {
            Request::Apply { tables } => match self.apply(*tables) {
                Ok(generation) => Response::Applied { generation },
                Err(ApplyError::Refused(error)) => refusal(error),
                Err(ApplyError::Stopped(stopped)) => return Err(stopped),
            },
            Request::Check { tables } => {
                let generation = tables.generation;
                match Compiled::new(*tables) {
                    Ok(_) => Response::Applied { generation },
                    Err(error) => refusal(refuse(ErrorCode::Invalid, error)),
                }
            }
            Request::Tables => Response::Tables {
                tables: Box::new(self.compiled.tables().clone()),
            },
            Request::Counters => Response::Counters {
                counters: Box::new(self.packets.counters()?),
            },
            Request::Status => Response::Status {
                status: self.packets.status()?,
            },
            Request::Capture { capture } => match capture.check() {
                Ok(()) => refusal(refuse(ErrorCode::Busy, "nothing can be captured yet")),
                Err(error) => refusal(refuse(ErrorCode::Invalid, error)),
            },
            Request::Echo { .. } | Request::Watch => {
                refusal(refuse(ErrorCode::Invalid, "not served by this version"))
            }
        };
        Ok(response.into())
    }

    /// Puts `tables` in force and returns their generation once no packet sees the former ones.
    ///
    /// # Errors
    /// They are stale or wrong, and nothing has changed; or the packet thread has gone.
    pub fn apply(&mut self, tables: Tables) -> Result<u64, ApplyError> {
        let generation = tables.generation;
        match age(self.compiled.tables(), &tables) {
            Age::Newer => {}
            Age::Same => return Ok(generation),
            Age::Stale => return Err(self.stale(generation).into()),
        }
        let compiled = Compiled::new(tables).map_err(|error| refuse(ErrorCode::Invalid, error))?;
        let former = self.underlay.as_ref();
        let underlay = match &compiled.tables().underlay {
            Some(wanted) => Some(
                Underlay::open(wanted, former)
                    .map_err(|error| refuse(ErrorCode::Invalid, explain(&error)))?,
            ),
            None => None,
        };
        let compiled = Arc::new(compiled);
        self.packets
            .install(Arc::clone(&compiled), underlay.clone())?;
        self.compiled = compiled;
        self.underlay = underlay;
        Ok(generation)
    }

    fn stale(&self, wanted: u64) -> ControlError {
        let in_force = self.compiled.generation();
        let message = if wanted == in_force {
            format!(
                "generation {wanted} is in force with other tables; use {} or more",
                in_force.saturating_add(1)
            )
        } else {
            format!("generation {wanted} is older than {in_force}, which is in force")
        };
        ControlError {
            code: ErrorCode::Stale,
            message,
        }
    }
}

/// `error` as an answer.
pub(super) fn refusal(error: ControlError) -> Response {
    Response::Error { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(generation: u64, ports: usize) -> Tables {
        let port = |i| format!("[[ports]]\nname = \"p{i}\"\n");
        let text: String = (0..ports).map(port).collect();
        let mut tables: Tables = toml::from_str(&text).unwrap();
        tables.generation = generation;
        tables
    }

    #[test]
    fn a_forwarder_never_goes_back() {
        let in_force = tables(5, 1);
        assert_eq!(age(&in_force, &tables(6, 1)), Age::Newer);
        assert_eq!(age(&in_force, &tables(5, 1)), Age::Same);
        assert_eq!(age(&in_force, &tables(5, 2)), Age::Stale);
        assert_eq!(age(&in_force, &tables(4, 1)), Age::Stale);
    }
}
