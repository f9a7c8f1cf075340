//! What can be judged about one entry of the tables without looking at the others.

use super::error::{Conflict, Entry, Kind, TableError};
use ipnet::IpNet;
use kc_forwarder_api::{Attachment, Match, Protocol, Tables, Underlay, bounds};
use std::net::IpAddr;

/// RFC 791 section 3.2: every internet module must be able to forward a datagram of 68 octets.
const MIN_MTU: u16 = 68;

/// Room for outer headers, NSH with full context and a minimal inner frame.
const MIN_UNDERLAY_MTU: u16 = 512;

/// Holds every list to its bound.
pub(super) fn bounds(tables: &Tables) -> Result<(), TableError> {
    let hops = tables.paths.iter().map(|path| path.hops.len()).sum();
    let lists = [
        (Kind::Port, tables.ports.len(), bounds::PORTS),
        (Kind::Tunnel, tables.tunnels.len(), bounds::TUNNELS),
        (Kind::Function, tables.functions.len(), bounds::FUNCTIONS),
        (Kind::Group, tables.groups.len(), bounds::GROUPS),
        (Kind::Rule, tables.rules.len(), bounds::RULES),
        (Kind::Path, tables.paths.len(), bounds::PATHS),
        (Kind::Hop, hops, bounds::ALL_HOPS),
        (Kind::Segment, tables.segments.len(), bounds::SEGMENTS),
    ];
    for (kind, count, max) in lists {
        if count > max {
            return Err(TableError::TooMany { kind, count, max });
        }
    }
    for port in &tables.ports {
        let entry = || Entry::Port(port.name.clone());
        within(
            entry,
            Kind::Address,
            port.addresses.len(),
            bounds::ADDRESSES,
        )?;
    }
    for path in &tables.paths {
        let entry = || Entry::Path(path.spi);
        within(entry, Kind::Hop, path.hops.len(), bounds::HOPS)?;
    }
    for group in &tables.groups {
        let (entry, kind) = (|| Entry::Group(group.name.clone()), Kind::GroupMember);
        within(entry, kind, group.members.len(), bounds::GROUP_MEMBERS)?;
    }
    for segment in &tables.segments {
        let entry = || Entry::Segment(segment.vni);
        within(entry, Kind::Member, segment.ports.len(), bounds::MEMBERS)?;
        within(entry, Kind::Peer, segment.peers.len(), bounds::PEERS)?;
        let entries = segment.entries.len();
        within(entry, Kind::StaticEntry, entries, bounds::ENTRIES)?;
        let virtuals = &segment.virtuals;
        let kind = Kind::VirtualAddress;
        within(entry, kind, virtuals.len(), bounds::VIRTUALS)?;
        for address in virtuals {
            let (kind, members) = (Kind::VirtualMember, address.members.len());
            within(entry, kind, members, bounds::VIRTUAL_MEMBERS)?;
        }
    }
    Ok(())
}

/// What is asked for life is asked at a sensible pace, and by an address only where it has one.
pub(super) fn liveness(tables: &Tables) -> Result<(), TableError> {
    let tunnels = tables.tunnels.iter().map(|tunnel| {
        let entry = Entry::Tunnel(tunnel.name.to_string());
        (entry, &tunnel.liveness, false)
    });
    let functions = tables.functions.iter().map(|function| {
        let one_leg = matches!(function.attachment, Attachment::OneLeg { .. });
        let entry = Entry::Function(function.name.clone());
        (entry, &function.liveness, one_leg)
    });
    for (entry, liveness, by_address) in tunnels.chain(functions) {
        let Some(liveness) = liveness else { continue };
        let sensible = (10..=60_000).contains(&liveness.interval_ms)
            && (2..=100).contains(&liveness.multiplier);
        if !sensible {
            return Err(TableError::Liveness(entry));
        }
        match liveness.address {
            Some(address) if !(by_address && address.is_ipv4()) => {
                return Err(TableError::LivenessAddress { entry, address });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Holds one list of an entry to its bound.
fn within(
    entry: impl FnOnce() -> Entry,
    kind: Kind,
    count: usize,
    max: usize,
) -> Result<(), TableError> {
    if count <= max {
        return Ok(());
    }
    Err(TableError::TooManyIn {
        entry: entry(),
        kind,
        count,
        max,
    })
}

/// Refuses an MTU that carries nothing.
pub(super) fn mtu(entry: impl FnOnce() -> Entry, mtu: Option<u16>) -> Result<(), TableError> {
    match mtu {
        Some(mtu) if mtu < MIN_MTU => Err(TableError::Mtu {
            entry: entry(),
            mtu,
            min: MIN_MTU,
        }),
        _ => Ok(()),
    }
}

/// Our own VTEP.
pub(super) fn underlay(underlay: &Underlay) -> Result<(), TableError> {
    if let Some(address) = underlay.address.iter().find(|&address| !unicast(address)) {
        return Err(TableError::Address {
            entry: Entry::Underlay,
            address,
        });
    }
    if underlay.mtu < MIN_UNDERLAY_MTU {
        let (mtu, min) = (underlay.mtu, MIN_UNDERLAY_MTU);
        return Err(TableError::Mtu {
            entry: Entry::Underlay,
            mtu,
            min,
        });
    }
    Ok(())
}

/// Whether an address can be one station's own.
pub(super) fn unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

/// A remote VTEP: there is an underlay with an address of its family, and it is somebody else.
pub(super) fn vtep(
    tables: &Tables,
    remote: IpAddr,
    entry: impl Fn() -> Entry,
) -> Result<(), TableError> {
    let Some(underlay) = &tables.underlay else {
        return Err(TableError::NoUnderlay(entry()));
    };
    let Some(local) = underlay.address.towards(remote) else {
        return Err(TableError::Family {
            entry: entry(),
            remote,
        });
    };
    if remote == local || !unicast(remote) {
        return Err(TableError::Address {
            entry: entry(),
            address: remote,
        });
    }
    Ok(())
}

/// Conditions of one rule among themselves.
pub(super) fn matches(matches: &Match, entry: impl Fn() -> Entry) -> Result<(), TableError> {
    if let Some(vlan) = matches.vlan.filter(|&vlan| vlan > 4094) {
        return Err(TableError::Vlan {
            entry: entry(),
            vlan,
        });
    }
    let conflict = |conflict| {
        Err(TableError::Contradiction {
            entry: entry(),
            conflict,
        })
    };
    let is_v4 = |net: IpNet| matches!(net, IpNet::V4(_));
    let families = [matches.source.map(is_v4), matches.destination.map(is_v4)];
    if families.contains(&Some(true)) && families.contains(&Some(false)) {
        return conflict(Conflict::Families);
    }
    let ports = matches.source_ports.is_some() || matches.destination_ports.is_some();
    let ported = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
    if ports
        && matches
            .protocol
            .is_some_and(|protocol| !ported.contains(&protocol))
    {
        return conflict(Conflict::Ports);
    }
    let allowed: &[u16] = match families.iter().flatten().next() {
        Some(true) => &[0x0800],
        Some(false) => &[0x86dd],
        None => &[0x0800, 0x86dd],
    };
    let needs_ip = ports || matches.protocol.is_some() || families != [None, None];
    if needs_ip
        && matches
            .ethertype
            .is_some_and(|ethertype| !allowed.contains(&ethertype))
    {
        return conflict(Conflict::EtherType);
    }
    Ok(())
}
