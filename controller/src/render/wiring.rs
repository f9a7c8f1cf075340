//! Names of ports and MAC addresses, all derived from the id an instance was given for life.

use kc_forwarder_api::{Attachment, Function, MacAddr, PortName};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Which leg of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegKind {
    /// Towards the start of forward paths.
    Inside,
    /// Towards the end of forward paths.
    Outside,
    /// The only one.
    Only,
    /// Towards its peers.
    Sync,
}

impl LegKind {
    const fn letter(self) -> char {
        match self {
            Self::Inside => 'i',
            Self::Outside => 'o',
            Self::Only => 'e',
            Self::Sync => 's',
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Only => 0,
            Self::Inside => 1,
            Self::Outside => 2,
            Self::Sync => 3,
        }
    }
}

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// `kc<id in base 36><leg>`: at most ten characters, so that it can be an interface's name.
pub fn port_name(id: u32, leg: LegKind) -> Option<PortName> {
    let mut digits = Vec::new();
    let mut rest = id;
    loop {
        let digit = usize::try_from(rest % 36).unwrap_or(0);
        digits.push(char::from(*DIGITS.get(digit)?));
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    let number: String = digits.into_iter().rev().collect();
    PortName::new(format!("kc{number}{}", leg.letter())).ok()
}

/// `02:6b:<id, three octets>:<leg>`, locally administered.
pub fn mac_address(id: u32, leg: LegKind) -> MacAddr {
    let [_, a, b, c] = id.to_be_bytes();
    MacAddr([0x02, 0x6b, a, b, c, leg.number()])
}

/// MAC address of a box's own leg into the overlay.
pub(super) fn box_mac(index: u32) -> MacAddr {
    let [_, a, b, c] = index.to_be_bytes();
    MacAddr([0x02, 0x6b, a, b, c, 0xff])
}

/// MAC address that a virtual address is told under.
pub(super) fn virtual_mac(address: Ipv4Addr) -> MacAddr {
    let [.., last] = address.octets();
    MacAddr([0x02, 0x6b, 0, 0, last, 0xfe])
}

/// Ports of all functions.
pub(super) fn function_ports(functions: &[Function]) -> BTreeSet<PortName> {
    let ports = functions
        .iter()
        .flat_map(|function| match &function.attachment {
            Attachment::TwoLeg {
                inside, outside, ..
            } => vec![inside.clone(), outside.clone()],
            Attachment::VlanPair { port, .. }
            | Attachment::OneLeg { port, .. }
            | Attachment::NshAware { port, .. } => vec![port.clone()],
        });
    ports.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_names_that_fit() {
        assert_eq!(port_name(0, LegKind::Only).unwrap().as_str(), "kc0e");
        assert_eq!(port_name(36, LegKind::Inside).unwrap().as_str(), "kc10i");
        assert_eq!(
            port_name(u32::MAX, LegKind::Outside).unwrap().as_str(),
            "kc1z141z3o"
        );
        assert_eq!(
            mac_address(258, LegKind::Outside).to_string(),
            "02:6b:00:01:02:02"
        );
        assert!(!mac_address(u32::MAX, LegKind::Only).is_group());
    }
}
