//! Whether tunnels and functions live: who is asked when, and what silence means. Pure; how
//! probes look and travel is in the pipeline.
//!
//! **Only answers to our own probes count.** Traffic from the other side shows that it lives, but
//! not that what we send arrives there, which is what a group has to know: a link may be dead in
//! one direction. A probe is one short packet an interval, whatever the traffic.

mod session;

pub(crate) use session::Session;

use crate::oam::Key;
use crate::tables::Compiled;
use kc_forwarder_api::{
    FunctionStatus, HealthEvent, HealthState, HealthSubject, SfName, TunnelName, TunnelStatus,
};
use rustc_hash::FxHashMap;

/// Changes that may wait to be told; more than tables have entries cannot matter.
const MAX_EVENTS: usize = 4096;

/// What is asked for life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// A tunnel, by its place in the tables.
    Tunnel(u16),
    /// A function, by its place in the tables.
    Function(u16),
}

/// All sessions, by place in the tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    tunnels: Vec<Option<Session>>,
    functions: Vec<Option<Session>>,
    /// When the tables came, for what is not asked.
    since_ms: u64,
    next_ms: Option<u64>,
    asks_functions: bool,
    events: Vec<HealthEvent>,
}

impl Health {
    /// Goes on under `new` tables. What stays, by name and way of asking, stays as it is.
    pub(crate) fn adopt(&mut self, old: Option<&Compiled>, new: &Compiled, now_ms: u64) {
        let names = |tables: &Compiled| -> Vec<TunnelName> {
            let tunnels = tables.tables().tunnels.iter();
            tunnels.map(|tunnel| tunnel.name.clone()).collect()
        };
        let former = old.map(names).unwrap_or_default();
        let mut held: FxHashMap<TunnelName, Option<Session>> =
            former.into_iter().zip(self.tunnels.drain(..)).collect();
        let tunnels = new.tables().tunnels.iter();
        self.tunnels = tunnels
            .map(|tunnel| {
                let held = held.remove(&tunnel.name).flatten();
                Session::adopt(held, tunnel.liveness.as_ref(), now_ms)
            })
            .collect();
        let names = |tables: &Compiled| -> Vec<SfName> {
            let functions = tables.tables().functions.iter();
            functions.map(|function| function.name.clone()).collect()
        };
        let former = old.map(names).unwrap_or_default();
        let mut held: FxHashMap<SfName, Option<Session>> =
            former.into_iter().zip(self.functions.drain(..)).collect();
        let functions = new.tables().functions.iter();
        self.functions = functions
            .map(|function| {
                let held = held.remove(&function.name).flatten();
                Session::adopt(held, function.liveness.as_ref(), now_ms)
            })
            .collect();
        self.asks_functions = self.functions.iter().any(Option::is_some);
        self.since_ms = now_ms;
        self.look_for_next();
    }

    /// When somebody is to be asked, or to be given up; `None` when nobody ever is.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.next_ms
    }

    /// Whether functions are asked.
    pub(crate) fn asks_functions(&self) -> bool {
        self.asks_functions
    }

    /// Gives up who was silent for too long, and lists who is to be asked now.
    pub(crate) fn due(&mut self, tables: &Compiled, now_ms: u64, ask: &mut Vec<Subject>) {
        if self.next_ms.is_none_or(|next| now_ms < next) {
            return;
        }
        let tunnels = self.tunnels.iter_mut().zip(0..);
        let tunnels = tunnels.map(|(session, number)| (session, Subject::Tunnel(number)));
        let functions = self.functions.iter_mut().zip(0..);
        let functions = functions.map(|(session, number)| (session, Subject::Function(number)));
        for (session, subject) in tunnels.chain(functions) {
            let Some(session) = session else { continue };
            if let Some(former) = session.give_up(now_ms) {
                note(&mut self.events, tables, subject, HealthState::Dead, former);
            }
            if session.is_due(now_ms) {
                session.asked(now_ms);
                ask.push(subject);
            }
        }
        self.look_for_next();
    }

    /// Remembers the key of a probe that was just sent; tells the key of one that is too old to
    /// matter by now.
    pub(crate) fn sent(&mut self, subject: Subject, key: Key) -> Option<Key> {
        self.session_mut(subject)?.sent(key)
    }

    /// The key of the probe that was sent last.
    pub(crate) fn latest(&self, subject: Subject) -> Option<Key> {
        self.session(subject)?.latest()
    }

    /// `subject` has answered a probe.
    pub(crate) fn answered(
        &mut self,
        tables: &Compiled,
        subject: Subject,
        now_ms: u64,
        rtt_us: u64,
    ) {
        let Some(session) = self.session_mut(subject) else {
            return;
        };
        if let Some(former) = session.answered(now_ms, rtt_us) {
            let state = HealthState::Alive;
            note(&mut self.events, tables, subject, state, former);
        }
        self.look_for_next();
    }

    /// State and last round trip of `subject`.
    pub(crate) fn of(&self, subject: Subject) -> (HealthState, Option<u32>) {
        let session = self.session(subject);
        session.map_or((HealthState::Unknown, None), |session| {
            (session.state(), session.rtt_us())
        })
    }

    /// Whether `subject` may be used: nobody has found it dead.
    pub(crate) fn alive(&self, subject: Subject) -> bool {
        self.of(subject).0 != HealthState::Dead
    }

    /// The changes since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<HealthEvent> {
        std::mem::take(&mut self.events)
    }

    /// Whether there are changes to be told.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// State of everything, in table order.
    pub(crate) fn status(
        &self,
        tables: &Compiled,
        now_ms: u64,
    ) -> (Vec<TunnelStatus>, Vec<FunctionStatus>) {
        let since = |session: &Option<Session>| {
            let since = session.as_ref().map_or(self.since_ms, Session::since_ms);
            now_ms.saturating_sub(since)
        };
        let facts = |session: &Option<Session>| {
            let session = session.as_ref();
            let state = session.map_or(HealthState::Unknown, Session::state);
            (state, session.and_then(Session::rtt_us))
        };
        let tunnels = tables.tables().tunnels.iter().zip(&self.tunnels);
        let tunnels = tunnels.map(|(tunnel, session)| {
            let (state, rtt_us) = facts(session);
            TunnelStatus {
                name: tunnel.name.clone(),
                state,
                since_ms: since(session),
                rtt_us,
            }
        });
        let functions = tables.tables().functions.iter().zip(&self.functions);
        let functions = functions.map(|(function, session)| {
            let (state, rtt_us) = facts(session);
            FunctionStatus {
                name: function.name.clone(),
                state,
                since_ms: since(session),
                rtt_us,
            }
        });
        (tunnels.collect(), functions.collect())
    }

    fn session(&self, subject: Subject) -> Option<&Session> {
        match subject {
            Subject::Tunnel(number) => self.tunnels.get(usize::from(number)),
            Subject::Function(number) => self.functions.get(usize::from(number)),
        }?
        .as_ref()
    }

    fn session_mut(&mut self, subject: Subject) -> Option<&mut Session> {
        match subject {
            Subject::Tunnel(number) => self.tunnels.get_mut(usize::from(number)),
            Subject::Function(number) => self.functions.get_mut(usize::from(number)),
        }?
        .as_mut()
    }

    fn look_for_next(&mut self) {
        let sessions = self.tunnels.iter().chain(&self.functions).flatten();
        self.next_ms = sessions.map(Session::next_ms).min();
    }
}

fn note(
    events: &mut Vec<HealthEvent>,
    tables: &Compiled,
    subject: Subject,
    state: HealthState,
    former: HealthState,
) {
    let tables = tables.tables();
    let subject = match subject {
        Subject::Tunnel(number) => {
            let tunnel = tables.tunnels.get(usize::from(number));
            tunnel.map(|tunnel| HealthSubject::Tunnel(tunnel.name.clone()))
        }
        Subject::Function(number) => {
            let function = tables.functions.get(usize::from(number));
            function.map(|function| HealthSubject::Function(function.name.clone()))
        }
    };
    if let Some(subject) = subject
        && events.len() < MAX_EVENTS
    {
        events.push(HealthEvent {
            subject,
            state,
            former,
        });
    }
}
