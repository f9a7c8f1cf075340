//! Serves many clients on one thread without ever waiting for one of them.

use super::desk::{Desk, refusal};
use super::lines::{Lines, Next};
use crate::runtime::Stopped;
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

/// Octets of unfinished requests over all clients.
const MAX_WAITING: usize = 2 * MAX_REQUEST;

/// One client.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    input: Lines,
    output: Vec<u8>,
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
            let flags = if client.output.is_empty() {
                PollFlags::POLLIN
            } else {
                PollFlags::POLLOUT
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
            let alive = match ready.get(place + 1) {
                Some(true) => client.serve(desk, now, waiting)?,
                _ => client.deadline.is_none_or(|deadline| now < deadline),
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
    /// Reads, answers and writes as far as the client lets us; says whether it is still there.
    fn serve(&mut self, desk: &mut Desk, now: Instant, waiting: usize) -> Result<bool, Stopped> {
        let Ok(mut progress) = self.flush() else {
            return Ok(false);
        };
        let mut open = true;
        if self.output.is_empty() && !self.closing {
            open = self.read(waiting);
            // One answer at a time: a client that asks and does not read costs one answer's room.
            while self.output.is_empty() && self.answer(desk)? {
                match self.flush() {
                    Ok(written) => progress |= written,
                    Err(_) => return Ok(false),
                }
            }
        }
        let unfinished = !self.output.is_empty() || self.input.waiting() > 0;
        self.deadline = match self.deadline {
            _ if !unfinished => None,
            Some(deadline) if !progress => Some(deadline),
            _ => Some(now.max(Instant::now()) + PATIENCE),
        };
        let last = self.output.is_empty() && (self.closing || !open);
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

    /// Answers the next whole request; says whether there was one.
    fn answer(&mut self, desk: &mut Desk) -> Result<bool, Stopped> {
        if self.closing {
            return Ok(false);
        }
        match self.input.next(MAX_REQUEST) {
            Next::Wait => return Ok(false),
            Next::Line(line) => self.put(&desk.answer(&line)?),
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
        let mut desk = Desk::new(runtime::start(Arc::clone(&empty)).unwrap(), empty);
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
}
