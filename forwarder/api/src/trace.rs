//! A trace of a service path: echoes with ever longer TTLs, and what they say together. Pure:
//! whoever can send an [`Echo`](crate::Echo) can trace.

use crate::{EchoCode, EchoReply, HealthState, Responder, SfName, Spi, Ttl};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is known of a path so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Trace {
    /// Service path.
    pub spi: Spi,
    /// Whether the end was reached and nothing on the way is known to be dead.
    pub reached: bool,
    /// Why it goes no further, or what on it is dead.
    pub fault: Option<TraceFault>,
    /// Answers in order; the first is that of the SFF where the trace begins.
    pub hops: Vec<EchoReply>,
    /// Whether another echo makes sense.
    #[serde(skip)]
    ended: bool,
}

/// Where a path is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    tag = "kind"
)]
pub enum TraceFault {
    /// Nobody answers behind this SFF.
    Silence {
        /// The last one that did answer, if it has told who it is.
        after: Option<Responder>,
        /// Its place in the trace.
        hop: usize,
    },
    /// An SFF says what is wrong.
    Code {
        /// Which one.
        at: Option<Responder>,
        /// What it says.
        code: EchoCode,
    },
    /// A function on the path is dead.
    DeadFunction {
        /// Its SFF.
        at: Option<Responder>,
        /// The function.
        function: SfName,
    },
    /// More SFFs than a TTL can count.
    TooLong,
}

struct Who<'a>(&'a Option<Responder>);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(responder) => responder.fmt(f),
            None => f.write_str("an unnamed SFF"),
        }
    }
}

impl fmt::Display for TraceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence { after, hop } => {
                write!(f, "silence behind hop {hop}, {}", Who(after))
            }
            Self::Code { at, code } => write!(f, "{} says: {code}", Who(at)),
            Self::DeadFunction { at, function } => {
                write!(f, "function {function} at {} is dead", Who(at))
            }
            Self::TooLong => f.write_str("longer than a TTL reaches: a loop"),
        }
    }
}

impl Trace {
    /// A trace that has asked nobody yet.
    pub const fn new(spi: Spi) -> Self {
        Self {
            spi,
            reached: false,
            fault: None,
            hops: Vec::new(),
            ended: false,
        }
    }

    /// The TTL of the next echo; `None` when all is known.
    pub fn next(&self) -> Option<Ttl> {
        let ttl = u8::try_from(self.hops.len()).ok()?;
        Ttl::new(ttl).ok().filter(|_| !self.ended)
    }

    /// What came of the echo with the TTL that [`next`](Self::next) told.
    pub fn hear(&mut self, reply: Option<EchoReply>) {
        let Some(reply) = reply else {
            self.ended = true;
            let after = self.hops.last().and_then(|hop| hop.from.clone());
            let hop = self.hops.len().saturating_sub(1);
            return self.blame(TraceFault::Silence { after, hop });
        };
        let dead = |function: &&crate::EchoFunction| function.state == HealthState::Dead;
        if let Some(function) = reply.functions.iter().find(dead) {
            self.blame(TraceFault::DeadFunction {
                at: reply.from.clone(),
                function: function.name.clone(),
            });
        }
        match reply.code {
            EchoCode::TtlExceeded => {}
            EchoCode::EndOfPath => {
                self.ended = true;
                self.reached = self.fault.is_none();
            }
            code => {
                self.ended = true;
                self.blame(TraceFault::Code {
                    at: reply.from.clone(),
                    code,
                });
            }
        }
        self.hops.push(reply);
        if !self.ended && self.hops.len() > usize::from(Ttl::MAX.get()) {
            self.ended = true;
            self.blame(TraceFault::TooLong);
        }
    }

    /// The first fault is the cause of those behind it.
    fn blame(&mut self, fault: TraceFault) {
        self.fault.get_or_insert(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EchoFunction, SffName};

    fn reply(name: &str, code: EchoCode, functions: &[(&str, HealthState)]) -> Option<EchoReply> {
        let functions = functions.iter().map(|(name, state)| EchoFunction {
            name: SfName::new(*name).unwrap(),
            state: *state,
            rtt_us: None,
        });
        Some(EchoReply {
            from: Some(Responder::Name(SffName::new(name).unwrap())),
            code,
            rtt_us: 1,
            spi: Spi::MIN,
            si: None,
            ttl: Ttl::MIN,
            mtu: None,
            functions: functions.collect(),
        })
    }

    #[test]
    fn a_trace_ends_where_the_path_does() {
        let mut trace = Trace::new(Spi::MIN);
        assert_eq!(trace.next(), Some(Ttl::MIN));
        trace.hear(reply("a", EchoCode::TtlExceeded, &[]));
        assert_eq!(trace.next().unwrap().get(), 1);
        trace.hear(reply("b", EchoCode::EndOfPath, &[]));
        assert_eq!((trace.next(), trace.reached), (None, true));
    }

    #[test]
    fn silence_names_the_last_that_spoke() {
        let mut trace = Trace::new(Spi::MIN);
        trace.hear(reply("a", EchoCode::TtlExceeded, &[]));
        trace.hear(reply("b", EchoCode::TtlExceeded, &[]));
        trace.hear(None);
        assert_eq!(trace.next(), None);
        let fault = trace.fault.unwrap().to_string();
        assert_eq!(fault, "silence behind hop 1, b");
    }

    #[test]
    fn a_dead_function_is_the_fault_though_the_end_is_reached() {
        let mut trace = Trace::new(Spi::MIN);
        let dead = [("fw", HealthState::Alive), ("dpi", HealthState::Dead)];
        trace.hear(reply("a", EchoCode::TtlExceeded, &dead));
        trace.hear(reply("b", EchoCode::EndOfPath, &[]));
        assert!(!trace.reached && trace.next().is_none());
        assert_eq!(
            trace.fault.unwrap().to_string(),
            "function dpi at a is dead"
        );
    }

    #[test]
    fn a_loop_ends_with_the_ttl() {
        let mut trace = Trace::new(Spi::MIN);
        let mut asked = 0;
        while trace.next().is_some() {
            asked += 1;
            trace.hear(reply("a", EchoCode::TtlExceeded, &[]));
        }
        assert_eq!((asked, trace.fault), (64, Some(TraceFault::TooLong)));
    }
}
