//! What the kernel's fast path tells the pipeline, and asks of it: packets that it forwarded are
//! counted as if they had been here, and who it sends to on LANs stays known.

use super::state::TunnelId;
use super::{Outputs, Pipeline, PortIndex, PortInfo};
use crate::fast::plan::Plan;
use crate::fast::tally::{Subject, Tally, Way, subjects};
use crate::stats::{Count, Traffic};
use kc_forwarder_api::DropReason;

impl Pipeline {
    /// Counts what the kernel has forwarded since `former`, under the tables in force.
    pub(crate) fn credit(&mut self, plan: &Plan, tally: &Tally, former: &mut Tally) {
        let (tables, state) = (&*self.tables, &mut self.state);
        for (place, count) in tally.since(former) {
            for subject in subjects(plan, tables, place) {
                let add = |traffic: Option<&mut Traffic>, way| {
                    if let Some(traffic) = traffic {
                        let side = match way {
                            Way::In => &mut traffic.rx,
                            Way::Out => &mut traffic.tx,
                        };
                        side.join(count);
                    }
                };
                match subject {
                    Subject::Hop(number) => {
                        if let Some(path) = state.paths.get_mut(number) {
                            path.join(count);
                        }
                    }
                    Subject::Port(port, way) => {
                        let port = state.ports.get_mut(port.at());
                        add(port.map(|port| &mut port.traffic), way);
                    }
                    Subject::Gpe(remote, vni, way) => {
                        let gpe = true;
                        add(state.tunnels.at(TunnelId { remote, vni, gpe }), way);
                    }
                    Subject::Lan(number, way) => add(state.lan.traffic.get_mut(number), way),
                    Subject::Forwarded => {
                        let Count { packets, .. } = count;
                        state.balance.received += packets;
                        state.balance.sent += packets;
                    }
                }
            }
        }
    }

    /// `packets` that were counted as sent, by `port` if it was one, were lost by the kernel.
    pub(crate) fn lost(&mut self, port: Option<PortIndex>, packets: u64) {
        let port = port.and_then(|port| self.state.ports.get_mut(port.at()));
        if let Some(port) = port {
            // How long they were is not told: as long as the others.
            let Count {
                packets: all,
                bytes,
            } = port.traffic.tx;
            let bytes = bytes.checked_div(all).unwrap_or(0) * packets;
            port.traffic.tx.take_back(packets, bytes);
        }
        self.state.balance.sent = self.state.balance.sent.saturating_sub(packets);
        self.state.dropped(DropReason::TxFull, packets);
    }

    /// Whether somebody wants to see every frame: the kernel must then forward none by itself.
    pub(crate) fn is_watched(&self) -> bool {
        self.state.taps.on || self.state.guest.is_some()
    }

    /// What the shell told of a port.
    pub(crate) fn port_info(&self, port: PortIndex) -> Option<PortInfo> {
        self.state.ports.get(port.at())?.info.filter(|info| info.up)
    }

    /// MAC addresses of all next hops on LANs, by number, as far as they are known.
    pub(crate) fn stations(&self) -> impl Iterator<Item = Option<[u8; 6]>> {
        let numbers = (0..).take(self.tables.lans.neighbours.len());
        numbers.map(|number| self.state.lan.neighbours.mac(number))
    }

    /// (port, tag, MAC address) of all that are known to send by a tunnel over Ethernet.
    pub(crate) fn senders(&self) -> impl Iterator<Item = ((u16, u16, [u8; 6]), u16)> {
        self.state.lan.senders()
    }

    /// The kernel has sent to a next hop on a LAN: it is asked whether it is still there, if that
    /// is not known.
    pub(crate) fn used(&mut self, now_ms: u64, number: u16, out: &mut Outputs) {
        self.run(now_ms, out).used_neighbour(number);
    }
}
