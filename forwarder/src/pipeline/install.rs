//! New tables between two packets: what was learned and counted stays with its name.

use super::state::{PortState, State};
use crate::overlay::Fdb;
use crate::proxy::Memory;
use crate::tables::{Compiled, Heritage, Location};
use kc_forwarder_api::DropReason;
use rustc_hash::FxHashMap;

impl State {
    /// Goes on under `new`; `old` are the tables it was built for.
    pub(super) fn adopt(&mut self, old: &Compiled, new: &Compiled) {
        self.adopt_ports(old, new);
        self.adopt_functions(old, new);
        self.adopt_segments(old, new);
        self.returns
            .renumber(|member| new.member(&old.member_name(member)?));
        self.adopt_counts(old, new);
        self.adopt_lans(old, new);
        self.expect_tunnels(new);
        let now_ms = self.oam.now_us / 1000;
        self.oam.adopt(new);
        self.health.adopt(Some(old), new, now_ms);
        // Where they came from is told by numbers of the former tables.
        let waited = self.fragments.give_up();
        self.balance.held -= waited;
        self.dropped(DropReason::FragmentOrphan, waited);
        let names = |tables: &'_ Compiled| {
            let ports = tables.ports().iter();
            ports.map(|port| port.name.clone()).collect::<Vec<_>>()
        };
        if names(old) == names(new) {
            self.cache.doubt();
        } else {
            self.cache.clear();
            self.fragments.forget();
        }
    }

    fn adopt_ports(&mut self, old: &Compiled, new: &Compiled) {
        let held = |name| {
            old.port_index(name)
                .and_then(|index| self.ports.get(index.at()))
        };
        let ports = new.ports().iter().zip(0_u16..);
        self.ports = ports
            .map(|(port, _)| {
                let known = old
                    .port_index(&port.name)
                    .and_then(|index| old.ports().get(index.at()));
                match held(&port.name) {
                    // Another interface under the same name: the shell has yet to tell about it.
                    Some(state) if known.is_some_and(|known| known.interface != port.interface) => {
                        PortState {
                            info: None,
                            ..*state
                        }
                    }
                    Some(state) => *state,
                    None => PortState::default(),
                }
            })
            .collect();
    }

    fn adopt_functions(&mut self, old: &Compiled, new: &Compiled) {
        let names = old
            .functions
            .iter()
            .map(|function| (&function.name, function.wiring));
        let mut held: FxHashMap<_, _> = names
            .zip(self.functions.drain(..))
            .map(|((name, _), memory)| (name, memory))
            .collect();
        let memories = new
            .functions
            .iter()
            .map(|function| held.remove(&function.name));
        self.functions = memories
            .map(|memory| memory.unwrap_or_else(Memory::new))
            .collect();
    }

    fn adopt_segments(&mut self, old: &Compiled, new: &Compiled) {
        let mut held: Vec<Option<Fdb>> = self.segments.drain(..).map(Some).collect();
        let mut adopt = |segment: &crate::tables::CompiledSegment| {
            let number = *old.segment_vnis.get(&segment.vni.get())?;
            let fdb = held.get_mut(usize::from(number))?.take()?;
            let before = old.segments.get(usize::from(number))?;
            Some(fdb.adopt(segment, |location| match location {
                Location::Port(port) => {
                    let name = &old.ports().get(port.at())?.name;
                    let port = new.port_index(name)?;
                    let is_leg = new.is_leg(port);
                    (!is_leg).then_some(Location::Port(port))
                }
                Location::Peer(peer) => {
                    let address = before.peers.get(usize::from(peer))?.ip();
                    let place = segment.peers.iter().position(|peer| peer.ip() == address)?;
                    u16::try_from(place).ok().map(Location::Peer)
                }
            }))
        };
        let segments = new.segments.iter();
        self.segments = segments
            .map(|segment| adopt(segment).unwrap_or_else(|| Fdb::new(segment)))
            .collect();
    }

    /// Counters of hops and rules.
    fn adopt_counts(&mut self, old: &Compiled, new: &Compiled) {
        let prepared = new.heritage.as_ref();
        let prepared = prepared.filter(|heritage| heritage.is_of(old.generation()));
        let heritage = match prepared {
            Some(heritage) => heritage,
            None => &Heritage::between(old, new),
        };
        self.paths = heritage.hops(&self.paths);
        self.rules = heritage.rules(&self.rules);
    }
}
