//! What goes on in the containers of a box that pretends: outputs, commands and files, held to the
//! credit that is given. Nothing runs; it only answers as an agent does.

use kc_agent_api::{CallBody, Entry, Output, Reply, ReplyBody, octets};
use std::collections::{BTreeMap, VecDeque};

/// Octets of one part of a flood.
pub(crate) const PART: usize = 32 << 10;
/// Parts of input that may be under way.
const WINDOW: u32 = 16;

/// All that is going on.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    open: BTreeMap<u64, Session>,
    /// Octets that were sent of endless outputs.
    pub(crate) flooded: usize,
    /// Calls that were called off.
    pub(crate) cancelled: usize,
    /// Most parts that waited here for credit.
    pub(crate) held: usize,
    /// The archive of the last upload.
    pub(crate) uploaded: Vec<u8>,
    /// What a download gives.
    pub(crate) archive: Vec<u8>,
    /// What is at every path.
    pub(crate) entry: Option<Entry>,
    /// Why an update is refused, if it is.
    pub(crate) refuses: Option<String>,
    /// Why a version does not get healthy, if it does not.
    pub(crate) ails: Option<String>,
    /// The update that has come, and is to be tried.
    pub(crate) came: Option<u32>,
}

#[derive(Debug)]
struct Session {
    call: CallBody,
    part: u32,
    credit: u32,
    /// Parts of input taken so far.
    taken: u32,
    allowed: u32,
    waiting: VecDeque<ReplyBody>,
    over: bool,
}

fn line(text: &str) -> ReplyBody {
    ReplyBody::data(text.as_bytes())
}

fn ended(code: i64) -> ReplyBody {
    ReplyBody::Ended {
        exit_code: Some(code),
    }
}

impl Inside {
    /// Takes up a call, or what is said about one; gives what is to be sent.
    pub(crate) fn hear(&mut self, id: u64, body: CallBody) -> Vec<(u64, Reply)> {
        match body {
            CallBody::Credit { id, parts } => {
                if let Some(session) = self.open.get_mut(&id) {
                    session.credit = session.credit.max(parts);
                }
                self.pump(id)
            }
            CallBody::Cancel { id } => {
                self.cancelled += usize::from(self.open.remove(&id).is_some());
                Vec::new()
            }
            CallBody::Input {
                id,
                part,
                base64,
                last,
            } => {
                self.input(id, part, &octets(&base64).unwrap(), last);
                self.pump(id)
            }
            CallBody::Resize { id, window } => {
                if let Some(session) = self.open.get_mut(&id) {
                    let text = format!("{}x{}\r\n", window.rows, window.columns);
                    session.waiting.push_back(line(&text));
                }
                self.pump(id)
            }
            body => {
                self.begin(id, body);
                self.pump(id)
            }
        }
    }

    fn begin(&mut self, id: u64, call: CallBody) {
        let entry = match call {
            CallBody::Upload { .. } | CallBody::Download { .. } => self.entry,
            _ => None,
        };
        let credit = WINDOW;
        let mut waiting = VecDeque::from([ReplyBody::Begun { credit, entry }]);
        match &call {
            CallBody::Logs { follow: true, .. } => {}
            CallBody::Logs { .. } => waiting.extend([
                line(&format!("asked {call:?}\n")),
                ReplyBody::output(b"to stderr\n", Output::Stderr),
                line("second part\n"),
                ReplyBody::Ended { exit_code: None },
            ]),
            CallBody::Exec { command, .. } => match command.first().map(String::as_str) {
                Some("exit") => waiting.push_back(ended(command[1].parse().unwrap())),
                Some("both") => waiting.extend([
                    ReplyBody::output(b"err", Output::Stderr),
                    ReplyBody::output(b"out", Output::Stdout),
                    ended(0),
                ]),
                _ => {}
            },
            CallBody::Update { .. } => {
                if let Some(message) = self.refuses.clone() {
                    waiting = VecDeque::from([ReplyBody::Error { message }]);
                }
            }
            CallBody::Download { .. } => {
                waiting.extend(self.archive.chunks(PART).map(ReplyBody::data));
                waiting.push_back(ended(0));
            }
            _ => {}
        }
        let session = Session {
            credit: call.credit(),
            call,
            part: 0,
            taken: 0,
            allowed: WINDOW,
            waiting,
            over: false,
        };
        self.open.insert(id, session);
    }

    fn input(&mut self, id: u64, part: u32, octets: &[u8], last: bool) {
        let Some(session) = self.open.get_mut(&id) else {
            return;
        };
        if part < session.taken {
            return;
        }
        assert_eq!(part, session.taken, "no part is missing");
        assert!(part < session.allowed, "more than was allowed");
        session.taken += 1;
        match session.call {
            CallBody::Upload { .. } | CallBody::Update { .. } => {
                if part == 0 {
                    self.uploaded.clear();
                }
                self.uploaded.extend_from_slice(octets);
            }
            _ if !octets.is_empty() => session.waiting.push_back(ReplyBody::data(octets)),
            _ => {}
        }
        if last {
            if let CallBody::Update { attempt, .. } = session.call {
                self.came = Some(attempt);
            }
            session.waiting.push_back(ended(0));
        }
        self.held = self.held.max(session.waiting.len());
    }

    /// Sends what waits, as far as credit goes.
    fn pump(&mut self, id: u64) -> Vec<(u64, Reply)> {
        let Some(session) = self.open.get_mut(&id) else {
            return Vec::new();
        };
        let mut sent = Vec::new();
        let flood = matches!(session.call, CallBody::Logs { follow: true, .. });
        while session.part < session.credit && !session.over {
            let next = session.waiting.pop_front();
            let body = match next {
                Some(body) => body,
                None if flood => {
                    self.flooded += PART;
                    ReplyBody::data(&[b'x'; PART])
                }
                None => break,
            };
            session.over = matches!(body, ReplyBody::Ended { .. } | ReplyBody::Error { .. });
            let reply = Reply {
                part: session.part,
                last: session.over,
                body,
            };
            session.part += 1;
            sent.push((id, reply));
        }
        // Input is taken when there is room for what it causes.
        let allowed = session.taken + WINDOW;
        if session.waiting.is_empty() && allowed >= session.allowed + WINDOW / 2 {
            session.allowed = allowed;
            let body = ReplyBody::Credit { parts: allowed };
            let reply = Reply {
                part: 0,
                last: false,
                body,
            };
            sent.push((id, reply));
        }
        if session.over {
            self.open.remove(&id);
        }
        sent
    }
}
