//! Answers that come later than their question: a promise the packet thread keeps without ever
//! waiting, and the other end, which the control thread looks at when the bell rings.

use kc_forwarder_api::Response;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError, TrySendError};
use std::sync::{Arc, Weak};

/// A part of an answer.
#[derive(Debug)]
pub enum Part {
    /// A response, a line of its own.
    Line(Box<Response>),
    /// Octets as they are. The connection speaks no more lines after them, and closes at the end.
    Raw(Vec<u8>),
}

/// Rings when parts were put or a promise has ended; clones ring the same bell.
#[derive(Debug, Clone)]
pub struct Bell(Arc<EventFd>);

impl Bell {
    /// A silent bell.
    ///
    /// # Errors
    /// The system refused a descriptor.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Silences it.
    pub fn silence(&self) {
        // The counter is only a bell: its value says nothing.
        let _ = self.0.read();
    }

    /// Rings it.
    pub fn ring(&self) {
        // A counter that is full rings already.
        let _ = self.0.write(1);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The end that answers. Dropping it ends the answer.
#[derive(Debug)]
pub struct Promise {
    /// Taken only while dropped, so that the end is there when the bell rings.
    parts: Option<SyncSender<Part>>,
    bell: Bell,
    asker: Weak<()>,
}

/// The end that waits for the answer. Dropping it tells the other one that nobody does any more.
#[derive(Debug)]
pub struct Later {
    parts: Receiver<Part>,
    _asker: Arc<()>,
}

/// Why a part was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The reader is slower than the answer; this part is lost.
    #[error("the reader has not taken the parts before")]
    Full,
    /// Nobody reads any more.
    #[error("nobody reads the answer any more")]
    Gone,
}

/// What there is of an answer.
#[derive(Debug)]
pub enum Taken {
    /// A part.
    Part(Part),
    /// Nothing yet.
    Wait,
    /// All of it was taken.
    End,
}

/// Both ends of an answer, of which `room` parts may wait for the reader.
pub fn promise(bell: &Bell, room: usize) -> (Promise, Later) {
    let (sender, parts) = mpsc::sync_channel(room);
    let asker = Arc::new(());
    let promise = Promise {
        parts: Some(sender),
        bell: bell.clone(),
        asker: Arc::downgrade(&asker),
    };
    let later = Later {
        parts,
        _asker: asker,
    };
    (promise, later)
}

impl Promise {
    /// Hands over a part. Never waits.
    ///
    /// # Errors
    /// The reader is too slow, or has gone.
    pub fn put(&self, part: Part) -> Result<(), PutError> {
        let Some(parts) = &self.parts else {
            return Err(PutError::Gone);
        };
        parts.try_send(part).map_err(|error| match error {
            TrySendError::Full(_) => PutError::Full,
            TrySendError::Disconnected(_) => PutError::Gone,
        })?;
        self.bell.ring();
        Ok(())
    }

    /// Gives the whole answer, in one line.
    pub fn keep(self, response: Response) {
        // Whoever asked may have gone.
        let _ = self.put(Part::Line(Box::new(response)));
    }

    /// Whether somebody still waits.
    pub fn is_awaited(&self) -> bool {
        self.asker.strong_count() > 0
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        drop(self.parts.take());
        self.bell.ring();
    }
}

impl Later {
    /// The next part, if it is there.
    pub fn take(&self) -> Taken {
        match self.parts.try_recv() {
            Ok(part) => Taken::Part(part),
            Err(TryRecvError::Empty) => Taken::Wait,
            Err(TryRecvError::Disconnected) => Taken::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    fn rings(bell: &Bell) -> bool {
        let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    #[test]
    fn the_bell_rings_for_every_part_and_for_the_end() {
        let bell = Bell::new().unwrap();
        let (promise, later) = promise(&bell, 1);
        assert!(!rings(&bell) && matches!(later.take(), Taken::Wait));
        promise.put(Part::Raw(vec![1])).unwrap();
        assert!(rings(&bell));
        bell.silence();
        assert!(!rings(&bell));
        drop(promise);
        assert!(rings(&bell));
        assert!(matches!(later.take(), Taken::Part(Part::Raw(_))));
        assert!(matches!(later.take(), Taken::End));
    }

    #[test]
    fn a_slow_reader_loses_parts_and_a_gone_one_is_noticed() {
        let bell = Bell::new().unwrap();
        let (promise, later) = promise(&bell, 1);
        promise.put(Part::Raw(vec![1])).unwrap();
        assert_eq!(promise.put(Part::Raw(vec![2])), Err(PutError::Full));
        assert!(promise.is_awaited());
        drop(later);
        assert!(!promise.is_awaited());
        assert_eq!(promise.put(Part::Raw(vec![3])), Err(PutError::Gone));
    }
}
