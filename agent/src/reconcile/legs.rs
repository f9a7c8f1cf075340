//! Whether a leg is wired as the document says.

use super::{Observed, Part, SeenLink};
use kc_agent_api::{ContainerSpec, Leg, Network};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Where shared addresses are.
pub(crate) const LOOPBACK: &str = "lo";

/// How a leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegState {
    /// As the document says.
    Wired,
    /// Both ends are there, something about them is not as it should be.
    Drifted,
    /// Not there, or not a pair.
    Missing,
}

/// Judges a leg by the interfaces on its inside and on the box.
pub fn leg_state(
    leg: &Leg,
    inside: Option<&BTreeMap<String, SeenLink>>,
    host: &BTreeMap<String, SeenLink>,
) -> LegState {
    let inner = inside.and_then(|links| links.get(leg.interface.as_str()));
    let (Some(inner), Some(outer)) = (inner, host.get(leg.port.as_str())) else {
        return LegState::Missing;
    };
    let shared = |want: &Ipv4Addr| {
        let lo = inside.and_then(|links| links.get(LOOPBACK));
        lo.is_some_and(|lo| {
            lo.addresses
                .iter()
                .any(|have| have.addr() == IpAddr::V4(*want))
        })
    };
    if inner.peer != Some(outer.index) || outer.peer != Some(inner.index) {
        return LegState::Missing;
    }
    let mtu = u32::from(leg.mtu);
    let right = inner.up
        && outer.up
        && inner.mac == Some(leg.mac)
        && inner.mtu == mtu
        && outer.mtu == mtu
        && leg
            .addresses
            .iter()
            .all(|want| inner.addresses.contains(want))
        && leg.virtual_addresses.iter().all(shared)
        && leg.gateway.is_none_or(|want| inner.gateway == Some(want));
    if right {
        LegState::Wired
    } else {
        LegState::Drifted
    }
}

/// Whether a container sits in its pause's namespace with all of its legs as they shall be.
pub fn is_wired(want: &ContainerSpec, seen: &Observed) -> bool {
    let (name, legs) = match &want.network {
        Network::Host => return true,
        Network::Legs(legs) => (&want.name, legs),
    };
    let Some(pause) = seen.find(name, Part::Pause) else {
        return false;
    };
    let main = seen.find(name, Part::Main);
    let together = main.is_some_and(|main| main.netns == pause.netns);
    let inner = seen.inner.get(&pause.id);
    together
        && legs
            .iter()
            .all(|leg| leg_state(leg, inner, &seen.host) == LegState::Wired)
}
