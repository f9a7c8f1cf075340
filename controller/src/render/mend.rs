//! A box refuses tables that name what they do not define, the good in them too. A dead path may come to
//! name such things: a function that has been moved away, a box that is no more. What leads there is taken
//! out, and what would enter is dropped, until there is a better path.

use foldhash::HashSet;
use kc_forwarder_api::{Action, MemberTarget, NextHop, SfName, Tables, TunnelName};
use std::collections::BTreeSet;
use std::mem::take;

/// Takes out what leads nowhere.
pub(super) fn mend(tables: &mut Tables) {
    let (mut groups, mut paths) = (take(&mut tables.groups), take(&mut tables.paths));
    let functions: HashSet<&SfName> = tables.functions.iter().map(|one| &one.name).collect();
    let tunnels: HashSet<&TunnelName> = tables.tunnels.iter().map(|one| &one.name).collect();
    for group in &mut groups {
        group.members.retain(|member| match &member.to {
            MemberTarget::Function { name } => functions.contains(name),
            MemberTarget::Tunnel { name } => tunnels.contains(name),
        });
    }
    groups.retain(|group| !group.members.is_empty());
    for path in &mut paths {
        path.hops.retain(|hop| match &hop.to {
            NextHop::Function { name, .. } => functions.contains(name),
            NextHop::Tunnel { name } => tunnels.contains(name),
            NextHop::Group { name, .. } => groups.iter().any(|group| group.name == *name),
            NextHop::Egress { .. } | NextHop::Segment { .. } => true,
        });
    }
    paths.retain(|path| !path.hops.is_empty());
    let hops = paths
        .iter()
        .flat_map(|path| path.hops.iter().map(|hop| (path.spi, hop.si)));
    let hops: BTreeSet<_> = hops.collect();
    for rule in &mut tables.rules {
        if let Action::Path { spi, si, .. } = &rule.action
            && !hops.contains(&(*spi, *si))
        {
            rule.action = Action::Drop;
        }
    }
    (tables.groups, tables.paths) = (groups, paths);
}
