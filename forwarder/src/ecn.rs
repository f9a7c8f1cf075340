//! Explicit congestion notification and DSCP through tunnels over UDP: what the outer header says
//! of a packet, and what becomes of a mark that it met on the way. RFC 6040, normal mode.
//!
//! The DSCP is copied outwards, so that the underlay can honour it, and never back: RFC 2983 has
//! that as the pipe model's egress. A peer that copies none would clear everybody's otherwise.

use crate::wire::{checksum, ethernet::ethertype};

/// The two bits of ECN in a traffic class.
const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_0: u8 = 0b10;
const ECT_1: u8 = 0b01;
const CE: u8 = 0b11;

/// A packet met congestion, and its sender would not understand the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotCapable;

/// The outer traffic class for a packet of kind `network`, an EtherType: the inner one; zero for
/// what is not IP.
///
/// RFC 6040 section 4.1: "To comply with this specification, each tunnel ingress in normal mode
/// MUST copy the inner ECN field into the outer IP header".
pub(crate) fn outer(network: u16, packet: &[u8]) -> u8 {
    match (network, packet) {
        (ethertype::IPV4, [0x45..=0x4f, class, ..]) => *class,
        (ethertype::IPV6, [first @ 0x60..=0x6f, second, ..]) => (first << 4) | (second >> 4),
        _ => 0,
    }
}

/// Takes the mark that the outer header's traffic class `outer` brings over into a packet of kind
/// `network`, by the table of RFC 6040 section 4.2. An IPv4 header's checksum goes along.
///
/// # Errors
/// "the packet MUST be dropped": congestion was met, and the packet is not ECN-capable.
pub(crate) fn arrive(outer: u8, network: u16, packet: &mut [u8]) -> Result<(), NotCapable> {
    let new = match (self::outer(network, packet) & ECN, outer & ECN) {
        _ if !matches!(network, ethertype::IPV4 | ethertype::IPV6) => return Ok(()),
        (NOT_ECT, CE) => return Err(NotCapable),
        (ECT_0 | ECT_1, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        _ => return Ok(()),
    };
    put(network, packet, new);
    Ok(())
}

/// Writes the ECN field.
fn put(network: u16, packet: &mut [u8], ecn: u8) {
    if network == ethertype::IPV6 {
        if let Some(octet) = packet.get_mut(1) {
            *octet = (*octet & !(ECN << 4)) | (ecn << 4);
        }
        return;
    }
    let Some([version, class, rest @ ..]) = packet.get_mut(..12) else {
        return;
    };
    let old = [*version, *class];
    *class = (*class & !ECN) | ecn;
    if let Some(sum) = rest.last_chunk_mut::<2>() {
        let new = checksum::update_slice(u16::from_be_bytes(*sum), &old, &[*version, *class]);
        *sum = new.to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ipv4, ipv6};

    /// An IP packet with this traffic class.
    fn packet(network: u16, class: u8) -> Vec<u8> {
        if network == ethertype::IPV4 {
            let mut packet = vec![0; 24];
            ipv4::Repr {
                source: [10, 0, 0, 1].into(),
                destination: [10, 0, 0, 2].into(),
                protocol: 17,
                payload_len: 4,
                ttl: 64,
                tos: class,
                ident: 7,
                dont_fragment: true,
            }
            .emit(&mut packet);
            return packet;
        }
        let mut packet = vec![0; 44];
        ipv6::Repr {
            source: std::net::Ipv6Addr::LOCALHOST,
            destination: std::net::Ipv6Addr::LOCALHOST,
            next_header: 17,
            payload_len: 4,
            hop_limit: 64,
            traffic_class: class,
            flow_label: 0xf_ffff,
        }
        .emit(&mut packet);
        packet
    }

    const FAMILIES: [u16; 2] = [ethertype::IPV4, ethertype::IPV6];

    #[test]
    fn the_outer_header_gets_the_inner_class_whole() {
        for network in FAMILIES {
            for class in 0..=255 {
                assert_eq!(outer(network, &packet(network, class)), class);
            }
        }
        assert_eq!(outer(ethertype::ARP, &[0x45, 0xff]), 0);
        assert_eq!(outer(ethertype::IPV4, &[0x65, 0xff]), 0);
        assert_eq!(outer(ethertype::IPV4, &[0x45]), 0);
    }

    #[test]
    fn every_cell_of_rfc_6040s_table_is_as_the_rfc_has_it() {
        // Figure 4: rows are the arriving inner field, columns the arriving outer field, in the
        // order Not-ECT, ECT(0), ECT(1), CE.
        let order = [NOT_ECT, ECT_0, ECT_1, CE];
        let table = [
            [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None],
            [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)],
            [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)],
            [Some(CE), Some(CE), Some(CE), Some(CE)],
        ];
        for (inner, row) in order.into_iter().zip(table) {
            for (arriving, wanted) in order.into_iter().zip(row) {
                for (network, dscp) in FAMILIES.into_iter().zip([0xb8, 0x28]) {
                    let mut changed = packet(network, dscp | inner);
                    let before = changed.clone();
                    // The outer DSCP says something else and is not taken over.
                    let result = arrive(0x40 | arriving, network, &mut changed);
                    match wanted {
                        Some(ecn) => {
                            assert_eq!(result, Ok(()));
                            assert_eq!(changed, packet(network, dscp | ecn));
                        }
                        None => {
                            assert_eq!((result, &changed), (Err(NotCapable), &before));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_ip_passes_whatever_it_met() {
        let mut arp = [0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0];
        assert_eq!(arrive(CE, ethertype::ARP, &mut arp), Ok(()));
        assert_eq!(arp, [0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0]);
    }
}
