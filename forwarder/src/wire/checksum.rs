//! The Internet checksum (RFC 1071), its incremental update (RFC 1624), and what is to be made of
//! a checksum that the sender's kernel left for hardware to finish.

use super::{ipv4, ipv6, tcp, udp};
use kc_forwarder_api::Protocol;

/// Sums 16-bit big-endian words; an odd last octet counts as its high half. Feed to [`fold`].
pub fn sum(data: &[u8]) -> u64 {
    let mut total: u64 = 0;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        total += u64::from(u32::from_be_bytes(*word));
    }
    let (words, rest) = rest.as_chunks::<2>();
    for word in words {
        total += u64::from(u16::from_be_bytes(*word));
    }
    if let [last] = rest {
        total += u64::from(*last) << 8;
    }
    total
}

/// Folds a sum into 16 bits; the checksum is its complement.
#[expect(
    clippy::cast_possible_truncation,
    reason = "folding is what makes it fit"
)]
pub const fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The checksum after one 16-bit word changed from `old` to `new`.
///
/// RFC 1624 section 3: "HC' = ~(~HC + ~m + m')".
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

/// The checksum after an even number of octets at an even place changed.
pub fn update_slice(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let complemented = u64::from(!fold(sum(old)));
    !fold(u64::from(!checksum) + complemented + sum(new))
}

/// Sum of the pseudo-header over IPv4 or IPv6. `ip` is a checked packet's octets.
pub fn pseudo_header(source: &[u8], destination: &[u8], protocol: u8, length: usize) -> u64 {
    sum(source) + sum(destination) + u64::from(protocol) + length as u64
}

/// State of the transport checksum of an IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Right.
    Complete,
    /// Holds the sum of the pseudo-header only: the sender's kernel left the rest to hardware.
    Unfinished,
    /// Neither: somebody damaged the packet.
    Wrong,
    /// No checksum here: another protocol, a later fragment, or UDP without one.
    NotApplicable,
}

/// Where the transport checksum of an IP packet is, and what it covers.
#[derive(Debug, Clone, Copy)]
struct Covered {
    start: usize,
    end: usize,
    at: usize,
    pseudo: u64,
}

fn covered(ip: &[u8]) -> Option<Covered> {
    let (protocol, start, end, addresses) = match ip.first()? >> 4 {
        4 => {
            let packet = ipv4::Packet::new_checked(ip).ok()?;
            if packet.is_fragment() {
                return None;
            }
            (
                packet.protocol(),
                packet.header_len(),
                packet.total_len(),
                sum(&ip[12..20]),
            )
        }
        6 => {
            let packet = ipv6::Packet::new_checked(ip).ok()?;
            let upper = packet.upper().filter(|upper| !upper.fragment)?;
            (
                upper.protocol,
                upper.offset,
                packet.total_len(),
                sum(&ip[8..40]),
            )
        }
        _ => return None,
    };
    let (offset, header) = match Protocol(protocol) {
        Protocol::TCP => (tcp::CHECKSUM_AT, tcp::HEADER_LEN),
        Protocol::UDP => (udp::CHECKSUM_AT, udp::HEADER_LEN),
        _ => return None,
    };
    if end - start < header {
        return None;
    }
    let pseudo = addresses + u64::from(protocol) + (end - start) as u64;
    Some(Covered {
        start,
        end,
        at: start + offset,
        pseudo,
    })
}

fn stored(ip: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([ip[at], ip[at + 1]])
}

/// Judges the transport checksum of an IP packet (not frame).
///
/// Cheap when it can be: the whole packet is summed only if the field differs from the
/// pseudo-header's sum, or agrees with both.
pub fn state(ip: &[u8]) -> State {
    let Some(covered) = covered(ip) else {
        return State::NotApplicable;
    };
    let field = stored(ip, covered.at);
    if field == 0 && covered.at - covered.start == udp::CHECKSUM_AT {
        return State::NotApplicable;
    }
    if fold(covered.pseudo + sum(&ip[covered.start..covered.end])) == 0xffff {
        State::Complete
    } else if field == fold(covered.pseudo) {
        State::Unfinished
    } else {
        State::Wrong
    }
}

/// Finishes a checksum that holds only the pseudo-header's sum; anything else stays as it is.
/// Whether it did.
pub fn finish(ip: &mut [u8]) -> bool {
    let Some(covered) = covered(ip) else {
        return false;
    };
    // One packet in 65,536 holds this value and is complete; only that one is summed for nothing.
    if stored(ip, covered.at) != fold(covered.pseudo) || state(ip) != State::Unfinished {
        return false;
    }
    fill(ip);
    true
}

/// Computes the transport checksum of an IP packet from nothing. Whether there is one.
pub fn fill(ip: &mut [u8]) -> bool {
    let Some(covered) = covered(ip) else {
        return false;
    };
    ip[covered.at..covered.at + 2].fill(0);
    let total = fold(covered.pseudo + sum(&ip[covered.start..covered.end]));
    // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
    let checksum = if total == 0xffff { 0xffff } else { !total };
    ip[covered.at..covered.at + 2].copy_from_slice(&checksum.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn datagram(payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(payload.len()).unwrap();
        let mut ip = vec![0; 28];
        ipv4::Repr {
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            protocol: 17,
            payload_len: len + 8,
            ttl: 64,
            tos: 0,
            ident: 0,
            dont_fragment: true,
        }
        .emit(&mut ip);
        udp::Repr {
            source: 1000,
            destination: 53,
            payload_len: len,
        }
        .emit(&mut ip[20..]);
        ip.extend(payload);
        ip
    }

    fn open(ip: &mut [u8]) {
        let covered = covered(ip).unwrap();
        let field = fold(covered.pseudo);
        ip[covered.at..covered.at + 2].copy_from_slice(&field.to_be_bytes());
    }

    #[test]
    fn rfc_1071_example_sums_as_printed() {
        assert_eq!(
            fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])),
            0xddf2
        );
    }

    proptest! {
        #[test]
        fn an_unfinished_checksum_is_finished_once(payload in proptest::collection::vec(any::<u8>(), 1..200)) {
            let mut ip = datagram(&payload);
            open(&mut ip);
            if state(&ip) == State::Unfinished {
                prop_assert!(finish(&mut ip));
            }
            prop_assert_eq!(state(&ip), State::Complete);
            prop_assert!(!finish(&mut ip));
        }

        #[test]
        fn damage_is_never_repaired(payload in proptest::collection::vec(any::<u8>(), 4..200), bit in 0usize..16) {
            let mut ip = datagram(&payload);
            fill(&mut ip);
            // A sum that happens to be the pseudo-header's looks the same open and finished.
            let pseudo = fold(covered(&ip).unwrap().pseudo);
            prop_assume!(ip[26..28] != pseudo.to_be_bytes());
            ip[28 + bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(state(&ip), State::Wrong);
            prop_assert!(!finish(&mut ip));
        }

        #[test]
        fn an_update_equals_a_new_sum(mut data in proptest::collection::vec(any::<u8>(), 20..21), new in any::<[u8; 4]>()) {
            let before = !fold(sum(&data));
            let after = update_slice(before, &data[4..8], &new);
            data[4..8].copy_from_slice(&new);
            let fresh = !fold(sum(&data));
            // Both zeros mean the same number.
            prop_assert!(after == fresh || (after ^ fresh) == 0xffff);
        }
    }
}
