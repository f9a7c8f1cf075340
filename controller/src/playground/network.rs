//! The underlay and the two ends: one namespace as a switch, one for each box, the hub, the
//! client and the server, joined by veth pairs. The commands are made purely, and run by `ip`.

use super::journal::{Entry, Journal};
use super::launch::output;
use super::layout::{
    CLIENT, CLIENT_ADDRESS, HUB, HUB_ADDRESS, LAN, SERVER, SERVER_ADDRESS, namespaces, sites,
};
use super::namespace::without_ipv6;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `ip -batch` shall do in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Batch {
    namespace: String,
    lines: Vec<String>,
}

/// Makes the namespaces and joins them; `mtu` is the underlay's.
pub(super) fn make(journal: &Journal, boxes: u8, mtu: u16) -> Result<()> {
    root(journal)?;
    for name in namespaces(boxes) {
        journal.note(&Entry::Namespace { name: name.clone() })?;
        output(Command::new("ip").args(["netns", "add", &name]), b"")?;
        without_ipv6(&name)?;
    }
    for batch in plan(boxes, mtu) {
        let mut ip = Command::new("ip");
        ip.args(["-netns", &batch.namespace, "-batch", "-"]);
        output(&mut ip, batch.lines.join("\n").as_bytes())
            .with_context(|| format!("in namespace {}", batch.namespace))?;
    }
    Ok(())
}

/// The first `ip netns add` on a machine makes `/run/netns` and mounts it onto itself.
fn root(journal: &Journal) -> Result<()> {
    let path = PathBuf::from("/run/netns");
    if !path.exists() {
        journal.note(&Entry::Shared { path: path.clone() })?;
    }
    if !super::mounts::points().contains(&path) {
        journal.note(&Entry::Mount { path })?;
    }
    Ok(())
}

fn plan(boxes: u8, mtu: u16) -> Vec<Batch> {
    let mut lan = vec![
        "link set lo up".to_owned(),
        format!("link add br0 mtu {mtu} type bridge stp_state 0 mcast_snooping 0"),
        "link set br0 up".to_owned(),
    ];
    let mut cable = |port: &str, namespace: &str| {
        lan.push(format!(
            "link add {port} mtu {mtu} type veth peer name under0 mtu {mtu} netns {namespace}"
        ));
        lan.push(format!("link set {port} master br0 up"));
    };
    cable("hub", HUB);
    for site in sites(boxes) {
        cable(&site.name, &site.namespace());
    }
    let up = |address: std::net::Ipv4Addr, interface: &str| {
        vec![
            "link set lo up".to_owned(),
            format!("address add {address}/24 dev {interface}"),
            format!("link set {interface} up"),
        ]
    };
    let mut batches = vec![Batch {
        namespace: LAN.to_owned(),
        lines: lan,
    }];
    batches.push(Batch {
        namespace: HUB.to_owned(),
        lines: up(HUB_ADDRESS, "under0"),
    });
    for (place, site) in sites(boxes).iter().enumerate() {
        let mut lines = up(site.address, "under0");
        let mut end = |port: &str, namespace: &str| {
            lines.push(format!(
                "link add {port} type veth peer name eth0 netns {namespace}"
            ));
            lines.push(format!("link set {port} up"));
        };
        if place == 0 {
            end("client0", CLIENT);
        }
        if place + 1 == usize::from(boxes) {
            end("server0", SERVER);
        }
        batches.push(Batch {
            namespace: site.namespace(),
            lines,
        });
    }
    for (namespace, address) in [(CLIENT, CLIENT_ADDRESS), (SERVER, SERVER_ADDRESS)] {
        batches.push(Batch {
            namespace: namespace.to_owned(),
            lines: up(address, "eth0"),
        });
    }
    batches
}

/// Whether a path is on overlayfs, where Docker's overlay2 driver cannot work.
pub(super) fn on_overlay(path: &Path) -> bool {
    nix::sys::statfs::statfs(path)
        .is_ok_and(|facts| facts.filesystem_type() == nix::sys::statfs::OVERLAYFS_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_is_behind_the_first_box_and_server_behind_the_last() {
        let plan = plan(3, 1500);
        let with = |text: &str| {
            plan.iter()
                .filter(|batch| batch.lines.iter().any(|line| line.contains(text)))
                .map(|batch| batch.namespace.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(with("add client0"), ["kcpg-box1"]);
        assert_eq!(with("add server0"), ["kcpg-box3"]);
        assert_eq!(with("master br0"), [LAN]);
        assert_eq!(with("192.168.50.254/24"), [HUB]);
    }

    #[test]
    fn one_box_has_both_ends() {
        let plan = plan(1, 1400);
        let only = plan.iter().find(|batch| batch.namespace == "kcpg-box1");
        let text = only.unwrap().lines.join("\n");
        assert!(text.contains("client0") && text.contains("server0"));
        assert!(plan[0].lines[1].contains("mtu 1400"));
    }
}
