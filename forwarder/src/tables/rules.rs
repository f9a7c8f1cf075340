//! Classifier rules: their actions resolved and their NSH written beforehand.

use super::build::Scope;
use super::check;
use super::compiled::{CompiledRule, Verdict};
use super::error::{Entry, Kind, PortRole, Suggestion, TableError};
use super::steering::{Hop, Steering, key};
use crate::classifier::{Classifier, Condition};
use crate::pipeline::{room, tunnel_headers};
use crate::proxy::Held;
use crate::sff;
use crate::wire::{ethernet, nsh};
use kc_forwarder_api::{Action, Member, MemberTarget, NextHop, Rule, Si, Spi, Tables, TunnelName};
use rustc_hash::{FxHashMap, FxHashSet};

/// What the rules need to know about a path.
#[derive(Default)]
struct Known {
    /// Its MTU, where it was given.
    mtu: Option<u16>,
    /// Octets of outer headers of the tunnels it goes through here, the most of any.
    outer: Option<usize>,
    /// Its highest index here.
    highest: Option<Si>,
}

/// Compiles all rules.
pub(super) fn build(
    tables: &Tables,
    scope: &mut Scope,
    steering: &Steering,
) -> Result<(Vec<CompiledRule>, Classifier), TableError> {
    let paths = known(tables);
    let mut names = FxHashSet::default();
    let mut rules = Vec::with_capacity(tables.rules.len());
    let mut ports = Vec::with_capacity(tables.rules.len());
    for rule in &tables.rules {
        let entry = || Entry::Rule(rule.name.clone());
        if !names.insert(&rule.name) {
            return Err(TableError::Duplicate {
                kind: Kind::Rule,
                name: rule.name.clone(),
            });
        }
        check::matches(&rule.matches, entry)?;
        let port = match &rule.matches.port {
            Some(port) => Some(scope.port(port, entry, PortRole::Ingress(entry()))?.0),
            None => None,
        };
        ports.push(port);
        rules.push(compile(tables, scope, steering, &paths, rule)?);
    }
    let conditions = tables.rules.iter().zip(ports);
    let conditions = conditions.map(|(rule, port)| Condition {
        matches: &rule.matches,
        port,
    });
    Ok((rules, Classifier::new(conditions)))
}

/// The tunnel of a group's member.
fn leads(member: &Member) -> Option<&TunnelName> {
    match &member.to {
        MemberTarget::Tunnel { name } => Some(name),
        MemberTarget::Function { .. } => None,
    }
}

fn known(tables: &Tables) -> FxHashMap<Spi, Known> {
    let remotes = tables.tunnels.iter();
    let remotes: FxHashMap<_, _> = remotes
        .filter_map(|tunnel| Some((&tunnel.name, tunnel.transport.vtep()?)))
        .collect();
    let groups = tables.groups.iter();
    let groups: FxHashMap<_, Vec<_>> = groups
        .map(|group| {
            (
                &group.name,
                group.members.iter().filter_map(leads).collect(),
            )
        })
        .collect();
    let mut paths: FxHashMap<Spi, Known> = FxHashMap::default();
    for path in &tables.paths {
        let known = paths.entry(path.spi).or_default();
        known.mtu = known.mtu.into_iter().chain(path.mtu).min();
        let reached = path.hops.iter().flat_map(|hop| match &hop.to {
            NextHop::Tunnel { name } => vec![name],
            NextHop::Group { name, .. } => groups.get(name).cloned().unwrap_or_default(),
            _ => Vec::new(),
        });
        let outer =
            reached.filter_map(|name| remotes.get(name).map(|&remote| tunnel_headers(remote)));
        known.outer = known.outer.max(outer.max());
        known.highest = known.highest.max(path.hops.iter().map(|hop| hop.si).max());
    }
    paths
}

fn compile(
    tables: &Tables,
    scope: &mut Scope,
    steering: &Steering,
    paths: &FxHashMap<Spi, Known>,
    rule: &Rule,
) -> Result<CompiledRule, TableError> {
    let entry = || Entry::Rule(rule.name.clone());
    let plain = |verdict| CompiledRule {
        verdict,
        mtu: u16::MAX,
        nsh: Held::new(&[]),
    };
    match &rule.action {
        Action::Path {
            spi,
            si,
            ttl,
            metadata,
        } => {
            let known = paths.get(spi);
            let Some(hop) = steering.get(key(*spi, *si)) else {
                let highest = known.and_then(|known| known.highest);
                let suggestion = Suggestion(highest.map(|si| format!("SI {si}")));
                return Err(TableError::NoSuchHop {
                    entry: entry(),
                    spi: *spi,
                    si: *si,
                    suggestion,
                });
            };
            let (mut nsh, max) = ([0; nsh::MAX_LEN], nsh::MAX_LEN);
            let nsh = sff::originate(hop.key, *ttl, metadata, &mut nsh).map_err(|length| {
                let entry = entry();
                TableError::NshLength { entry, length, max }
            })?;
            let mtu = known.map_or(u16::MAX, |known| path_mtu(tables, known, nsh.len()));
            Ok(CompiledRule {
                verdict: Verdict::Path(*hop),
                mtu,
                nsh: Held::new(nsh),
            })
        }
        Action::Segment { vni } => Ok(plain(Verdict::Segment(scope.segments.resolve(vni, entry)?))),
        Action::Egress { port } => {
            let port = scope.port(port, entry, PortRole::Egress(entry()))?;
            Ok(plain(Verdict::Egress(port)))
        }
        Action::Drop => Ok(plain(Verdict::Drop)),
    }
}

/// The path's MTU as given; else what fits our own tunnels if the path has one here.
fn path_mtu(tables: &Tables, known: &Known, nsh_len: usize) -> u16 {
    match (known.mtu, &tables.underlay, known.outer) {
        (Some(mtu), _, _) => mtu,
        (None, Some(underlay), Some(outer)) => {
            let headers = outer + nsh_len + ethernet::HEADER_LEN;
            room(underlay.mtu, headers)
        }
        _ => u16::MAX,
    }
}

/// A hop is copied into each rule: it must stay small.
const _: () = assert!(size_of::<Hop>() <= 16);
