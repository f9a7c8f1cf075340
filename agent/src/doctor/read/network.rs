//! Interfaces, and the kernel's switches for them.

use super::files::text;
use crate::config::Settings;
use crate::doctor::{Forwarder, Network};
use crate::wiring;
use std::path::Path;

/// Looks at interfaces; MTU and address that the forwarder's tables name win over the settings.
pub(super) async fn network(settings: &Settings, forwarder: &Forwarder) -> Network {
    let tables = match forwarder {
        Forwarder::Answers { tables, .. } => tables.underlay.as_ref(),
        _ => None,
    };
    let found = wiring::underlay(settings.vtep, settings.underlay_mtu).await;
    let address = found.ok().and_then(|underlay| underlay.address);
    let links = wiring::host().await.unwrap_or_default();
    let carries = |link: &crate::reconcile::SeenLink| {
        link.addresses.iter().any(|net| Some(net.addr()) == address)
    };
    let interface = links.iter().find(|(_, link)| carries(link));
    let interface = interface.map(|(name, link)| (name.clone(), link.mtu, link.up));
    let ways = links
        .values()
        .filter(|link| link.up && (link.gateway.is_some() || carries(link)));
    let switch = |name: &str| text(&Path::new("/proc/sys/net/ipv4").join(name));
    let name = interface.as_ref().map(|(name, ..)| name);
    Network {
        address,
        wanted_mtu: tables
            .map(|underlay| underlay.mtu)
            .or(settings.underlay_mtu),
        ways: ways.count(),
        ip_forward: switch("ip_forward"),
        rp_filter_all: switch("conf/all/rp_filter"),
        rp_filter: name.and_then(|name| switch(&format!("conf/{name}/rp_filter"))),
        interface,
    }
}
