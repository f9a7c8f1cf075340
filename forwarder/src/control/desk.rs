//! Answers requests: judges generations, has tables compiled and sockets bound before anything
//! changes, and hands the result to the packet thread.

use super::capturing::{Captures, Refused};
use super::stream::Stream;
use crate::port::explain;
use crate::port::underlay::Underlay;
use crate::probe::{Plan, Session};
use crate::runtime::{self, Bell, FastPaths, Later, Packets, Stopped};
use crate::tables::{Compiled, nearest};
use kc_forwarder_api::{
    ControlError, Echo, ErrorCode, MAX_ECHO, MAX_ECHO_TIMEOUT_MS, PortName, Probe, Request,
    Response, Tables,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// What the control thread knows of the forwarder.
#[derive(Debug)]
pub struct Desk {
    packets: Packets,
    compiled: Arc<Compiled>,
    underlay: Option<Underlay>,
    fast_paths: FastPaths,
    bell: Bell,
    captures: Captures,
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

/// Reads a request. It is an object: serde would also take the values alone, as an array.
fn read(line: &[u8]) -> Result<Request, ControlError> {
    if line.trim_ascii_start().first() != Some(&b'{') {
        let message = "a request is a JSON object such as {\"op\":\"status\"}";
        return Err(refuse(ErrorCode::Malformed, message));
    }
    let malformed = |error| refuse(ErrorCode::Malformed, error);
    let Op { op } = serde_json::from_slice(line).map_err(malformed)?;
    let tables = || {
        let parcel = serde_json::from_slice::<Parcel>(line);
        parcel.map(|parcel| parcel.tables).map_err(malformed)
    };
    let request = match op.as_deref() {
        // An enum with a tag inside is first copied, in small pieces that no allocator gives
        // back: with many tables three times what the forwarder keeps of them.
        Some("apply") => Request::Apply { tables: tables()? },
        Some("check") => Request::Check { tables: tables()? },
        _ => serde_json::from_slice(line).map_err(malformed)?,
    };
    if let Request::Tables | Request::Counters | Request::Status | Request::Watch = request {
        // Of those that are a word alone serde takes any other field, too.
        serde_json::from_slice::<Word>(line).map_err(malformed)?;
    }
    Ok(request)
}

/// What a request is.
#[derive(Deserialize)]
struct Op<'a> {
    #[serde(borrow)]
    op: Option<Cow<'a, str>>,
}

/// A request that brings tables.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parcel {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    tables: Box<Tables>,
}

/// A request without parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    #[serde(rename = "op")]
    _op: IgnoredAny,
}

impl Desk {
    /// A desk in front of a packet thread that has just started with `compiled`. `bell` rings
    /// when answers that were promised are there.
    pub fn new(packets: Packets, compiled: Arc<Compiled>, bell: Bell) -> Self {
        Self {
            packets,
            compiled,
            underlay: None,
            fast_paths: FastPaths::default(),
            bell,
            captures: Captures::default(),
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
        let request = match read(line) {
            Ok(request) => request,
            Err(error) => return Ok(refusal(error).into()),
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
                status: Box::new(self.packets.status()?),
            },
            Request::Probe { probe } => return self.probe(probe),
            Request::Capture { capture } => match self.captures.begin(&capture, &self.compiled) {
                Ok((tap, capturing)) => {
                    self.packets.capture(tap, self.bell.clone())?;
                    return Ok(Answer::Stream(Box::new(capturing)));
                }
                Err(error @ Refused::Busy) => refusal(refuse(ErrorCode::Busy, error)),
                Err(error) => refusal(refuse(ErrorCode::Invalid, error)),
            },
            Request::Echo { echo } => return self.echo(echo),
            Request::Watch => {
                let (promise, later) = runtime::promise(&self.bell, runtime::WATCH_ROOM);
                self.packets.watch(promise)?;
                return Ok(Answer::Later(later));
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
        let compiled = Compiled::new(tables);
        let mut compiled = compiled.map_err(|error| refuse(ErrorCode::Invalid, error))?;
        compiled.follow(&self.compiled);
        let former = self.underlay.as_ref();
        let underlay = match &compiled.tables().underlay {
            Some(wanted) => Some(
                Underlay::open(wanted, former)
                    .map_err(|error| refuse(ErrorCode::Invalid, explain(&error)))?,
            ),
            None => None,
        };
        let compiled = Arc::new(compiled);
        let fast = self.fast_paths.prepare(&compiled, underlay.as_ref());
        self.fast_paths.shut(&self.packets)?;
        self.packets
            .install(Arc::clone(&compiled), underlay.clone(), fast)?;
        self.compiled = compiled;
        self.underlay = underlay;
        Ok(generation)
    }

    /// Has an echo sent, unless it is longer or lasts longer than any makes sense.
    fn echo(&self, echo: Echo) -> Result<Answer, Stopped> {
        if echo.size > MAX_ECHO || echo.timeout_ms > MAX_ECHO_TIMEOUT_MS {
            let message = format!(
                "an echo has at most {MAX_ECHO} octets and lasts at most {MAX_ECHO_TIMEOUT_MS} ms"
            );
            return Ok(refusal(refuse(ErrorCode::Invalid, message)).into());
        }
        let (promise, later) = runtime::promise(&self.bell, 1);
        self.packets.echo(echo, promise)?;
        Ok(Answer::Later(later))
    }

    /// Has a probe carried out, unless it makes no sense.
    fn probe(&self, probe: Probe) -> Result<Answer, Stopped> {
        if let Err(error) = access_port(&self.compiled, &probe.port) {
            return Ok(refusal(error).into());
        }
        let ports = self.packets.status()?.ports;
        let mtu = ports.iter().find(|port| port.name == probe.port);
        let mtu = mtu.map(|port| port.mtu).filter(|&mtu| mtu > 0);
        let plan = match Plan::new(probe, mtu.unwrap_or(1500)) {
            Ok(plan) => plan,
            Err(error) => return Ok(refusal(refuse(ErrorCode::Invalid, error)).into()),
        };
        // Another address and other ports each time: what a former probe left behind in a
        // function is not met again.
        let seed = RandomState::new().hash_one(());
        let (promise, later) = runtime::promise(&self.bell, 1);
        self.packets.probe(Session::new(plan, seed), promise)?;
        Ok(Answer::Later(later))
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

/// Whether `name` is a port behind which a host can stand.
fn access_port(tables: &Compiled, name: &PortName) -> Result<(), ControlError> {
    let message = match tables.port_index(name) {
        Some(port) if !tables.is_leg(port) => return Ok(()),
        Some(_) => format!("port {name} is a function's leg; a probe comes in by an access port"),
        None => {
            let names = tables.ports().iter().map(|port| port.name.as_str());
            match nearest(name.as_str(), names) {
                Some(near) => format!("there is no port {name}; did you mean {near}?"),
                None => format!("there is no port {name}"),
            }
        }
    };
    Err(refuse(ErrorCode::Invalid, message))
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
    fn a_request_is_an_object_and_nothing_else() {
        assert_eq!(read(b" {\"op\":\"status\"}"), Ok(Request::Status));
        for wrong in [
            &b"[\"status\"]"[..],
            b"[\"apply\",{\"generation\":77}]",
            b"\"status\"",
            b"",
        ] {
            assert_eq!(read(wrong).unwrap_err().code, ErrorCode::Malformed);
        }
    }

    #[test]
    fn a_field_that_no_request_has_is_refused_by_name() {
        for op in ["tables", "counters", "status", "watch", "echo", "apply"] {
            let line = format!("{{\"op\":\"{op}\",\"prot\":1}}");
            let error = read(line.as_bytes()).unwrap_err();
            assert_eq!(error.code, ErrorCode::Malformed);
            assert!(error.message.contains("unknown field `prot`"), "{error:?}");
        }
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
