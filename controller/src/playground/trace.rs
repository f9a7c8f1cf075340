//! Follows a service path through the tables that the forwarders have in force: what packets
//! really do, whatever the controller believes. Pure.

use super::control::Snapshots;
use anyhow::{Result, bail};
use kc_forwarder_api::{Action, Direction, NextHop, Si, Spi};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One look-up of (SPI, SI) on one box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    /// The box.
    pub(super) node: String,
    /// Service path.
    pub(super) spi: Spi,
    /// Service index.
    pub(super) si: Si,
    /// What it leads to.
    pub(super) to: Step,
}

/// Where a look-up leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A function on the same box.
    Function {
        /// Instance.
        name: String,
        /// Which way through it.
        direction: Direction,
    },
    /// Another box.
    Tunnel {
        /// Its name.
        node: String,
        /// Its VTEP.
        remote: IpAddr,
    },
    /// The end: out of this port.
    Egress {
        /// Port.
        port: String,
    },
}

/// Longest path that is followed: every index once, and a tunnel before each.
const LONGEST: usize = 512;

/// The path that frames entering `node` by `port` take.
pub(super) fn follow(boxes: &Snapshots, node: &str, port: &str) -> Result<Vec<Hop>> {
    let vteps: BTreeMap<IpAddr, &String> = boxes
        .iter()
        .filter_map(|(name, snapshot)| Some((name, snapshot.tables.underlay.as_ref()?)))
        .flat_map(|(name, underlay)| underlay.address.iter().map(move |address| (address, name)))
        .collect();
    let (spi, mut si) = entry(boxes, node, port)?;
    let mut at = node.to_owned();
    let mut hops = Vec::new();
    while hops.len() < LONGEST {
        let to = look_up(boxes, &vteps, &at, spi, si)?;
        hops.push(Hop {
            node: at.clone(),
            spi,
            si,
            to: to.clone(),
        });
        match to {
            Step::Egress { .. } => return Ok(hops),
            Step::Tunnel { node, .. } => at = node,
            Step::Function { .. } => {
                let Some(lower) = si.next() else {
                    bail!("the service index of path {spi} runs out on {at}");
                };
                si = lower;
            }
        }
    }
    bail!("path {spi} never ends: it turns in a circle")
}

/// The first rule for `port` that starts a path.
fn entry(boxes: &Snapshots, node: &str, port: &str) -> Result<(Spi, Si)> {
    let Some(snapshot) = boxes.get(node) else {
        bail!("there is no box {node}");
    };
    let start = snapshot.tables.rules.iter().find_map(|rule| {
        let here = rule
            .matches
            .port
            .as_ref()
            .is_none_or(|name| name.to_string() == port);
        match rule.action {
            Action::Path { spi, si, .. } if here => Some((spi, si)),
            _ => None,
        }
    });
    match start {
        Some(start) => Ok(start),
        None => bail!("no path starts at {port} on {node}"),
    }
}

fn look_up(
    boxes: &Snapshots,
    vteps: &BTreeMap<IpAddr, &String>,
    node: &str,
    spi: Spi,
    si: Si,
) -> Result<Step> {
    let Some(snapshot) = boxes.get(node) else {
        bail!("path {spi} leads to {node}, which is no box here");
    };
    let tables = &snapshot.tables;
    let path = tables.paths.iter().find(|path| path.spi == spi);
    let hop = path.and_then(|path| path.hops.iter().find(|hop| hop.si == si));
    match hop.map(|hop| &hop.to) {
        None => bail!("{node} knows no next hop for path {spi} at index {si}"),
        Some(NextHop::Function { name, direction }) => Ok(Step::Function {
            name: name.to_string(),
            direction: *direction,
        }),
        Some(NextHop::Egress { port }) => Ok(Step::Egress {
            port: port.to_string(),
        }),
        Some(NextHop::Segment { vni }) => Ok(Step::Egress {
            port: format!("segment {vni}"),
        }),
        // The controller chooses instances itself; a group is a person's own.
        Some(NextHop::Group { name, .. }) => {
            bail!("group {name} of {node} spreads flows; which way depends on each")
        }
        Some(NextHop::Tunnel { name }) => {
            let tunnel = tables.tunnels.iter().find(|tunnel| tunnel.name == *name);
            let remote = tunnel.and_then(|tunnel| tunnel.transport.vtep());
            match remote.and_then(|remote| Some((remote, vteps.get(&remote)?))) {
                Some((remote, node)) => Ok(Step::Tunnel {
                    node: (*node).clone(),
                    remote,
                }),
                None => bail!("tunnel {name} of {node} leads to no box here"),
            }
        }
    }
}

/// Packets counted at a hop, in one snapshot.
pub(super) fn packets(boxes: &Snapshots, hop: &Hop) -> u64 {
    boxes.get(&hop.node).map_or(0, |snapshot| {
        let paths = snapshot.counters.paths.iter();
        paths
            .filter(|path| path.spi == hop.spi && path.si == hop.si)
            .map(|path| path.packets)
            .sum()
    })
}

#[cfg(test)]
mod tests {
    use super::super::control::Snapshot;
    use super::*;

    fn boxes() -> Snapshots {
        let of = |text: &str| Snapshot {
            tables: toml::from_str(text).unwrap(),
            ..Snapshot::default()
        };
        let box1 = of(r#"
            underlay = { address = "192.168.50.1" }
            tunnels = [{ name = "box2", transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } } }]
            rules = [
                { name = "web", match = { port = "client0" }, action = { path = { spi = 2, si = 255 } } },
            ]
            [[paths]]
            spi = 2
            hops = [
                { si = 255, to = { function = { name = "firewall-1" } } },
                { si = 254, to = { tunnel = { name = "box2" } } },
            ]"#);
        let box2 = of(r#"
            underlay = { address = "192.168.50.2" }
            [[paths]]
            spi = 2
            hops = [
                { si = 254, to = { function = { name = "dpi-1" } } },
                { si = 253, to = { egress = { port = "server0" } } },
            ]"#);
        Snapshots::from([("box1".into(), box1), ("box2".into(), box2)])
    }

    #[test]
    fn a_path_is_followed_through_functions_and_tunnels_to_its_end() {
        let hops = follow(&boxes(), "box1", "client0").unwrap();
        let text: Vec<_> = hops
            .iter()
            .map(|hop| format!("{} {} {:?}", hop.node, hop.si, hop.to))
            .collect();
        assert_eq!(text.len(), 4, "{text:#?}");
        assert!(text[0].starts_with("box1 255 Function"));
        assert!(text[1].starts_with("box1 254 Tunnel"));
        assert!(text[2].starts_with("box2 254 Function"));
        assert!(text[3].starts_with("box2 253 Egress"));
    }

    #[test]
    fn a_gap_is_named() {
        let mut boxes = boxes();
        boxes.get_mut("box2").unwrap().tables.paths.clear();
        let error = follow(&boxes, "box1", "client0").unwrap_err();
        assert_eq!(
            error.to_string(),
            "box2 knows no next hop for path 2 at index 254"
        );
        let error = follow(&boxes, "box1", "server0").unwrap_err();
        assert_eq!(error.to_string(), "no path starts at server0 on box1");
    }
}
