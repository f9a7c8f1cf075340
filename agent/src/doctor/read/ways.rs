//! Echoes of two lengths to the next SFF, by every tunnel that a path leads through: they show a
//! way that takes short packets only, which tunnels' own short probes do not.

use crate::doctor::Echo;
use crate::forwarder::Connection;
use kc_forwarder_api::{
    HealthState, MAX_ECHO, NextHop, Request, Response, Si, Spi, Status, Tables, Transport, Ttl,
    TunnelName,
};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// What an echo may take there and back.
const ECHO_MS: u32 = 1000;
/// What the forwarder may take beyond that.
const PATIENCE: Duration = Duration::from_secs(2);
/// Tunnels measured, of those that live: the forwarder has a few connections only.
const MOST: usize = 8;

/// How to send an echo through a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    tunnel: TunnelName,
    spi: Spi,
    si: Si,
    /// Octets of the request that fill a packet.
    size: u16,
    /// Octets in front of them.
    outer: u16,
}

/// Tunnels over UDP that answer, each by the first path that leads through it.
pub(super) fn ways(tables: &Tables, status: &Status) -> Vec<Way> {
    let Some(underlay) = &tables.underlay else {
        return Vec::new();
    };
    let alive = status
        .tunnels
        .iter()
        .filter(|one| one.state == HealthState::Alive);
    let way = |name: &TunnelName| {
        let entry = tables.tunnels.iter().find(|entry| entry.name == *name)?;
        let outer = match entry.transport {
            Transport::VxlanGpe { remote, .. } => overhead(remote),
            Transport::Ethernet { .. } => return None,
        };
        let hops = tables
            .paths
            .iter()
            .flat_map(|path| path.hops.iter().map(|hop| (path.spi, hop)));
        let leads = |to: &NextHop| matches!(to, NextHop::Tunnel { name: next } if next == name);
        let (spi, hop) = hops.into_iter().find(|(_, hop)| leads(&hop.to))?;
        // Whole words (RFC 9516 section 6).
        let size = underlay.mtu.saturating_sub(outer).min(MAX_ECHO) / 4 * 4;
        Some(Way {
            tunnel: name.clone(),
            spi,
            si: hop.si,
            size,
            outer,
        })
    };
    alive.filter_map(|one| way(&one.name)).take(MOST).collect()
}

/// Octets of IP, UDP and VXLAN-GPE.
fn overhead(remote: IpAddr) -> u16 {
    match remote {
        IpAddr::V4(_) => 20 + 8 + 8,
        IpAddr::V6(_) => 40 + 8 + 8,
    }
}

/// Sends the two; `None` where the forwarder refuses.
pub(super) async fn echo(socket: &Path, way: Way) -> Option<Echo> {
    let mut connection = Connection::open(socket).await.ok()?;
    let long = answered(&mut connection, &way, way.size).await?;
    let short = long || answered(&mut connection, &way, 0).await?;
    Some(Echo {
        tunnel: way.tunnel,
        outer: way.size + way.outer,
        long,
        short,
    })
}

async fn answered(connection: &mut Connection, way: &Way, size: u16) -> Option<bool> {
    let echo = kc_forwarder_api::Echo {
        spi: way.spi,
        si: Some(way.si),
        ttl: Some(Ttl::new(1).ok()?),
        timeout_ms: ECHO_MS,
        size,
    };
    let patience = PATIENCE + Duration::from_millis(ECHO_MS.into());
    let asked = connection
        .ask_within(&Request::Echo { echo }, patience)
        .await;
    match asked.ok()? {
        Response::Echo { reply } => Some(reply.is_some()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_forwarder_api::{TunnelStatus, Underlay};

    #[test]
    fn an_echo_fills_a_packet_of_every_living_tunnel_that_a_path_takes() {
        let tables: Tables = toml::from_str(
            r#"
            [underlay]
            address = ["192.0.2.1", "fd00::1"]
            [[tunnels]]
            name = "box2"
            transport = { vxlan-gpe = { remote = "192.0.2.2", vni = 100 } }
            [[tunnels]]
            name = "box3"
            transport = { vxlan-gpe = { remote = "fd00::3", vni = 100 } }
            [[tunnels]]
            name = "idle"
            transport = { vxlan-gpe = { remote = "192.0.2.4", vni = 100 } }
            [[tunnels]]
            name = "dead"
            transport = { vxlan-gpe = { remote = "192.0.2.5", vni = 100 } }
            [[paths]]
            spi = 2
            hops = [
                { si = 255, to = { function = { name = "fw-1" } } },
                { si = 254, to = { tunnel = { name = "box2" } } },
                { si = 252, to = { tunnel = { name = "box3" } } },
                { si = 251, to = { tunnel = { name = "dead" } } },
            ]
            "#,
        )
        .unwrap();
        let tunnels = [
            ("box2", true),
            ("box3", true),
            ("idle", true),
            ("dead", false),
        ];
        let status = Status {
            version: String::new(),
            pid: 1,
            generation: 1,
            uptime_ms: 0,
            threads: 1,
            ports: vec![],
            underlay: None,
            tunnels: tunnels
                .map(|(name, alive)| TunnelStatus {
                    name: TunnelName::new(name).unwrap(),
                    state: if alive {
                        HealthState::Alive
                    } else {
                        HealthState::Dead
                    },
                    since_ms: 0,
                    rtt_us: None,
                })
                .into(),
            functions: vec![],
            neighbours: vec![],
            fast_path: None,
        };
        let found = ways(&tables, &status);
        let short: Vec<_> = found
            .iter()
            .map(|way| (way.tunnel.to_string(), way.si.get(), way.size, way.outer))
            .collect();
        assert_eq!(
            short,
            [
                ("box2".to_owned(), 254, 1464, 36),
                ("box3".to_owned(), 252, 1444, 56)
            ]
        );
        let alone = Tables {
            underlay: None,
            ..tables.clone()
        };
        assert_eq!(ways(&alone, &status), []);
        let jumbo = Tables {
            underlay: tables.underlay.map(|underlay| Underlay {
                mtu: 9216,
                ..underlay
            }),
            ..tables
        };
        assert_eq!(ways(&jumbo, &status)[0].size, MAX_ECHO);
    }
}
