//! Threads that send. One thread decides about every packet, because what it knows (flows, their
//! ways back, addresses, neighbours) belongs together; sending, which is most of the work, needs
//! none of that. What belongs together is in one batch, and the batches of one queue are sent by
//! one thread at a time, so that nothing is overtaken.

use super::egress::reason;
use crate::frame::Frame;
use crate::pipeline::{Egress, PortIndex};
use crate::port::underlay::{SOURCES, Underlay};
use crate::port::{Loss, Outlet, Tally};
use kc_forwarder_api::DropReason;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::{Duration, Instant};

/// Batches that one thread may be behind.
const BEHIND: usize = 4;

/// So many batches are enough for a thread not to run dry.
const ENOUGH: usize = 2;

/// What leaves together, in order.
pub(super) enum Batch {
    /// Frames by a port.
    Port(PortIndex, Outlet, Vec<Frame>),
    /// Datagrams from one source port of the underlay.
    Tunnels(Underlay, u16, Vec<(Egress, Frame)>),
}

impl Batch {
    /// Hands it to the kernel; says what the kernel did not take.
    fn send(&mut self) -> Vec<(Egress, DropReason, Tally)> {
        let mut lost = Vec::new();
        match self {
            Self::Port(index, outlet, frames) => {
                let report = outlet.send(frames);
                let losses = report.losses();
                lost.extend(
                    losses.map(|(loss, tally)| (Egress::Port(*index), reason(loss), tally)),
                );
            }
            Self::Tunnels(underlay, place, datagrams) => {
                send_datagrams(underlay, *place, datagrams, |egress, loss, frame| {
                    let (frames, bytes) = (1, frame.len() as u64);
                    lost.push((egress, reason(loss), Tally { frames, bytes }));
                });
            }
        }
        lost
    }
}

/// Sends datagrams of `place` among the source ports, first those for IPv4; `lose` is told each
/// one that the kernel did not take.
pub(super) fn send_datagrams(
    underlay: &Underlay,
    place: u16,
    datagrams: &[(Egress, Frame)],
    mut lose: impl FnMut(Egress, Loss, &Frame),
) {
    let lose = |(egress, frame): &(Egress, Frame), loss| lose(*egress, loss, frame);
    underlay.send(place >= SOURCES, place % SOURCES, datagrams, view, lose);
}

fn view((egress, frame): &(Egress, Frame)) -> (&Frame, Option<SocketAddr>) {
    let to = match egress {
        Egress::Gpe { remote, .. } | Egress::Vxlan { remote, .. } => Some(*remote),
        Egress::Port(_) => None,
    };
    (frame, to)
}

/// What became of a batch.
pub(super) struct Done {
    lane: usize,
    /// The batch, whose frames can be used again.
    pub(super) batch: Batch,
    /// What the kernel did not take.
    pub(super) lost: Vec<(Egress, DropReason, Tally)>,
    /// Time that it took.
    pub(super) took: Duration,
}

/// One thread.
struct Lane {
    batches: SyncSender<Batch>,
    behind: usize,
}

/// All of them. They are started when they are first wanted, and wait for batches ever after.
pub(super) struct Lanes {
    most: usize,
    lanes: Vec<Lane>,
    told: SyncSender<Done>,
    done: Receiver<Done>,
}

impl Lanes {
    /// None yet, and `most` at most.
    pub(super) fn new(most: usize) -> Self {
        // There is room for all that can be under way: nobody ever waits to hand something over.
        let (told, done) = mpsc::sync_channel(most * BEHIND);
        Self {
            most,
            lanes: Vec::new(),
            told,
            done,
        }
    }

    /// Threads there are.
    pub(super) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Whether batches are under way.
    pub(super) fn is_used(&self) -> bool {
        self.lanes.iter().any(|lane| lane.behind > 0)
    }

    /// The thread with the least to do; `None` when each has enough.
    pub(super) fn idlest(&mut self) -> Option<usize> {
        let behind = |&(_, lane): &(usize, &Lane)| lane.behind;
        let idlest = self.lanes.iter().enumerate().min_by_key(behind);
        let idlest = idlest.map(|(place, lane)| (place, lane.behind));
        match idlest {
            Some((place, 0)) => Some(place),
            _ if self.lanes.len() < self.most => self.start(),
            Some((place, behind)) if behind < ENOUGH => Some(place),
            _ => None,
        }
    }

    fn start(&mut self) -> Option<usize> {
        let (batches, waiting) = mpsc::sync_channel(BEHIND);
        let (lane, told) = (self.lanes.len(), self.told.clone());
        let started = std::thread::Builder::new()
            .name(format!("sender-{lane}"))
            .spawn(move || work(lane, &waiting, &told));
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to send: the packet thread does it alone");
            self.most = self.lanes.len();
            return None;
        }
        self.lanes.push(Lane { batches, behind: 0 });
        Some(lane)
    }

    /// Whether the thread `lane` is to be given no more before something is done.
    pub(super) fn is_full(&self, lane: usize) -> bool {
        self.lanes
            .get(lane)
            .is_some_and(|lane| lane.behind >= BEHIND)
    }

    /// Has `batch` sent by the thread `lane`, after what it was given before. Gives the batch back
    /// where that cannot be.
    pub(super) fn give(&mut self, lane: usize, batch: Batch) -> Result<(), Batch> {
        let Some(lane) = self.lanes.get_mut(lane) else {
            return Err(batch);
        };
        lane.batches.try_send(batch).map_err(|error| match error {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
        })?;
        lane.behind += 1;
        Ok(())
    }

    /// A batch that has been sent, if there is one.
    pub(super) fn done(&mut self) -> Option<Done> {
        let done = self.done.try_recv().ok()?;
        self.note(&done);
        Some(done)
    }

    /// The next batch that will have been sent, when any is under way.
    pub(super) fn wait(&mut self) -> Option<Done> {
        if !self.is_used() {
            return None;
        }
        let done = self.done.recv().ok()?;
        self.note(&done);
        Some(done)
    }

    fn note(&mut self, done: &Done) {
        if let Some(lane) = self.lanes.get_mut(done.lane) {
            lane.behind -= 1;
        }
    }
}

/// A thread's life.
fn work(lane: usize, batches: &Receiver<Batch>, told: &SyncSender<Done>) {
    while let Ok(mut batch) = batches.recv() {
        let begin = Instant::now();
        let lost = batch.send();
        let took = begin.elapsed();
        let done = Done {
            lane,
            batch,
            lost,
            took,
        };
        if told.send(done).is_err() {
            return;
        }
    }
}
