//! How a service is on the network. There are two ways: an address of its own in the cluster's
//! segment, or the box's own network; no port is mapped to another.

use super::spot::Spot;
use crate::resource::{ServiceNetwork, ServicePort, ServiceSpec};
use kc_forwarder_api::Protocol;
use std::net::IpAddr;

/// Most ports in a range.
const MOST: u16 = 100;

/// One entry of `ports`.
struct Port<'a> {
    spot: Spot<'a>,
    /// Address of the box, when it is not all of them.
    host_ip: Option<String>,
    /// First port on the box.
    published: Option<u16>,
    /// First and last port in the container.
    target: (u16, u16),
    protocol: Protocol,
}

pub(super) fn network(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    let host = match spot.get("network_mode") {
        None => false,
        Some(mode) => match mode.text() {
            Some("host") => true,
            Some(other) => {
                mode.wrong(
                    format!("{other:?} is no way to be on the network here"),
                    "write host for the box's own, or leave it out for an address in the cluster's segment",
                );
                false
            }
            None => false,
        },
    };
    memberships(spot);
    let ports = spot
        .get("ports")
        .map_or_else(Vec::new, |ports| ports.list());
    let ports: Vec<_> = ports.iter().filter_map(port).collect();
    let published = ports.iter().any(|port| port.published.is_some());
    for port in &ports {
        let last = port.target.0..=port.target.1;
        for number in last {
            add(spec, number, port.protocol);
        }
        if host
            && port
                .published
                .is_some_and(|published| published != port.target.0)
        {
            port.spot
                .warn("on the box's network the port is the one that the program listens on");
        }
    }
    if host || published {
        spec.network = ServiceNetwork::Host;
        parameters(spot);
    }
    if published && !host {
        publish(&ports);
    }
    for (text, at) in spot
        .get("expose")
        .map_or_else(Vec::new, |expose| expose.texts())
    {
        match range(text.split('/').next().unwrap_or_default()) {
            Some((first, last)) => {
                let protocol = protocol(text.split_once('/').map_or("tcp", |(_, name)| name));
                for number in first..=last {
                    add(spec, number, protocol.unwrap_or(Protocol::TCP));
                }
            }
            None => at.wrong(
                format!("{text:?} is no port"),
                "write such as 8080 or 8080/udp",
            ),
        }
    }
}

/// Kernel parameters of the network are the box's where the network is.
fn parameters(spot: &Spot<'_>) {
    let Some(sysctls) = spot.get("sysctls") else {
        return;
    };
    sysctls.wrong(
        "on the box's network its kernel parameters are those of the box",
        "set them on the box in /etc/sysctl.d, and leave them out here",
    );
}

/// Ports of the box are had by being on its network, which takes equal numbers.
fn publish(ports: &[Port<'_>]) {
    let mut equal = Vec::new();
    for port in ports {
        let Some(published) = port.published else {
            continue;
        };
        let (target, number) = (port.target.0, published);
        if let Some(ip) = &port.host_ip {
            port.spot.wrong(
                format!("ports are opened on every address of the box, not on {ip} alone"),
                format!("write {number}:{target}, or leave the port out for an address in the cluster's segment"),
            );
        } else if number == target {
            equal.extend((!equal.contains(&number)).then_some(number));
        } else {
            port.spot.wrong(
                format!("no port is mapped to another: {number} of the box cannot be {target} of the container"),
                format!(
                    "let the program listen on {number} and write {number}:{number}, take {target}:{target}, or write \
                     {target} alone for an address in the cluster's segment"
                ),
            );
        }
    }
    if let (Some(first), false) = (ports.first(), equal.is_empty()) {
        first.spot.warn(format!(
            "it is put on the box's own network for port {}: whatever else it listens on is open there too",
            equal.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
        ));
    }
}

fn add(spec: &mut ServiceSpec, port: u16, protocol: Protocol) {
    let protocol = (protocol != Protocol::TCP).then_some(protocol);
    let new = ServicePort { port, protocol };
    if !spec.ports.contains(&new) {
        spec.ports.push(new);
    }
}

fn port<'a>(spot: &Spot<'a>) -> Option<Port<'a>> {
    match spot.is_map() {
        true => long(spot),
        false => short(spot),
    }
}

const SHORT: &str = "write PORT, or BOX-PORT:PORT, with /udp behind it if need be";

/// `[[ADDRESS:]BOX-PORT:]PORT[/PROTOCOL]`.
fn short<'a>(spot: &Spot<'a>) -> Option<Port<'a>> {
    let text = spot.text()?;
    let (ports, name) = text.split_once('/').unwrap_or((text, "tcp"));
    let mut parts = ports.rsplitn(3, ':');
    let target = parts.next().and_then(range);
    let on_box = parts.next().filter(|text| !text.is_empty());
    let ip = parts.next().map(|ip| ip.trim_matches(['[', ']']));
    let first = on_box.map(range);
    let odd = first == Some(None) || ip.is_some_and(|ip| ip.parse::<IpAddr>().is_err());
    let (Some(target), Some(protocol), false) = (target, protocol(name), odd) else {
        spot.wrong(format!("{text:?} is no port"), SHORT);
        return None;
    };
    let port = Port {
        spot: spot.clone(),
        host_ip: ip.filter(|ip| !everywhere(ip)).map(str::to_owned),
        published: first.flatten().map(|(first, _)| first),
        target,
        protocol,
    };
    let (wide, narrow) = (first.flatten(), target.1 - target.0);
    if wide.is_some_and(|(first, last)| last - first != narrow) {
        spot.wrong(
            format!("{text:?} has more ports on one side than on the other"),
            SHORT,
        );
        return None;
    }
    Some(port)
}

fn long<'a>(spot: &Spot<'a>) -> Option<Port<'a>> {
    let mut port = Port {
        spot: spot.clone(),
        host_ip: None,
        published: None,
        target: (0, 0),
        protocol: Protocol::TCP,
    };
    for (key, value) in spot.fields(&[
        "target",
        "published",
        "protocol",
        "host_ip",
        "mode",
        "name",
        "app_protocol",
    ]) {
        let text = value.text()?;
        let wrong = || {
            value.wrong(format!("{text:?} is no {key}"), SHORT);
            None::<()>
        };
        match key {
            "target" => match range(text) {
                Some(range) => port.target = range,
                None => wrong()?,
            },
            "published" if text.is_empty() => {}
            "published" => match range(text) {
                Some((first, _)) => port.published = Some(first),
                None => wrong()?,
            },
            "protocol" => match protocol(text) {
                Some(protocol) => port.protocol = protocol,
                None => wrong()?,
            },
            "host_ip" => port.host_ip = (!everywhere(text)).then(|| text.to_owned()),
            _ => {}
        }
    }
    if port.target.0 == 0 {
        spot.wrong("which port of the container?", "write target: PORT");
        return None;
    }
    Some(port)
}

fn everywhere(ip: &str) -> bool {
    matches!(ip, "" | "0.0.0.0" | "::")
}

fn protocol(name: &str) -> Option<Protocol> {
    let known = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
    let protocol = name.to_ascii_lowercase().parse().ok()?;
    known.contains(&protocol).then_some(protocol)
}

/// `80` or `80-89`.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    let good = first > 0 && first <= last && last - first < MOST;
    good.then_some((first, last))
}

/// Networks that a service is in.
fn memberships(spot: &Spot<'_>) {
    let Some(networks) = spot.get("networks").filter(Spot::is_map) else {
        return;
    };
    for (_, network) in networks.map() {
        for (key, value) in network.map() {
            match key {
                "aliases" => value.warn("left out: services have no names on the network"),
                "ipv4_address" | "ipv6_address" | "link_local_ips" | "mac_address" => value.wrong(
                    "addresses are the cluster's to give",
                    "leave it out; kc get services tells which it has",
                ),
                _ => {}
            }
        }
    }
}

/// Replicas on the network of one box would be in each other's way.
pub(super) fn enough_boxes(spot: &Spot<'_>, spec: &ServiceSpec) {
    if spec.network == ServiceNetwork::Host && spec.replicas > 1 && !spec.ports.is_empty() {
        spot.warn(format!(
            "{} replicas with the same ports need as many boxes",
            spec.replicas
        ));
    }
}
