//! Each overlay service's virtual address, 10.128.0.1 to 10.128.0.254: its own for as long as it
//! exists. One that is free again is given away as late as possible, because there may be clients
//! who still mean the service that had it.

use super::State;
use super::draft::Draft;
use crate::resource::{Kind, Name, ResourceId, ServiceNetwork};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Addresses that were given away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualAddresses {
    /// By service: the last octet.
    given: BTreeMap<Name, u8>,
    /// The one that was given away last.
    last: u8,
}

impl VirtualAddresses {
    /// Whether none was ever given away.
    pub fn is_unused(&self) -> bool {
        *self == Self::default()
    }

    /// The next one that is free, after the one that was given away last.
    fn next(&self) -> Option<u8> {
        let taken: BTreeSet<u8> = self.given.values().copied().collect();
        let mut all = (self.last..=254).skip(1).chain(1..=self.last);
        all.find(|octet| *octet != 0 && !taken.contains(octet))
    }
}

impl State {
    /// The virtual address of a service.
    pub fn virtual_address(&self, owner: &ResourceId) -> Option<Ipv4Addr> {
        let octet = self.virtuals.given.get(&owner.name)?;
        (owner.kind == Kind::Service).then(|| Ipv4Addr::new(10, 128, 0, *octet))
    }
}

/// Gives every overlay service an address, and takes back those of services that are no more.
pub(super) fn settle(draft: &mut Draft<'_>) {
    let state = &mut draft.state;
    let exists = |name: &Name| {
        let id = ResourceId::new(Kind::Service, name.clone());
        state.owner(&id).is_some()
    };
    let gone: Vec<_> = state
        .virtuals
        .given
        .keys()
        .filter(|name| !exists(name))
        .cloned()
        .collect();
    for name in gone {
        state.virtuals.given.remove(&name);
    }
    let wanting = state.services().filter(|service| {
        let name = &service.metadata.name;
        service.spec.network == ServiceNetwork::Overlay && !state.virtuals.given.contains_key(name)
    });
    let wanting: Vec<_> = wanting
        .map(|service| service.metadata.name.clone())
        .collect();
    for name in wanting {
        if let Some(octet) = state.virtuals.next() {
            state.virtuals.given.insert(name, octet);
            state.virtuals.last = octet;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_round_and_none_is_given_twice() {
        let mut virtuals = VirtualAddresses::default();
        for number in 1..=254 {
            let octet = virtuals.next().unwrap();
            assert_eq!(octet, number);
            virtuals
                .given
                .insert(Name::new(format!("s{number}")).unwrap(), octet);
            virtuals.last = octet;
        }
        assert_eq!(virtuals.next(), None);
        virtuals.given.remove(&Name::new("s7").unwrap());
        virtuals.given.remove(&Name::new("s9").unwrap());
        assert_eq!(virtuals.next(), Some(7));
        virtuals.last = 8;
        assert_eq!(virtuals.next(), Some(9), "7 was used more lately");
    }
}
