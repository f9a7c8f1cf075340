//! Sends what comes out of the pipeline: sorted by egress, so that every system call carries as
//! many frames as there are, in the order they came out. Under pressure other threads send a part
//! of it.

use super::lanes::{Batch, Done, Lanes, send_datagrams};
use super::ports::Ports;
use crate::frame::{Frame, Pool};
use crate::pipeline::{Egress, Outputs, Pipeline, PortIndex};
use crate::port::Loss;
use crate::port::underlay::{SOURCES, Underlay};
use kc_forwarder_api::DropReason;
use std::time::Duration;

/// A batch of fewer frames is sent in the time that it takes to have another thread do it.
const WORTH: usize = 8;

/// Source ports of the underlay, first those for IPv4.
const PLACES: usize = 2 * SOURCES as usize;

/// What leaves by one way, in order.
struct Queue<T> {
    waiting: Vec<T>,
    /// Batches that are being sent by a thread, and which.
    away: usize,
    lane: usize,
    /// Room that came back.
    spare: Vec<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            away: 0,
            lane: 0,
            spare: Vec::new(),
        }
    }
}

impl<T> Queue<T> {
    /// The thread that is to send what waits, if it is not this one.
    fn lane(&self, lanes: &mut Lanes, share: bool) -> Option<usize> {
        match self.away {
            0 if share && self.waiting.len() >= WORTH => lanes.idlest(),
            0 => None,
            // Nothing overtakes what is under way.
            _ => Some(self.lane),
        }
    }

    /// What waits, for the thread `lane`.
    fn take(&mut self, lane: usize) -> Vec<T> {
        self.lane = lane;
        self.away += 1;
        std::mem::replace(&mut self.waiting, std::mem::take(&mut self.spare))
    }

    /// What was taken waits again.
    fn put_back(&mut self, waiting: Vec<T>) {
        self.away = self.away.saturating_sub(1);
        self.waiting = waiting;
    }

    /// What was taken has been sent, and here is the room that it took.
    fn sent(&mut self, room: Vec<T>) {
        self.away = self.away.saturating_sub(1);
        self.spare = room;
    }
}

/// Frames on their way out, by egress.
pub(super) struct Departures {
    ports: Vec<Queue<Frame>>,
    /// Ports for which frames wait.
    used: Vec<PortIndex>,
    tunnels: [Queue<(Egress, Frame)>; PLACES],
    lanes: Lanes,
    /// Time that other threads spent since it was last asked for.
    helped: Duration,
}

/// The reason a loss is counted under.
pub(super) fn reason(loss: Loss) -> DropReason {
    match loss {
        Loss::Full => DropReason::TxFull,
        Loss::Oversize => DropReason::MtuExceeded,
        Loss::Gone => DropReason::PortDown,
        Loss::Error => DropReason::TxError,
    }
}

impl Departures {
    /// Sends by `helpers` other threads at most.
    pub(super) fn new(helpers: usize) -> Self {
        Self {
            ports: Vec::new(),
            used: Vec::new(),
            tunnels: std::array::from_fn(|_| Queue::default()),
            lanes: Lanes::new(helpers),
            helped: Duration::ZERO,
        }
    }

    /// Other threads that send.
    pub(super) fn helpers(&self) -> usize {
        self.lanes.count()
    }

    /// How long other threads have worked since the last call.
    pub(super) fn take_helped(&mut self) -> Duration {
        std::mem::take(&mut self.helped)
    }

    /// Sends all of `outputs`, with the help of other threads where it is to be shared; what the
    /// kernel does not take is told to the pipeline.
    pub(super) fn send(
        &mut self,
        outputs: &mut Outputs,
        ports: &mut Ports,
        underlay: Option<&Underlay>,
        pipeline: &mut Pipeline,
        share: bool,
    ) {
        self.collect(&mut outputs.pool, pipeline);
        self.sort(&mut outputs.frames);
        let mut used = std::mem::take(&mut self.used);
        for index in used.drain(..) {
            self.send_by_port(index, ports, &mut outputs.pool, pipeline, share);
        }
        self.used = used;
        for place in 0..PLACES {
            self.send_by_tunnel(place, underlay, &mut outputs.pool, pipeline, share);
        }
    }

    fn sort(&mut self, frames: &mut Vec<(Egress, Frame)>) {
        for (egress, frame) in frames.drain(..) {
            match egress {
                Egress::Port(index) => {
                    let place = usize::from(index.0);
                    if self.ports.len() <= place {
                        self.ports.resize_with(place + 1, Queue::default);
                    }
                    if let Some(queue) = self.ports.get_mut(place) {
                        if queue.waiting.is_empty() {
                            self.used.push(index);
                        }
                        queue.waiting.push(frame);
                    }
                }
                Egress::Gpe { entropy, remote } | Egress::Vxlan { entropy, remote } => {
                    let family = if remote.is_ipv6() { SOURCES } else { 0 };
                    let place = usize::from(family + entropy % SOURCES);
                    if let Some(queue) = self.tunnels.get_mut(place) {
                        queue.waiting.push((egress, frame));
                    }
                }
            }
        }
    }

    fn send_by_port(
        &mut self,
        index: PortIndex,
        ports: &mut Ports,
        pool: &mut Pool,
        pipeline: &mut Pipeline,
        share: bool,
    ) {
        let place = usize::from(index.0);
        if let Some(queue) = self.ports.get_mut(place)
            && let Some(lane) = queue.lane(&mut self.lanes, share)
            && let Some(outlet) = ports.outlet(index)
        {
            let batch = Batch::Port(index, outlet, queue.take(lane));
            if self.hand_over(lane, batch, pool, pipeline) {
                return;
            }
        }
        if let Some(queue) = self.ports.get_mut(place) {
            let report = ports.send(index, &mut queue.waiting, pool);
            for (loss, lost) in report.losses() {
                pipeline.refused(Egress::Port(index), reason(loss), lost.frames, lost.bytes);
            }
        }
    }

    fn send_by_tunnel(
        &mut self,
        place: usize,
        underlay: Option<&Underlay>,
        pool: &mut Pool,
        pipeline: &mut Pipeline,
        share: bool,
    ) {
        let Some(queue) = self.tunnels.get_mut(place) else {
            return;
        };
        if queue.waiting.is_empty() {
            return;
        }
        let source = u16::try_from(place).unwrap_or_default();
        if let Some(underlay) = underlay
            && let Some(lane) = queue.lane(&mut self.lanes, share)
        {
            let batch = Batch::Tunnels(underlay.clone(), source, queue.take(lane));
            if self.hand_over(lane, batch, pool, pipeline) {
                return;
            }
        }
        let Some(queue) = self.tunnels.get_mut(place) else {
            return;
        };
        let mut lose = |egress: Egress, loss, frame: &Frame| {
            pipeline.refused(egress, reason(loss), 1, frame.len() as u64);
        };
        match underlay {
            Some(underlay) => send_datagrams(underlay, source, &queue.waiting, lose),
            None => {
                let lost = queue.waiting.iter();
                lost.for_each(|(egress, frame)| lose(*egress, Loss::Gone, frame));
            }
        }
        for (_, frame) in queue.waiting.drain(..) {
            pool.give(frame);
        }
    }

    /// Takes in what other threads have sent.
    pub(super) fn collect(&mut self, pool: &mut Pool, pipeline: &mut Pipeline) {
        while let Some(done) = self.lanes.done() {
            self.finish(done, pool, pipeline);
        }
    }

    /// Waits until all that was handed over is sent.
    pub(super) fn settle(&mut self, pool: &mut Pool, pipeline: &mut Pipeline) {
        while let Some(done) = self.lanes.wait() {
            self.finish(done, pool, pipeline);
        }
    }

    /// Has the thread `lane` send `batch`, if need be after others that it has; says whether it
    /// does. Otherwise what is in it waits again.
    fn hand_over(
        &mut self,
        lane: usize,
        batch: Batch,
        pool: &mut Pool,
        pipeline: &mut Pipeline,
    ) -> bool {
        while self.lanes.is_full(lane)
            && let Some(done) = self.lanes.wait()
        {
            self.finish(done, pool, pipeline);
        }
        match self.lanes.give(lane, batch) {
            Ok(()) => return true,
            Err(Batch::Port(index, _, frames)) => {
                if let Some(queue) = self.ports.get_mut(usize::from(index.0)) {
                    queue.put_back(frames);
                }
            }
            Err(Batch::Tunnels(_, place, datagrams)) => {
                if let Some(queue) = self.tunnels.get_mut(usize::from(place)) {
                    queue.put_back(datagrams);
                }
            }
        }
        false
    }

    fn finish(&mut self, done: Done, pool: &mut Pool, pipeline: &mut Pipeline) {
        self.helped += done.took;
        for (egress, reason, lost) in done.lost {
            pipeline.refused(egress, reason, lost.frames, lost.bytes);
        }
        match done.batch {
            Batch::Port(index, _, mut frames) => {
                frames.drain(..).for_each(|frame| pool.give(frame));
                if let Some(queue) = self.ports.get_mut(usize::from(index.0)) {
                    queue.sent(frames);
                }
            }
            Batch::Tunnels(_, place, mut datagrams) => {
                let frames = datagrams.drain(..).map(|(_, frame)| frame);
                frames.for_each(|frame| pool.give(frame));
                if let Some(queue) = self.tunnels.get_mut(usize::from(place)) {
                    queue.sent(datagrams);
                }
            }
        }
    }
}
