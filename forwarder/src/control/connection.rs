//! One client of the control socket: its unfinished request, its unread answer, and the stream
//! that the connection carries meanwhile, if any.

use super::desk::{Answer, Desk, refusal};
use super::lines::{Lines, Next};
use super::stream::{Flow, Promised, ROOM, Stream};
use crate::runtime::Stopped;
use kc_forwarder_api::{ControlError, ErrorCode, MAX_REQUEST, Response};
use nix::poll::PollFlags;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Time for a message, once begun, to arrive whole, and for an answer to be taken.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Octets of unfinished requests over all clients.
const MAX_WAITING: usize = 2 * MAX_REQUEST;

/// Answers and pieces of a stream for one client before the others have their turn.
const ROUNDS: usize = 16;

/// One client.
#[derive(Debug)]
pub(super) struct Connection {
    socket: UnixStream,
    input: Lines,
    output: Vec<u8>,
    /// Who makes the output, when it is not an answer of one line.
    stream: Option<Box<dyn Stream>>,
    /// When a turn ended with more to do at once: more of the stream, or perhaps more requests.
    more: Option<Instant>,
    /// When the message under way has taken too long.
    deadline: Option<Instant>,
    /// The client may still send something.
    open: bool,
    /// No more requests: what is in `output` is the last.
    closing: bool,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Connection {
    /// A client that has just connected; its socket must not block.
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            input: Lines::default(),
            output: Vec::new(),
            stream: None,
            more: None,
            deadline: None,
            open: true,
            closing: false,
        }
    }

    /// Tells the client that it is not wanted; all of this or nothing reaches it.
    pub(super) fn turn_away(mut self, code: ErrorCode, message: String) {
        self.refuse(code, message);
        // A fresh socket takes one short line; a client that is gone has no use for it.
        let _ = self.flush();
    }

    /// What to wait for.
    pub(super) fn wanted(&self) -> PollFlags {
        // Half a message is read while nothing is to be written; a stream is written while the
        // client says nothing, and its end is to be noticed all the same.
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLOUT, !self.output.is_empty());
        let listens = match self.stream {
            Some(_) => self.input.waiting() < ROOM,
            None => self.output.is_empty(),
        };
        flags.set(PollFlags::POLLIN, self.open && listens);
        flags
    }

    /// Octets of an unfinished request.
    pub(super) fn waiting(&self) -> usize {
        self.input.waiting()
    }

    /// When to be served at the latest, though nothing happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let made = match &self.stream {
            Some(stream) if self.output.len() < ROOM => stream.deadline(),
            _ => None,
        };
        let more = self.more.filter(|_| self.is_busy());
        [made, more, self.deadline].into_iter().flatten().min()
    }

    /// Whether there is more to do, though nothing happens.
    fn is_busy(&self) -> bool {
        self.more.is_some() && self.output.is_empty()
    }

    /// Reads, answers and writes as far as the client lets us; `ready` when something happened at
    /// its socket. Says whether it is still there. `waiting` counts as in [`MAX_WAITING`].
    ///
    /// # Errors
    /// The packet thread has gone.
    pub(super) fn serve(
        &mut self,
        ready: bool,
        desk: &mut Desk,
        now: Instant,
        waiting: usize,
    ) -> Result<bool, Stopped> {
        if !ready && self.stream.is_none() && !self.is_busy() {
            return Ok(!self.gives_up(now));
        }
        let mut progress = false;
        if ready {
            // Nothing was waited for but the end of both directions.
            if self.wanted().is_empty() {
                return Ok(false);
            }
            match self.flush() {
                Ok(written) => progress = written,
                Err(_) => return Ok(false),
            }
            if self.stream.is_some() {
                self.listen();
            } else if self.output.is_empty() && !self.closing {
                self.open = self.read(waiting);
            }
        }
        for _ in 0..ROUNDS {
            if self.stream.is_some() {
                self.pump(now);
            } else if !self.output.is_empty() {
                // One answer at a time: a client that asks and does not read costs one answer's room.
                break;
            } else if self.answer(desk)? {
                self.more = Some(now);
                if self.stream.is_some() {
                    continue;
                }
            } else {
                self.more = None;
                if self.open || self.closing || self.waiting() == 0 {
                    break;
                }
                self.refuse_half("its end never came: requests end with a newline");
            }
            match self.flush() {
                Ok(written) => progress |= written,
                Err(_) => return Ok(false),
            }
            if self.stream.is_some() && !self.is_busy() {
                break;
            }
        }
        // Nobody is hurried who follows a stream: that loses what it does not take, and no more.
        let hurried = self.stream.is_none() && (!self.output.is_empty() || self.waiting() > 0);
        self.deadline = match self.deadline {
            _ if !hurried => None,
            Some(deadline) if !progress => Some(deadline),
            _ => Some(now.max(Instant::now()) + PATIENCE),
        };
        let more_to_come = self.stream.is_some() || !self.output.is_empty() || self.is_busy();
        let last = !more_to_come && (self.closing || !self.open);
        Ok(!last && !self.gives_up(now))
    }

    /// Whether the message under way has taken too long. A client whose own it is hears of it.
    fn gives_up(&mut self, now: Instant) -> bool {
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        if late && self.output.is_empty() {
            let seconds = PATIENCE.as_secs();
            self.refuse_half(&format!("its end did not come within {seconds} s"));
            // The answer is short and nothing is in front of it: what does not take it, is gone.
            let _ = self.flush();
        }
        late
    }

    /// Gives up half a request.
    fn refuse_half(&mut self, what: &str) {
        let message = format!("{} octets of a request, and {what}", self.waiting());
        self.refuse(ErrorCode::Malformed, message);
    }

    /// Takes what the stream has made.
    fn pump(&mut self, now: Instant) {
        self.more = None;
        let Some(stream) = &mut self.stream else {
            return;
        };
        let Some(room) = ROOM.checked_sub(self.output.len()).filter(|&room| room > 0) else {
            return;
        };
        match stream.make(now, &mut self.output, room) {
            Flow::Wait => {}
            Flow::More => self.more = Some(now),
            Flow::Done => self.stream = None,
            Flow::Close => {
                self.stream = None;
                self.closing = true;
            }
        }
    }

    /// Notices, while a stream runs, that the client has said its last word. Other words wait
    /// until the stream has ended.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) => {
                self.open = false;
                if let Some(stream) = &mut self.stream {
                    stream.half_closed();
                }
            }
            Ok(count) => self.input.push(buffer.get(..count).unwrap_or_default()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(_) => {
                self.open = false;
                self.closing = true;
                self.stream = None;
                self.output.clear();
            }
        }
    }

    /// Takes in what waits, up to one message's worth; says whether more may come.
    fn read(&mut self, waiting: usize) -> bool {
        let mut buffer = [0; 16 * 1024];
        let mut taken = 0;
        while taken < 1 << 20 {
            if waiting + taken > MAX_WAITING && self.input.waiting() > MAX_REQUEST / 64 {
                let message = "too many unfinished requests; try again later".to_owned();
                self.refuse(ErrorCode::Busy, message);
                return true;
            }
            match self.socket.read(&mut buffer) {
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
            Next::Line(line) => match desk.answer(&line)? {
                Answer::Now(response) => self.put(&response),
                Answer::Later(later) => self.carry(Box::new(Promised::from(later))),
                Answer::Stream(stream) => self.carry(stream),
            },
            Next::TooLong => {
                let message = format!("a request has at most {MAX_REQUEST} octets");
                self.refuse(ErrorCode::TooLarge, message);
            }
        }
        Ok(true)
    }

    /// From now on the connection carries what `stream` makes.
    fn carry(&mut self, mut stream: Box<dyn Stream>) {
        if !self.open {
            stream.half_closed();
        }
        self.stream = Some(stream);
    }

    /// The last answer of all: no.
    fn refuse(&mut self, code: ErrorCode, message: String) {
        self.put(&refusal(ControlError { code, message }));
        self.closing = true;
    }

    fn put(&mut self, response: &Response) {
        if let Err(error) = write_line(&mut self.output, response) {
            tracing::error!(%error, "control socket: an answer could not be written");
            self.closing = true;
        }
    }

    /// Writes what the client takes; says whether that was anything.
    fn flush(&mut self) -> io::Result<bool> {
        let mut written = 0;
        while let Some(rest) = self.output.get(written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.output.drain(..written);
        if self.output.is_empty() && self.stream.is_none() {
            self.output = Vec::new();
        }
        Ok(written > 0)
    }
}

/// Appends `response` as a line.
///
/// # Errors
/// It has no JSON form, which our own types always have; the client then sees the end of stream.
pub(super) fn write_line(output: &mut Vec<u8>, response: &Response) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *output, response)?;
    output.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime;
    use crate::tables::Compiled;
    use std::sync::Arc;
    use std::sync::mpsc::{self, Receiver, Sender};

    /// Passes on what a test sends it.
    #[derive(Debug)]
    struct Told {
        words: Receiver<(Vec<u8>, Flow)>,
        left: Sender<&'static str>,
    }

    impl Stream for Told {
        fn make(&mut self, _: Instant, output: &mut Vec<u8>, _: usize) -> Flow {
            let Ok((octets, flow)) = self.words.try_recv() else {
                return Flow::Wait;
            };
            output.extend(octets);
            flow
        }

        fn deadline(&self) -> Option<Instant> {
            None
        }

        fn half_closed(&mut self) {
            self.left.send("half-closed").unwrap();
        }
    }

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.left.send("dropped");
        }
    }

    struct Scene {
        desk: Desk,
        connection: Connection,
        client: UnixStream,
        words: Sender<(Vec<u8>, Flow)>,
        left: Receiver<&'static str>,
    }

    impl Scene {
        fn new() -> Self {
            let empty = Arc::new(Compiled::new(kc_forwarder_api::Tables::default()).unwrap());
            let packets = runtime::start(Arc::clone(&empty), 1).unwrap();
            let desk = Desk::new(packets, empty, runtime::Bell::new().unwrap());
            let (client, socket) = UnixStream::pair().unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut connection = Connection::new(socket);
            let (words, told) = mpsc::channel();
            let (leaving, left) = mpsc::channel();
            connection.stream = Some(Box::new(Told {
                words: told,
                left: leaving,
            }));
            Self {
                desk,
                connection,
                client,
                words,
                left,
            }
        }

        fn serve(&mut self, ready: bool) -> bool {
            let now = Instant::now();
            self.connection
                .serve(ready, &mut self.desk, now, 0)
                .unwrap()
        }

        fn read(&mut self, count: usize) -> Vec<u8> {
            let mut octets = vec![0; count];
            self.client.read_exact(&mut octets).unwrap();
            octets
        }
    }

    #[test]
    fn a_late_answer_comes_before_the_answer_to_the_next_request() {
        let mut scene = Scene::new();
        scene.client.write_all(b"{\"op\":\"nothing\"}\n").unwrap();
        assert!(scene.serve(true));
        scene.words.send((b"late\n".to_vec(), Flow::Done)).unwrap();
        assert!(scene.serve(false));
        assert_eq!(scene.read(5), b"late\n");
        assert_eq!(scene.left.try_recv(), Ok("dropped"));
        assert_eq!(scene.read(18), b"{\"result\":\"error\",");
    }

    #[test]
    fn a_stream_hears_of_a_half_close_and_may_still_end_in_its_own_words() {
        let mut scene = Scene::new();
        scene.client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(scene.serve(true));
        assert_eq!(scene.left.try_recv(), Ok("half-closed"));
        assert!(!scene.connection.wanted().contains(PollFlags::POLLIN));
        scene.words.send((b"end".to_vec(), Flow::Close)).unwrap();
        assert!(!scene.serve(false));
        assert_eq!(scene.read(3), b"end");
    }

    #[test]
    fn a_reader_that_stands_still_bounds_what_is_made_for_it_and_is_not_hurried() {
        let mut scene = Scene::new();
        for _ in 0..100 {
            scene.words.send((vec![7; 60_000], Flow::More)).unwrap();
        }
        for _ in 0..50 {
            assert!(scene.serve(true));
        }
        assert!(scene.connection.output.len() < ROOM + 60_000);
        assert_eq!(scene.connection.deadline(), None);
        let mut taken = 0;
        while taken < 100 * 60_000 {
            taken += scene.client.read(&mut [0; 100_000]).unwrap();
            assert!(scene.serve(true));
        }
        assert_eq!(taken, 100 * 60_000);
    }

    #[test]
    fn raw_octets_end_the_connection() {
        let mut scene = Scene::new();
        let (promise, later) = runtime::promise(&runtime::Bell::new().unwrap(), 4);
        scene.connection.carry(Box::new(Promised::from(later)));
        for octets in [b"abc", b"def"] {
            promise.put(runtime::Part::Raw(octets.to_vec())).unwrap();
        }
        assert!(scene.serve(false) && promise.is_awaited());
        drop(promise);
        assert!(!scene.serve(false));
        assert_eq!(scene.read(6), b"abcdef");
    }

    #[test]
    fn a_client_that_is_gone_ends_its_stream() {
        let mut scene = Scene::new();
        scene.client.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(scene.serve(true));
        drop(scene.client);
        let now = Instant::now();
        let alive = scene.connection.serve(true, &mut scene.desk, now, 0);
        assert_eq!(alive, Ok(false));
    }
}
