//! Takes one received frame through the function, in the way the function is wired, and counts
//! what became of it. No I/O here.

use super::finish::finish;
use super::nsh;
use super::options::Wiring;
use super::segment::segment;
use crate::function::{Emissions, Legs, ServiceFunction, Side, Verdict};
use crate::packet::set_macs;
use crate::stats::{DropCause, Stats};
use kc_forwarder::frame::{Frame, Pool};

/// The function, how it is wired, and what it has counted.
pub(super) struct Carrier<'a> {
    pub(super) function: &'a mut dyn ServiceFunction,
    pub(super) wiring: Wiring,
    pub(super) legs: Legs,
    /// Largest IP packet that every leg takes.
    pub(super) mtu: u16,
    pub(super) stats: Stats,
}

impl Carrier<'_> {
    /// Carries `frame`, which came in at `side`; what has to be sent is appended to `out`.
    pub(super) fn carry(
        &mut self,
        now_ms: u64,
        side: Side,
        mut frame: Frame,
        pool: &mut Pool,
        out: &mut Emissions,
    ) {
        let outer = match self.wiring {
            Wiring::Nsh => match nsh::unwrap(&mut frame, self.legs.mac(Side::Only)) {
                Ok(outer) => Some(outer),
                Err(cause) => {
                    self.stats.received.add(frame.len());
                    self.stats.drop(cause, frame.len());
                    return pool.give(frame);
                }
            },
            Wiring::TwoLeg | Wiring::OneLeg => None,
        };
        let room = usize::from(self.mtu) - outer.as_ref().map_or(0, nsh::Outer::overhead);
        match segment(frame, room, pool) {
            Ok(frames) => {
                for frame in frames {
                    self.whole(now_ms, side, frame, outer.as_ref(), pool, out);
                }
            }
            Err(frame) => {
                self.stats.received.add(frame.len());
                self.stats.drop(DropCause::SuperFrame, frame.len());
                pool.give(frame);
            }
        }
    }

    fn whole(
        &mut self,
        now_ms: u64,
        side: Side,
        mut frame: Frame,
        outer: Option<&nsh::Outer>,
        pool: &mut Pool,
        out: &mut Emissions,
    ) {
        let length = frame.len();
        self.stats.received.add(length);
        finish(&mut frame);
        let answers_from = out.frames.len();
        let verdict = match self.wiring {
            Wiring::OneLeg => self.one_leg(now_ms, &mut frame, out),
            Wiring::TwoLeg | Wiring::Nsh => self.function.process(now_ms, side, &mut frame, out),
        };
        if outer.is_some() {
            // Which path leads back is the classifier's knowledge, not ours.
            for (_, answer) in out.frames.drain(answers_from..) {
                self.stats.unsendable.add(answer.len());
            }
        }
        for (_, answer) in out.frames.iter().skip(answers_from) {
            self.stats.answered.add(answer.len());
        }
        let to = match verdict {
            Verdict::Pass => side.other(),
            Verdict::Return => side,
            Verdict::Consumed => {
                self.stats.consumed.add(length);
                return pool.give(frame);
            }
            Verdict::Drop(cause) => {
                self.stats.drop(cause, length);
                return pool.give(frame);
            }
        };
        if let Some(outer) = outer {
            nsh::wrap(&mut frame, outer);
        }
        self.stats.passed.add(length);
        out.send(to, frame);
    }

    fn one_leg(&mut self, now_ms: u64, frame: &mut Frame, out: &mut Emissions) -> Verdict {
        let own = self.legs.mac(Side::Only);
        let Some(&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5]) = frame.bytes().first_chunk()
        else {
            return Verdict::Drop(DropCause::Malformed);
        };
        let to = [d0, d1, d2, d3, d4, d5];
        if to != own && d0 & 1 == 0 {
            return Verdict::Drop(DropCause::NotForUs);
        }
        let verdict = self.function.process(now_ms, Side::Only, frame, out);
        if matches!(verdict, Verdict::Pass | Verdict::Return) {
            if d0 & 1 == 1 {
                // Everybody on the link has it already.
                return Verdict::Consumed;
            }
            let undecided = frame.bytes().starts_with(&own);
            let back = undecided.then_some([s0, s1, s2, s3, s4, s5]);
            set_macs(frame.bytes_mut(), Some(own), back);
        }
        verdict
    }
}
