//! Serves many clients on one thread without ever waiting for one of them.

use super::connection::Connection;
use super::desk::Desk;
use crate::runtime::Stopped;
use kc_forwarder_api::ErrorCode;
use nix::poll::{PollFd, PollFlags};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::Instant;

/// Clients served at the same time; one more is told `busy`.
pub const MAX_CLIENTS: usize = 64;

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
        let clients = self.clients.iter();
        wanted.extend(clients.map(|client| PollFd::new(client.as_fd(), client.wanted())));
        wanted
    }

    /// When [`Server::serve`] is to be called at the latest, though nothing happened.
    pub fn deadline(&self) -> Option<Instant> {
        self.clients.iter().filter_map(Connection::deadline).min()
    }

    /// Does what can be done now: `ready` holds the answers to [`Server::wanted`].
    ///
    /// # Errors
    /// The packet thread has gone.
    pub fn serve(&mut self, ready: &[bool], desk: &mut Desk, now: Instant) -> Result<(), Stopped> {
        let mut waiting: usize = self.clients.iter().map(Connection::waiting).sum();
        let mut kept = Vec::with_capacity(self.clients.len());
        for (place, mut client) in self.clients.drain(..).enumerate() {
            let before = client.waiting();
            let ready = ready.get(place + 1) == Some(&true);
            let alive = client.serve(ready, desk, now, waiting)?;
            waiting = waiting.saturating_sub(before) + client.waiting();
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
            let client = Connection::new(stream);
            if self.clients.len() < MAX_CLIENTS {
                self.clients.push(client);
            } else {
                let message = format!("{MAX_CLIENTS} clients are connected; try again later");
                client.turn_away(ErrorCode::Busy, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::PATIENCE;
    use super::*;
    use crate::runtime;
    use crate::tables::Compiled;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use tempfile::TempDir;

    /// A client, not accepted yet, and what serves it.
    fn scene() -> (UnixStream, Server, Desk, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let server = Server::new(super::super::bind(&path).unwrap());
        let empty = Arc::new(Compiled::new(kc_forwarder_api::Tables::default()).unwrap());
        let packets = runtime::start(Arc::clone(&empty), 1).unwrap();
        let desk = Desk::new(packets, empty, runtime::Bell::new().unwrap());
        (UnixStream::connect(&path).unwrap(), server, desk, folder)
    }

    #[test]
    fn requests_that_came_together_are_all_answered_and_half_a_one_at_the_end_is_refused() {
        let (mut client, mut server, mut desk, _folder) = scene();
        client
            .write_all(&b"{\"op\":\"counters\"}\n".repeat(100))
            .unwrap();
        client.write_all(b"{\"op\":\"counters\"}").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut ready = true;
        server.serve(&[true], &mut desk, Instant::now()).unwrap();
        while !server.clients.is_empty() {
            let now = Instant::now();
            assert!(ready || server.deadline().is_some_and(|deadline| deadline <= now));
            server.serve(&[false, ready], &mut desk, now).unwrap();
            ready = false;
        }
        let mut answers = String::new();
        client.read_to_string(&mut answers).unwrap();
        let answers: Vec<_> = answers.lines().collect();
        assert_eq!(answers.len(), 101);
        let (last, rest) = answers.split_last().unwrap();
        assert!(rest.iter().all(|line| line.contains("\"counters\"")));
        assert!(last.contains("requests end with a newline"), "{last}");
    }

    #[test]
    fn a_message_that_stays_half_is_given_up_and_a_quiet_client_is_not() {
        let (quiet, mut server, mut desk, folder) = scene();
        let mut half = UnixStream::connect(folder.path().join("socket")).unwrap();
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

        let mut rest = String::new();
        half.read_to_string(&mut rest).unwrap();
        let named = "\"malformed\",\"message\":\"7 octets of a request, and its end did not come";
        assert!(rest.contains(named) && rest.ends_with("}}\n"), "{rest}");
        drop(quiet);
    }
}
