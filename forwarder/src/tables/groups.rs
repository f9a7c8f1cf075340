//! Groups of next hops, and which of a path's hops belongs to which group of its return path.

use super::build::Scope;
use super::error::{Entry, Kind, TableError};
use super::steering::key;
use crate::group::{Share, Spread};
use crate::health::Subject;
use kc_forwarder_api::{
    Direction, Group, GroupName, Hop, MemberTarget, NextHop, Path, SfName, Si, Spi, Tables,
};
use rustc_hash::FxHashMap;

/// A group whose members are numbers.
#[derive(Debug, Clone)]
pub(crate) struct CompiledGroup {
    /// In table order.
    pub(crate) members: Vec<Subject>,
    /// Who gets which flows.
    pub(crate) spread: Spread,
    /// Whether what another SFF has sent here is for a function here.
    pub(crate) keep_arrivals: bool,
}

impl CompiledGroup {
    /// Whether `member` is one of the group.
    pub(crate) fn has(&self, member: Subject) -> bool {
        self.members.contains(&member)
    }
}

/// Compiles all groups.
pub(super) fn build(tables: &Tables, scope: &Scope) -> Result<Vec<CompiledGroup>, TableError> {
    tables
        .groups
        .iter()
        .map(|group| compile(group, scope))
        .collect()
}

fn compile(group: &Group, scope: &Scope) -> Result<CompiledGroup, TableError> {
    let entry = || Entry::Group(group.name.clone());
    if group.members.is_empty() {
        return Err(TableError::EmptyGroup(group.name.clone()));
    }
    let mut members = Vec::with_capacity(group.members.len());
    for member in &group.members {
        let target = match &member.to {
            MemberTarget::Function { name } => {
                Subject::Function(scope.functions.resolve(name, entry)?)
            }
            MemberTarget::Tunnel { name } => Subject::Tunnel(scope.tunnels.resolve(name, entry)?),
        };
        let key = member.key();
        let same_key = |other: &&kc_forwarder_api::Member| other.key() == key;
        if group.members.iter().filter(same_key).count() > 1 {
            return Err(TableError::Duplicate {
                kind: Kind::GroupMember,
                name: key.to_owned(),
            });
        }
        if member.weight == 0 {
            return Err(TableError::Weightless {
                entry: entry(),
                member: key.to_owned(),
            });
        }
        members.push(target);
    }
    let spread = Spread::new(group.members.iter().map(|member| Share {
        key: member.key(),
        weight: member.weight,
        backup: member.backup,
    }));
    Ok(CompiledGroup {
        members,
        spread,
        keep_arrivals: group.keep_arrivals,
    })
}

/// A group of a return path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The service path header of the return path's hop.
    pub(crate) hop: u32,
    /// The group that is its next hop.
    pub(crate) group: u16,
}

/// For each hop of a path that has a reverse: the groups of the reverse that lead back to where
/// a packet at this hop has just come from.
///
/// A packet that has gone through n functions of a path and its answer that has all but these n
/// still before it are at the same place. So the service indices of both fall against each
/// other: their sum is the same for each such pair of hops, and one known pair tells it.
pub(super) fn pairs(tables: &Tables, scope: &Scope) -> FxHashMap<u32, Vec<Pair>> {
    let paths: FxHashMap<Spi, &Path> = tables.paths.iter().map(|path| (path.spi, path)).collect();
    let mut pairs = FxHashMap::default();
    for path in &tables.paths {
        let Some(back) = path.reverse.and_then(|spi| paths.get(&spi)) else {
            continue;
        };
        let groups: Vec<(Si, Pair)> = back
            .hops
            .iter()
            .filter_map(|hop| {
                let group = scope.groups.get(returning(hop)?)?;
                let hop_key = key(back.spi, hop.si);
                Some((
                    hop.si,
                    Pair {
                        hop: hop_key,
                        group,
                    },
                ))
            })
            .collect();
        if groups.is_empty() {
            continue;
        }
        let sum = sum_of_indices(tables, path, back);
        for hop in &path.hops {
            // Without a known pair it can be any of them that has the member.
            let belongs = |si: &Si| sum.is_none_or(|sum| index(hop.si) + index(*si) == sum);
            let own: Vec<_> = groups
                .iter()
                .filter(|(si, _)| belongs(si))
                .map(|(_, pair)| *pair)
                .collect();
            if !own.is_empty() {
                pairs.insert(key(path.spi, hop.si), own);
            }
        }
    }
    pairs
}

fn returning(hop: &Hop) -> Option<&GroupName> {
    match &hop.to {
        NextHop::Group {
            name,
            direction: Direction::Reverse,
        } => Some(name),
        _ => None,
    }
}

fn index(si: Si) -> u16 {
    u16::from(si.get())
}

/// The sum of the indices of paired hops, where the tables tell it.
pub(super) fn sum_of_indices(tables: &Tables, path: &Path, back: &Path) -> Option<u16> {
    let ends = |path: &Path| {
        let ends = |hop: &&Hop| matches!(hop.to, NextHop::Egress { .. } | NextHop::Segment { .. });
        path.hops.iter().find(ends).map(|hop| index(hop.si))
    };
    let starts = |path: &Path| path.hops.iter().map(|hop| index(hop.si)).max();
    // One ends here, so the other starts here.
    if let (Some(end), Some(start)) = (ends(path), starts(back)) {
        return Some(end + start);
    }
    if let (Some(end), Some(start)) = (ends(back), starts(path)) {
        return Some(end + start);
    }
    // A function that both go through, before the one and behind the other.
    let visits = |path: &Path| -> Vec<(u16, Vec<SfName>)> {
        let hops = path.hops.iter();
        hops.map(|hop| (index(hop.si), functions(tables, &hop.to)))
            .collect()
    };
    let behind = visits(back);
    let common = visits(path).into_iter().filter_map(|(si, visited)| {
        let also = |(_, others): &&(u16, Vec<SfName>)| others.iter().any(|f| visited.contains(f));
        Some((si, behind.iter().filter(also).map(|(si, _)| *si).min()?))
    });
    let (before, behind) = common.max()?;
    (before + behind).checked_sub(1)
}

/// Functions of ours that a next hop can lead to.
fn functions(tables: &Tables, to: &NextHop) -> Vec<SfName> {
    let member = |member: &kc_forwarder_api::Member| match &member.to {
        MemberTarget::Function { name } => Some(name.clone()),
        MemberTarget::Tunnel { .. } => None,
    };
    match to {
        NextHop::Function { name, .. } => vec![name.clone()],
        NextHop::Group { name, .. } => {
            let groups = tables.groups.iter().filter(|group| group.name == *name);
            groups
                .flat_map(|group| group.members.iter().filter_map(member))
                .collect()
        }
        _ => Vec::new(),
    }
}
