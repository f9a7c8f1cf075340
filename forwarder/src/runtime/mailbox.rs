//! How the control thread talks to the packet thread: a queue of commands and an event that
//! wakes the reader.

use super::fast::Prepared;
use super::later::{Bell, Promise};
use crate::capture::Tap;
use crate::pipeline::Compiled;
use crate::port::underlay::Underlay;
use crate::probe::Session;
use kc_forwarder_api::{Counters, Echo, Status};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TryRecvError};

/// What the packet thread can be told.
pub(super) enum Command {
    /// Replace tables and underlay between two batches.
    Install {
        compiled: Arc<Compiled>,
        underlay: Option<Underlay>,
        fast: Box<Prepared>,
        done: SyncSender<()>,
    },
    /// Leave all packets to user space until tables are installed.
    ShutFastPath(SyncSender<()>),
    /// Copy the counters.
    Counters(SyncSender<Counters>),
    /// Describe yourself.
    Status(SyncSender<Status>),
    /// Capture, and ring when there is something to read.
    Capture { tap: Box<Tap>, bell: Bell },
    /// Send an echo, and promise what comes of it.
    Echo { echo: Echo, promise: Promise },
    /// Tell the health and its changes.
    Watch(Promise),
    /// Carry out a probe, and promise its report.
    Probe {
        session: Box<Session>,
        promise: Promise,
    },
}

/// The packet thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packet thread has ended")]
pub struct Stopped;

/// The control thread's end.
#[derive(Debug)]
pub struct Packets {
    commands: Sender<Command>,
    wake: Arc<EventFd>,
    ended: PipeReader,
}

/// The packet thread's end.
pub(super) struct Mailbox {
    commands: Receiver<Command>,
    wake: Arc<EventFd>,
    /// Closed with this structure, and so seen by the other side.
    _alive: PipeWriter,
}

/// Both ends.
pub(super) fn open() -> io::Result<(Packets, Mailbox)> {
    let (sender, receiver) = mpsc::channel();
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let wake = Arc::new(EventFd::from_value_and_flags(0, flags)?);
    let (ended, alive) = io::pipe()?;
    let packets = Packets {
        commands: sender,
        wake: Arc::clone(&wake),
        ended,
    };
    Ok((
        packets,
        Mailbox {
            commands: receiver,
            wake,
            _alive: alive,
        },
    ))
}

impl Packets {
    /// Puts `compiled` in force, and returns once every later packet sees it.
    ///
    /// # Errors
    /// The packet thread has ended.
    pub(crate) fn install(
        &self,
        compiled: Arc<Compiled>,
        underlay: Option<Underlay>,
        fast: Prepared,
    ) -> Result<(), Stopped> {
        let fast = Box::new(fast);
        self.call(|done| Command::Install {
            compiled,
            underlay,
            fast,
            done,
        })
    }

    /// Has the kernel forward nothing by itself until tables are installed. It may still be at a
    /// packet that came before.
    ///
    /// # Errors
    /// The packet thread has ended.
    pub(crate) fn shut_fast_path(&self) -> Result<(), Stopped> {
        self.call(Command::ShutFastPath)
    }

    /// A copy of all counters.
    ///
    /// # Errors
    /// The packet thread has ended.
    pub fn counters(&self) -> Result<Counters, Stopped> {
        self.call(Command::Counters)
    }

    /// State of the forwarder.
    ///
    /// # Errors
    /// The packet thread has ended.
    pub fn status(&self) -> Result<Status, Stopped> {
        self.call(Command::Status)
    }

    /// Sends an echo. What comes of it, or a refusal, is the answer promised.
    ///
    /// # Errors
    /// The packet thread has ended.
    pub fn echo(&self, echo: Echo, promise: Promise) -> Result<(), Stopped> {
        self.tell(Command::Echo { echo, promise })
    }

    /// Has the health told, and every change of it, until nobody waits any more.
    ///
    /// # Errors
    /// The packet thread has ended.
    pub fn watch(&self, promise: Promise) -> Result<(), Stopped> {
        self.tell(Command::Watch(promise))
    }

    /// Begins a probe. Its report, or a refusal, is the answer promised; the probe ends when
    /// nobody waits for that any more.
    ///
    /// # Errors
    /// The packet thread has ended.
    pub fn probe(&self, session: Session, promise: Promise) -> Result<(), Stopped> {
        let session = Box::new(session);
        self.tell(Command::Probe { session, promise })
    }

    /// Has frames captured from the next batch on; `bell` rings when there are some.
    ///
    /// # Errors
    /// The packet thread has ended.
    pub(crate) fn capture(&self, tap: Tap, bell: Bell) -> Result<(), Stopped> {
        let tap = Box::new(tap);
        self.tell(Command::Capture { tap, bell })
    }

    /// Hangs up when the packet thread ends.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    fn call<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> Result<T, Stopped> {
        let (sender, answer) = mpsc::sync_channel(1);
        self.tell(command(sender))?;
        answer.recv().map_err(|_| Stopped)
    }

    fn tell(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).map_err(|_| Stopped)?;
        self.wake.write(1).map_err(|_| Stopped)?;
        Ok(())
    }
}

impl Mailbox {
    /// Readable when commands wait, or when nobody is left to give any.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// The next command, if one waits.
    ///
    /// # Errors
    /// Nobody is left to give commands.
    pub(super) fn take(&self) -> Result<Option<Command>, Stopped> {
        // The counter is only a bell: reading it silences it, and its value says nothing.
        let _ = self.wake.read();
        match self.commands.try_recv() {
            Ok(command) => Ok(Some(command)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Stopped),
        }
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        // Rings once more, after the queue is closed: the packet thread then ends. The counter
        // cannot overflow, so that there is nothing to report.
        drop(std::mem::replace(&mut self.commands, mpsc::channel().0));
        let _ = self.wake.write(1);
    }
}
