//! Serves many clients on one thread without ever waiting for one of them.

use super::desk::{Answer, Desk, refusal};
use super::lines::{Lines, Next};
use crate::runtime::{Later, Part, Stopped, Taken};
use kc_forwarder_api::{ControlError, ErrorCode, MAX_REQUEST, Response};
use nix::poll::{PollFd, PollFlags};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// Clients served at the same time; one more is told `busy`.
pub const MAX_CLIENTS: usize = 64;

/// Time for a message, once begun, to arrive whole, and for an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Parts of a long answer that one client takes before the others have their turn.
const PARTS: usize = 64;

/// Octets of unfinished requests over all clients.
const MAX_WAITING: usize = 2 * MAX_REQUEST;

/// One client.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    input: Lines,
    output: Vec<u8>,
    /// An answer that comes when it is ready; requests behind it wait.
    later: Option<Later>,
    /// When the message under way has taken too long.
    deadline: Option<Instant>,
    /// No more requests: what is in `output` is the last.
    closing: bool,
}

/// The listening socket and its clients.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    clients: Vec<Connection>,
}

impl Server {
    /// Serves `listener`, which must not block.
    pub fn new(listener: UnixListener) -> Self {
        Self {
            listener,
            clients: Vec::new(),
        }
    }

    /// What to wait for, the listener first.
    pub fn wanted(&self) -> Vec<PollFd<'_>> {
        let mut wanted = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        wanted.extend(self.clients.iter().map(|client| {
            let flags = match &client.later {
                _ if !client.output.is_empty() => PollFlags::POLLOUT,
                // Nothing but its end: what it asks meanwhile can wait where it is.
                Some(_) => PollFlags::empty(),
                None => PollFlags::POLLIN,
            };
            PollFd::new(client.as_fd(), flags)
        }));
        wanted
    }

    /// When [`Server::serve`] is to be called at the latest, though nothing happened.
    pub fn deadline(&self) -> Option<Instant> {
        self.clients
            .iter()
            .filter_map(|client| client.deadline)
            .min()
    }

    /// Does what can be done now: `ready` holds the answers to [`Server::wanted`].
    ///
    /// # Errors
    /// The packet thread has gone.
    pub fn serve(&mut self, ready: &[bool], desk: &mut Desk, now: Instant) -> Result<(), Stopped> {
        let mut waiting: usize = self
            .clients
            .iter()
            .map(|client| client.input.waiting())
            .sum();
        let mut kept = Vec::with_capacity(self.clients.len());
        for (place, mut client) in self.clients.drain(..).enumerate() {
            let before = client.input.waiting();
            let is_ready = ready.get(place + 1) == Some(&true);
            let alive = if is_ready && client.only_listens() {
                false
            } else if is_ready || client.later.is_some() {
                client.serve(desk, now, waiting)?
            } else {
                client.deadline.is_none_or(|deadline| now < deadline)
            };
            waiting = waiting.saturating_sub(before) + client.input.waiting();
            if alive {
                kept.push(client);
            }
        }
        self.clients = kept;
        if ready.first() == Some(&true) {
            self.accept();
        }
        Ok(())
    }

    fn accept(&mut self) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::warn!(%error, "control socket: a client could not be accepted");
                    return;
                }
            };
            if let Err(error) = stream.set_nonblocking(true) {
                tracing::warn!(%error, "control socket: a client could not be prepared");
                continue;
            }
            let mut client = Connection {
                stream,
                input: Lines::default(),
                output: Vec::new(),
                later: None,
                deadline: None,
                closing: false,
            };
            if self.clients.len() < MAX_CLIENTS {
                self.clients.push(client);
            } else {
                let message = format!("{MAX_CLIENTS} clients are connected; try again later");
                client.put(&refusal(ControlError {
                    code: ErrorCode::Busy,
                    message,
                }));
                // A fresh socket takes one short line; a client that is gone has no use for it.
                let _ = client.flush();
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Connection {
    /// Whether nothing but the client's end is waited for.
    fn only_listens(&self) -> bool {
        self.later.is_some() && self.output.is_empty()
    }

    /// Reads, answers and writes as far as the client lets us; says whether it is still there.
    fn serve(&mut self, desk: &mut Desk, now: Instant, waiting: usize) -> Result<bool, Stopped> {
        let Ok(mut progress) = self.flush() else {
            return Ok(false);
        };
        let mut open = true;
        let mut parts = 0;
        while self.only_listens() && self.go_on() {
            match self.flush() {
                Ok(written) => progress |= written,
                Err(_) => return Ok(false),
            }
            parts += 1;
            if parts == PARTS {
                // The others have their turn; the bell brings us back.
                desk.bell().ring();
                break;
            }
        }
        if self.output.is_empty() && self.later.is_none() && !self.closing {
            open = self.read(waiting);
            // One answer at a time: a client that asks and does not read costs one answer's room.
            while self.output.is_empty() && self.answer(desk)? {
                match self.flush() {
                    Ok(written) => progress |= written,
                    Err(_) => return Ok(false),
                }
            }
        }
        let asking = self.later.is_none() && self.input.waiting() > 0;
        let unfinished = !self.output.is_empty() || asking;
        self.deadline = match self.deadline {
            _ if !unfinished => None,
            Some(deadline) if !progress => Some(deadline),
            _ => Some(now.max(Instant::now()) + PATIENCE),
        };
        let done = self.output.is_empty() && self.later.is_none();
        let last = done && (self.closing || !open);
        Ok(!last && self.deadline.is_none_or(|deadline| now < deadline))
    }

    /// Takes in what waits, up to one message's worth; says whether more may come.
    fn read(&mut self, waiting: usize) -> bool {
        let mut buffer = [0; 16 * 1024];
        let mut taken = 0;
        while taken < 1 << 20 {
            if waiting + taken > MAX_WAITING && self.input.waiting() > MAX_REQUEST / 64 {
                let message = "too many unfinished requests; try again later".to_owned();
                self.put(&refusal(ControlError {
                    code: ErrorCode::Busy,
                    message,
                }));
                self.closing = true;
                return true;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    self.input.push(buffer.get(..count).unwrap_or_default());
                    taken += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// Takes the next part of an answer that was promised; says whether there is any news.
    fn go_on(&mut self) -> bool {
        match self.later.as_ref().map(Later::take) {
            Some(Taken::Part(Part::Line(response))) => self.put(&response),
            Some(Taken::Part(Part::Raw(octets))) => {
                self.output.extend_from_slice(&octets);
                self.closing = true;
            }
            Some(Taken::End) => self.later = None,
            Some(Taken::Wait) | None => return false,
        }
        true
    }

    /// Answers the next whole request; says whether there was one.
    fn answer(&mut self, desk: &mut Desk) -> Result<bool, Stopped> {
        if self.closing || self.later.is_some() {
            return Ok(false);
        }
        match self.input.next(MAX_REQUEST) {
            Next::Wait => return Ok(false),
            Next::Line(line) => match desk.answer(&line)? {
                Answer::Now(response) => self.put(&response),
                Answer::Later(later) => {
                    self.later = Some(later);
                    // It may have been kept before we looked; the bell has rung for it.
                    self.go_on();
                }
            },
            Next::TooLong => {
                let message = format!("a request has at most {MAX_REQUEST} octets");
                self.put(&refusal(ControlError {
                    code: ErrorCode::TooLarge,
                    message,
                }));
                self.closing = true;
            }
        }
        Ok(true)
    }

    fn put(&mut self, response: &Response) {
        // Our own types always have a JSON form; should one not, the client sees the end of stream.
        match serde_json::to_writer(&mut self.output, response) {
            Ok(()) => self.output.push(b'\n'),
            Err(error) => {
                tracing::error!(%error, "control socket: an answer could not be written");
                self.closing = true;
            }
        }
    }

    /// Writes what the client takes; says whether that was anything.
    fn flush(&mut self) -> io::Result<bool> {
        let mut written = 0;
        while let Some(rest) = self.output.get(written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.output.drain(..written);
        if self.output.is_empty() {
            self.output = Vec::new();
        }
        Ok(written > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;
    use crate::tables::Compiled;
    use std::sync::Arc;

    #[test]
    fn a_message_that_stays_half_is_given_up_and_a_quiet_client_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut server = Server::new(super::super::bind(&path).unwrap());
        let empty = Arc::new(Compiled::new(kc_forwarder_api::Tables::default()).unwrap());
        let bell = runtime::Bell::new().unwrap();
        let mut desk = Desk::new(runtime::start(Arc::clone(&empty)).unwrap(), empty, bell);
        let quiet = UnixStream::connect(&path).unwrap();
        let mut half = UnixStream::connect(&path).unwrap();
        half.write_all(b"{\"op\":").unwrap();

        let begin = Instant::now();
        server.serve(&[true], &mut desk, begin).unwrap();
        server
            .serve(&[false, false, true], &mut desk, begin)
            .unwrap();
        assert_eq!(
            (server.clients.len(), server.deadline().is_some()),
            (2, true)
        );
        // One more octet does not buy more time.
        half.write_all(b"\"").unwrap();
        server
            .serve(&[false, false, true], &mut desk, begin + PATIENCE / 2)
            .unwrap();
        assert_eq!(server.clients.len(), 2);
        server
            .serve(&[false, false, false], &mut desk, begin + 2 * PATIENCE)
            .unwrap();
        assert_eq!((server.clients.len(), server.deadline()), (1, None));

        let mut rest = Vec::new();
        half.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
        drop(quiet);
    }

    /// A client of a server that has promised it an answer of `room` parts at most.
    fn promised(room: usize) -> (Server, Desk, UnixStream, runtime::Promise) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut server = Server::new(super::super::bind(&path).unwrap());
        let empty = Arc::new(Compiled::new(kc_forwarder_api::Tables::default()).unwrap());
        let bell = runtime::Bell::new().unwrap();
        let packets = runtime::start(Arc::clone(&empty)).unwrap();
        let mut desk = Desk::new(packets, empty, bell.clone());
        let asker = UnixStream::connect(&path).unwrap();
        server.serve(&[true], &mut desk, Instant::now()).unwrap();
        let (promise, later) = runtime::promise(&bell, room);
        server.clients[0].later = Some(later);
        (server, desk, asker, promise)
    }

    fn turn(server: &mut Server, desk: &mut Desk) {
        let ready = [false, false];
        server.serve(&ready, desk, Instant::now()).unwrap();
    }

    #[test]
    fn requests_wait_behind_an_answer_that_comes_later() {
        let (mut server, mut desk, mut asker, promise) = promised(4);
        asker.write_all(b"{\"op\":\"nonsense\"}\n").unwrap();
        turn(&mut server, &mut desk);
        promise.keep(Response::Applied { generation: 7 });
        turn(&mut server, &mut desk);
        turn(&mut server, &mut desk);
        drop(server);
        let mut text = String::new();
        asker.read_to_string(&mut text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].contains("applied") && lines[1].contains("malformed"),
            "{text}"
        );
    }

    #[test]
    fn raw_octets_end_the_connection() {
        let (mut server, mut desk, mut asker, promise) = promised(4);
        promise.put(Part::Raw(b"abc".to_vec())).unwrap();
        promise.put(Part::Raw(b"def".to_vec())).unwrap();
        drop(promise);
        turn(&mut server, &mut desk);
        assert!(server.clients.is_empty());
        let mut text = String::new();
        asker.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcdef");
    }

    #[test]
    fn whoever_stops_waiting_is_forgotten() {
        let (mut server, mut desk, asker, promise) = promised(4);
        turn(&mut server, &mut desk);
        assert!(promise.is_awaited());
        drop(asker);
        let ready = [false, true];
        server.serve(&ready, &mut desk, Instant::now()).unwrap();
        assert!(server.clients.is_empty() && !promise.is_awaited());
    }
}
