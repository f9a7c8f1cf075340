//! The counters with their names, for whoever asks.

use super::Pipeline;
use crate::health::Subject;
use kc_forwarder_api::{
    Counters, Encapsulation, HealthState, MacAddr, Neighbour, PathCounters, PortCounters,
    RoundTrip, RuleCounters, Transport, TunnelCounters, UnderlayCounters, VirtualCounters,
    VirtualMemberCounters, Vni,
};

impl Pipeline {
    /// All counters at this moment. Ports, paths and rules come in table order, tunnels over UDP by
    /// address and then those over Ethernet in table order. What the kernel dropped is for the
    /// shell to add.
    pub fn counters(&self) -> Counters {
        let (tables, state) = (&*self.tables, &self.state);
        let ports = tables
            .ports()
            .iter()
            .zip(&state.ports)
            .map(|(port, state)| PortCounters {
                name: port.name.clone(),
                rx_packets: state.traffic.rx.packets,
                rx_bytes: state.traffic.rx.bytes,
                tx_packets: state.traffic.tx.packets,
                tx_bytes: state.traffic.tx.bytes,
                rx_dropped: 0,
            });
        // Hops are numbered in table order.
        let hops = tables.tables().paths.iter().flat_map(|path| {
            let spi = path.spi;
            path.hops.iter().map(move |hop| (spi, hop.si))
        });
        let paths = hops
            .zip(&state.paths)
            .map(|((spi, si), count)| PathCounters {
                spi,
                si,
                packets: count.packets,
                bytes: count.bytes,
            });
        let mut tunnels: Vec<_> = state.tunnels.slots.iter().collect();
        tunnels.sort_unstable_by_key(|(id, _)| *id);
        let tunnels = tunnels.iter().filter_map(|(id, traffic)| {
            Some(TunnelCounters {
                remote: Neighbour::Ip(id.remote),
                vni: Some(Vni::new(id.vni).ok()?),
                encapsulation: id.encapsulation().into(),
                port: None,
                vlan: None,
                rx_packets: traffic.rx.packets,
                rx_bytes: traffic.rx.bytes,
                tx_packets: traffic.tx.packets,
                tx_bytes: traffic.tx.bytes,
            })
        });
        let rules = tables
            .tables()
            .rules
            .iter()
            .zip(&state.rules)
            .map(|(rule, count)| RuleCounters {
                name: rule.name.clone(),
                packets: count.packets,
                bytes: count.bytes,
            });
        let lan = tables.tables().tunnels.iter().zip(&state.lan.traffic);
        let tunnels = tunnels.chain(lan.filter_map(|(tunnel, traffic)| {
            let Transport::Ethernet {
                port,
                next_hop,
                vlan,
            } = &tunnel.transport
            else {
                return None;
            };
            Some(TunnelCounters {
                remote: *next_hop,
                vni: None,
                encapsulation: Encapsulation::Ethernet.into(),
                port: Some(port.clone()),
                vlan: *vlan,
                rx_packets: traffic.rx.packets,
                rx_bytes: traffic.rx.bytes,
                tx_packets: traffic.tx.packets,
                tx_bytes: traffic.tx.bytes,
            })
        }));
        let virtuals = tables.segments.iter().flat_map(|segment| {
            let all = segment.virtuals.iter().flat_map(|virtuals| &virtuals.all);
            all.map(move |service| VirtualCounters {
                vni: segment.vni,
                address: service.address,
                members: service
                    .members
                    .iter()
                    .map(|member| VirtualMemberCounters {
                        mac: MacAddr(member.mac),
                        draining: member.draining,
                        flows: state.flows.with(segment.vni, service.address, member.mac),
                    })
                    .collect(),
            })
        });
        let round_trips = (0..).zip(&tables.tables().tunnels);
        let round_trips = round_trips.filter_map(|(number, tunnel)| {
            let (health, rtt_us) = state.health.of(Subject::Tunnel(number));
            let rtt_us = rtt_us.filter(|_| health == HealthState::Alive)?;
            Some(RoundTrip {
                tunnel: tunnel.name.clone(),
                rtt_us,
            })
        });
        Counters {
            generation: tables.generation(),
            ports: ports.collect(),
            paths: paths.collect(),
            tunnels: tunnels.collect(),
            rules: rules.collect(),
            virtuals: virtuals.collect(),
            round_trips: round_trips.collect(),
            underlay: UnderlayCounters::default(),
            drops: state.drops.iter().collect(),
        }
    }
}
