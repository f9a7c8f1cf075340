//! Hops of paths: their next hops resolved, in one hash table.

use super::build::Scope;
use super::check;
use super::compiled::CompiledFunction;
use super::error::{Entry, PortRole, TableError};
use super::groups::{CompiledGroup, Pair};
use super::steering::{Hop, Steering, Target, key};
use crate::health::Subject;
use kc_forwarder_api::{Direction, NextHop, Si, Spi, Tables};
use rustc_hash::FxHashMap;

/// What the hops of paths lead to.
pub(super) struct Reached<'a> {
    pub(super) functions: &'a mut [CompiledFunction],
    pub(super) groups: &'a [CompiledGroup],
    pub(super) pairs: &'a FxHashMap<u32, Vec<Pair>>,
}

/// Compiles the hops of all paths; tells the functions which of them lead there.
pub(super) fn build(
    tables: &Tables,
    scope: &mut Scope,
    mut reached: Reached<'_>,
) -> Result<Steering, TableError> {
    let count = tables.paths.iter().map(|path| path.hops.len()).sum();
    let mut steering = Steering::with_capacity(count);
    let mut number = 0;
    for path in &tables.paths {
        check::mtu(|| Entry::Path(path.spi), path.mtu)?;
        for hop in &path.hops {
            let entry = || Entry::Hop(path.spi, hop.si);
            let key = key(path.spi, hop.si);
            let target = match &hop.to {
                NextHop::Function { name, direction } => {
                    let function = scope.functions.resolve(name, entry)?;
                    reached.bind(function, *direction, (path.spi, hop.si))?;
                    Target::Function(function, *direction)
                }
                NextHop::Group { name, direction } => {
                    let group = scope.groups.resolve(name, entry)?;
                    reached.bind_all(group, *direction, (path.spi, hop.si))?;
                    Target::Group(group, *direction)
                }
                NextHop::Tunnel { name } => Target::Tunnel(scope.tunnels.resolve(name, entry)?),
                NextHop::Egress { port } => {
                    Target::Egress(scope.port(port, entry, PortRole::Egress(entry()))?)
                }
                NextHop::Segment { vni } => Target::Segment(scope.segments.resolve(vni, entry)?),
            };
            let teaches = reached.pairs.contains_key(&key);
            if !steering.insert(Hop {
                key,
                number,
                target,
                teaches,
            }) {
                return Err(TableError::DuplicateHop {
                    spi: path.spi,
                    si: hop.si,
                });
            }
            number += 1;
        }
    }
    for function in reached.functions {
        for bindings in &mut function.bindings {
            bindings.sort_unstable();
            bindings.dedup();
        }
    }
    Ok(steering)
}

impl Reached<'_> {
    /// A hop leads to a function.
    fn bind(
        &mut self,
        function: u16,
        direction: Direction,
        (spi, si): (Spi, Si),
    ) -> Result<(), TableError> {
        // RFC 8300 section 2.3: "SI MUST be decremented by a value of 1 by Service
        // Functions or by SFC Proxy nodes after performing required services".
        if si.next().is_none() {
            return Err(TableError::FunctionAtZero(Entry::Hop(spi, si)));
        }
        let Some(function) = self.functions.get_mut(usize::from(function)) else {
            return Ok(());
        };
        let [forward, reverse] = &mut function.bindings;
        let [newest_forward, newest_reverse] = &mut function.newest;
        let (bindings, newest) = match direction {
            Direction::Forward => (forward, newest_forward),
            Direction::Reverse => (reverse, newest_reverse),
        };
        bindings.push(key(spi, si));
        *newest = Some(key(spi, si));
        Ok(())
    }

    /// A hop leads to any of a group's functions.
    fn bind_all(
        &mut self,
        group: u16,
        direction: Direction,
        hop: (Spi, Si),
    ) -> Result<(), TableError> {
        let members = self
            .groups
            .get(usize::from(group))
            .map(|group| &group.members);
        for member in members.into_iter().flatten() {
            if let Subject::Function(function) = member {
                self.bind(*function, direction, hop)?;
            }
        }
        Ok(())
    }
}
