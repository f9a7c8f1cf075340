//! Sends what comes out of the pipeline: sorted by egress, so that every system call carries as
//! many frames as there are, in the order they came out.

use super::ports::Ports;
use crate::frame::Frame;
use crate::pipeline::{Egress, Outputs, Pipeline, PortIndex};
use crate::port::Loss;
use crate::port::underlay::{SOURCES, Underlay};
use kc_forwarder_api::DropReason;
use std::net::SocketAddr;

/// Frames on their way out, by egress.
#[derive(Default)]
pub(super) struct Departures {
    /// By port.
    ports: Vec<Vec<Frame>>,
    /// Ports that have frames.
    used: Vec<PortIndex>,
    /// By source port of the underlay, first those for IPv4.
    tunnels: [Vec<(Egress, Frame)>; 2 * SOURCES as usize],
}

/// The reason a loss is counted under.
fn reason(loss: Loss) -> DropReason {
    match loss {
        Loss::Full => DropReason::TxFull,
        Loss::Oversize => DropReason::MtuExceeded,
        Loss::Gone => DropReason::PortDown,
        Loss::Error => DropReason::TxError,
    }
}

impl Departures {
    /// Sends all of `outputs`; what the kernel does not take is told to the pipeline.
    pub(super) fn send(
        &mut self,
        outputs: &mut Outputs,
        ports: &mut Ports,
        underlay: Option<&Underlay>,
        pipeline: &mut Pipeline,
    ) {
        for (egress, frame) in outputs.frames.drain(..) {
            match egress {
                Egress::Port(index) => {
                    let place = usize::from(index.0);
                    if self.ports.len() <= place {
                        self.ports.resize_with(place + 1, Vec::new);
                    }
                    if let Some(queue) = self.ports.get_mut(place) {
                        if queue.is_empty() {
                            self.used.push(index);
                        }
                        queue.push(frame);
                    }
                }
                Egress::Gpe { entropy, remote } | Egress::Vxlan { entropy, remote } => {
                    let family = if remote.is_ipv6() { SOURCES } else { 0 };
                    let place = usize::from(family + entropy % SOURCES);
                    if let Some(queue) = self.tunnels.get_mut(place) {
                        queue.push((egress, frame));
                    }
                }
            }
        }
        for index in self.used.drain(..) {
            if let Some(queue) = self.ports.get_mut(usize::from(index.0)) {
                let report = ports.send(index, queue, &mut outputs.pool);
                for (loss, lost) in report.losses() {
                    pipeline.refused(Egress::Port(index), reason(loss), lost.frames, lost.bytes);
                }
            }
        }
        for (place, queue) in (0..).zip(&mut self.tunnels) {
            if queue.is_empty() {
                continue;
            }
            let mut lose = |(egress, frame): &(Egress, Frame), loss| {
                pipeline.refused(*egress, reason(loss), 1, frame.len() as u64);
            };
            match underlay {
                Some(underlay) => {
                    let (v6, source) = (place >= SOURCES, place % SOURCES);
                    underlay.send(v6, source, queue, view, lose);
                }
                None => queue.iter().for_each(|datagram| lose(datagram, Loss::Gone)),
            }
            for (_, frame) in queue.drain(..) {
                outputs.pool.give(frame);
            }
        }
    }
}

fn view((egress, frame): &(Egress, Frame)) -> (&Frame, Option<SocketAddr>) {
    let to = match egress {
        Egress::Gpe { remote, .. } | Egress::Vxlan { remote, .. } => Some(*remote),
        Egress::Port(_) => None,
    };
    (frame, to)
}
