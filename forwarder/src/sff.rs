//! What an SFF does to an NSH, as octets: what it refuses, its TTL, its service path header.
//! RFC 8300 section 2.2 and 2.3. Where a packet goes next is in the tables.
//!
//! **TTL.** An SFF decrements it once for a packet that reaches it with an NSH, from another SFF
//! or from an NSH-aware function. It does not when its own classifier starts the path, nor when
//! its own SFC proxy puts the header back: the packet has not reached another SFF in between, and
//! SI, which the proxy decrements itself, ends any loop there.

use crate::wire::Error;
use crate::wire::ethernet::ethertype;
use crate::wire::nsh::{self, Context, MetadataRepr, NextProtocol, Packet, Repr};
use crate::wire::sfc_oam;
use kc_forwarder_api::{DropReason, Metadata, Ttl};

/// An NSH that may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Its length.
    pub(crate) length: usize,
    /// SPI and SI as they stand.
    pub(crate) path: u32,
    /// What follows.
    pub(crate) next: NextProtocol,
    /// Its TTL after this hop.
    pub(crate) ttl: Ttl,
}

/// Looks at a packet that reached this SFF with an NSH in front.
pub(crate) fn arrive(octets: &[u8]) -> Result<Arrived, DropReason> {
    let (length, next, oam, ttl) = match plain(octets) {
        Some((length, next, ttl)) => (length, next, false, ttl),
        None => {
            let packet = Packet::new_checked(octets).map_err(|error| refusal(&error))?;
            (
                packet.header_len(),
                packet.next_protocol(),
                packet.oam(),
                packet.ttl(),
            )
        }
    };
    // An NSH OAM packet (RFC 9451 section 3), which is no user's.
    if oam {
        return Err(DropReason::NshOam);
    }
    // RFC 9516 section 4: "A case when the O bit is clear and the Next Protocol field value is set
    // to SFC Active OAM (0x07) is considered an erroneous combination. An implementation MUST
    // report it. […] The packet SHOULD be dropped."
    if next == NextProtocol::Other(sfc_oam::NEXT_PROTOCOL) {
        return Err(DropReason::NshOamBit);
    }
    // RFC 8300 section 2.2: "Each SFF involved in forwarding an NSH packet MUST decrement the TTL
    // value by 1 prior to NSH forwarding lookup. Decrementing by 1 from an incoming value of 0
    // shall result in a TTL value of 63. The packet MUST NOT be forwarded if TTL is, after
    // decrement, 0."
    let ttl = ttl.checked_sub(1).unwrap_or(63);
    let ttl = Ttl::new(ttl)
        .ok()
        .filter(|ttl| ttl.get() != 0)
        .ok_or(DropReason::TtlExpired)?;
    Ok(Arrived {
        length,
        path: path(octets).ok_or(DropReason::Truncated)?,
        next,
        ttl,
    })
}

/// Length, next protocol and TTL of the commonest headers of all: of MD type 1, or of MD type 2
/// without context, and no OAM. `None` for any other, which [`Packet`] judges.
fn plain(octets: &[u8]) -> Option<(usize, NextProtocol, u8)> {
    let &[first, second, kind, next, ..] = octets.first_chunk::<{ nsh::BASE_LEN }>()?;
    let length = match (second & 0x3f, kind & 0x0f) {
        (6, 1) => nsh::MD1_LEN,
        (2, 2) => nsh::BASE_LEN,
        _ => return None,
    };
    // Version 0 and O clear.
    if first & 0xe0 != 0 || octets.len() < length {
        return None;
    }
    Some((length, next.into(), ((first & 0x0f) << 2) | (second >> 6)))
}

fn refusal(error: &Error) -> DropReason {
    match error {
        Error::Truncated { need, .. } if *need > crate::wire::nsh::BASE_LEN => {
            DropReason::NshLength
        }
        Error::Truncated { .. } => DropReason::Truncated,
        Error::Illegal {
            field: "version", ..
        } => DropReason::NshVersion,
        Error::Illegal {
            field: "MD type", ..
        } => DropReason::NshMdType,
        Error::Illegal { .. } => DropReason::NshLength,
    }
}

/// Writes the TTL of a checked NSH. Unassigned bits stay as they are: RFC 8300 section 2.2 has
/// them "ignored and preserved unmodified".
pub(crate) fn put_ttl(nsh: &mut [u8], ttl: Ttl) {
    if let Some([first, second]) = nsh.first_chunk_mut() {
        *first = (*first & 0xf0) | (ttl.get() >> 2);
        *second = (*second & 0x3f) | (ttl.get() << 6);
    }
}

/// The service path header of an NSH.
pub(crate) fn path(nsh: &[u8]) -> Option<u32> {
    nsh.get(4..8)
        .and_then(|word| word.try_into().ok())
        .map(u32::from_be_bytes)
}

/// Writes the service path header of an NSH.
pub(crate) fn put_path(nsh: &mut [u8], path: u32) {
    if let Some(word) = nsh.get_mut(4..8) {
        word.copy_from_slice(&path.to_be_bytes());
    }
}

/// EtherType of the network packet behind an NSH: `framed`, where an Ethernet frame that carries
/// it follows; zero where it is none.
pub(crate) fn network(nsh: &[u8], framed: u16) -> u16 {
    // RFC 8300 section 2.2 numbers the next protocols.
    match nsh.get(3) {
        Some(1) => ethertype::IPV4,
        Some(2) => ethertype::IPV6,
        Some(3) => framed,
        _ => 0,
    }
}

/// Length of an NSH made by [`fresh`].
pub(crate) const FRESH: usize = nsh::MD1_LEN;

/// A new NSH of MD type 1 for what `next` says, with zeroes for context.
pub(crate) fn fresh(path: u32, next: NextProtocol) -> [u8; FRESH] {
    let mut octets = [0; FRESH];
    let repr = Repr {
        next,
        ..start(path, MetadataRepr::One([0; 16]))
    };
    repr.emit(&mut octets);
    octets
}

/// A new NSH for an Ethernet frame, with the context that a rule asks for, in `buffer`.
///
/// # Errors
/// The length it would have, which is more than an NSH can have.
pub(crate) fn originate<'a>(
    path: u32,
    ttl: Option<Ttl>,
    metadata: &Metadata,
    buffer: &'a mut [u8; nsh::MAX_LEN],
) -> Result<&'a [u8], usize> {
    let mut contexts = [0; nsh::MAX_LEN - nsh::BASE_LEN];
    let metadata = match metadata {
        Metadata::Md1 { context } => {
            let mut octets = [0; 16];
            let words = context.iter().flat_map(|word| word.to_be_bytes());
            octets
                .iter_mut()
                .zip(words)
                .for_each(|(to, from)| *to = from);
            MetadataRepr::One(octets)
        }
        Metadata::Md2 { headers } => {
            let total = headers
                .iter()
                .map(|header| Context::from(header).buffer_len())
                .sum();
            let whole = contexts.get_mut(..total).ok_or(nsh::BASE_LEN + total)?;
            let mut rest = &mut *whole;
            for context in headers.iter().map(Context::from) {
                let (place, next) = rest.split_at_mut(context.buffer_len().min(rest.len()));
                context.emit(place).map_err(|_| nsh::BASE_LEN + total)?;
                rest = next;
            }
            MetadataRepr::Two(whole)
        }
    };
    let repr = Repr {
        // RFC 8300 section 2.2: "The initial TTL value SHOULD be configurable via the control
        // plane; the configured initial value can be specific to one or more SFPs."
        ttl: ttl.unwrap_or(Ttl::MAX),
        ..start(path, metadata)
    };
    let octets = buffer
        .get_mut(..repr.buffer_len())
        .ok_or(repr.buffer_len())?;
    repr.emit(octets);
    Ok(octets)
}

/// The header at the start of a path, of an Ethernet frame.
fn start(path: u32, metadata: MetadataRepr<'_>) -> Repr<'_> {
    let (spi, si) = crate::tables::steering::unpack(path);
    Repr {
        oam: false,
        // RFC 8300 section 2.2: "If no initial value is explicitly provided, the default initial
        // TTL value of 63 MUST be used."
        ttl: Ttl::MAX,
        next: NextProtocol::Ethernet,
        spi,
        si,
        metadata,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_forwarder_api::{ContextHeader, ContextValue};

    fn nsh(ttl: u8) -> [u8; FRESH] {
        let mut octets = fresh(0x2aff, NextProtocol::Ethernet);
        put_ttl(&mut octets, Ttl::new(ttl).unwrap());
        octets
    }

    #[test]
    fn an_incoming_ttl_of_zero_counts_as_64() {
        assert_eq!(arrive(&nsh(0)).unwrap().ttl.get(), 63);
        assert_eq!(arrive(&nsh(63)).unwrap().ttl.get(), 62);
        assert_eq!(arrive(&nsh(2)).unwrap().ttl.get(), 1);
        assert_eq!(arrive(&nsh(1)), Err(DropReason::TtlExpired));
    }

    #[test]
    fn every_refusal_has_its_own_reason() {
        let with = |place: usize, value: u8| {
            let mut octets = nsh(63);
            octets[place] = value;
            arrive(&octets).unwrap_err()
        };
        assert_eq!(with(0, 0x4f), DropReason::NshVersion);
        assert_eq!(with(0, 0x2f), DropReason::NshOam);
        assert_eq!(with(3, 0x07), DropReason::NshOamBit);
        assert_eq!(with(1, 0xc7), DropReason::NshLength);
        assert_eq!(with(2, 0x00), DropReason::NshMdType);
        assert_eq!(with(2, 0x0f), DropReason::NshMdType);
        assert_eq!(arrive(&nsh(63)[..7]), Err(DropReason::Truncated));
        assert_eq!(arrive(&nsh(63)[..23]), Err(DropReason::NshLength));
    }

    #[test]
    fn the_short_way_judges_headers_as_the_long_one_does() {
        let mut octets = nsh(63);
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                for kind in [0, 1, 2, 3, 15, 0xf1, 0xf2] {
                    octets[..3].copy_from_slice(&[first, second, kind]);
                    let Some(short) = plain(&octets) else {
                        continue;
                    };
                    let long = Packet::new_checked(&octets).unwrap();
                    let told = (long.header_len(), long.next_protocol(), long.ttl());
                    assert_eq!(short, told);
                    assert!(!long.oam());
                }
            }
        }
        assert!(plain(&nsh(63)).is_some() && plain(&nsh(63)[..23]).is_none());
    }

    #[test]
    fn the_path_header_is_read_and_written_where_the_rfc_has_it() {
        let mut octets = nsh(9);
        let arrived = arrive(&octets).unwrap();
        assert_eq!(
            (arrived.path, arrived.length, arrived.next),
            (0x2aff, 24, NextProtocol::Ethernet)
        );
        put_path(&mut octets, 0x0102_03fe);
        assert_eq!(octets[4..8], [1, 2, 3, 0xfe]);
        assert_eq!(path(&octets[..7]), None);
    }

    fn header(class: u16, kind: u8, length: usize) -> ContextHeader {
        ContextHeader {
            class,
            kind,
            value: ContextValue::new(vec![0xab; length]).unwrap(),
        }
    }

    #[test]
    fn the_shortest_nsh_has_eight_octets() {
        let mut buffer = [0; nsh::MAX_LEN];
        let headers = Vec::new();
        let octets =
            originate(5 << 8 | 200, None, &Metadata::Md2 { headers }, &mut buffer).unwrap();
        assert_eq!(octets, [0x0f, 0xc2, 2, 3, 0, 0, 5, 200]);
    }

    #[test]
    fn context_headers_are_written_in_order_and_padded() {
        let mut buffer = [0; nsh::MAX_LEN];
        let headers = vec![header(0x0102, 7, 5), header(3, 4, 0)];
        let octets = originate(0x2aff, None, &Metadata::Md2 { headers }, &mut buffer).unwrap();
        assert_eq!(
            octets[8..],
            [
                1, 2, 7, 5, 0xab, 0xab, 0xab, 0xab, 0xab, 0, 0, 0, 0, 3, 4, 0
            ]
        );
        let packet = Packet::new_checked(octets).unwrap();
        assert_eq!((packet.header_len(), packet.contexts().count()), (24, 2));
    }

    #[test]
    fn more_context_than_fits_is_refused_with_its_length() {
        let mut buffer = [0; nsh::MAX_LEN];
        let fits = vec![header(1, 1, 118), header(1, 1, 116)];
        let octets =
            originate(0x2aff, None, &Metadata::Md2 { headers: fits }, &mut buffer).unwrap();
        assert_eq!(octets.len(), 252);
        let over = vec![header(1, 1, 118), header(1, 1, 117)];
        let refused = originate(0x2aff, None, &Metadata::Md2 { headers: over }, &mut buffer);
        assert_eq!(refused, Err(256));
    }
}
