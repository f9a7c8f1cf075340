//! An NSH leg: the outer headers are set aside while the function works on the inner frame, and
//! put back with the service index one lower (RFC 8300). Metadata stays as it is.

use crate::stats::DropCause;
use kc_forwarder::frame::Frame;
use kc_forwarder::wire::ethernet::{self, ethertype};
use kc_forwarder::wire::nsh::{self, NextProtocol};

/// Ethernet and NSH in front of the inner frame, ready to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outer {
    octets: [u8; ethernet::HEADER_LEN + nsh::MAX_LEN],
    length: usize,
    /// It carries IP without Ethernet; functions see an empty Ethernet header in front of it.
    bare: bool,
}

impl Outer {
    /// Octets that an IP packet in the inner frame has less room than one without NSH: NSH and
    /// the inner Ethernet header, if there is one.
    pub(super) fn overhead(&self) -> usize {
        let bare = if self.bare { ethernet::HEADER_LEN } else { 0 };
        self.length - bare
    }

    /// The NSH.
    pub(super) fn nsh(&self) -> &[u8] {
        let octets = self.octets.get(ethernet::HEADER_LEN..self.length);
        octets.unwrap_or_default()
    }
}

/// Takes the outer headers off `frame`.
pub(super) fn unwrap(frame: &mut Frame, own_mac: [u8; 6]) -> Result<Outer, DropCause> {
    let bytes = frame.bytes();
    let link = ethernet::Packet::new_checked(bytes).map_err(|_| DropCause::Malformed)?;
    if link.ethertype() != ethertype::NSH {
        return Err(DropCause::NotNsh);
    }
    if link.destination() != own_mac {
        return Err(DropCause::NotForUs);
    }
    let header = nsh::Packet::new_checked(link.payload()).map_err(|_| DropCause::Malformed)?;
    // RFC 8300 section 2.2: implementations "that do not support SFC OAM procedures SHOULD
    // discard packets with O bit set".
    if header.oam() {
        return Err(DropCause::Oam);
    }
    let bare = match header.next_protocol() {
        NextProtocol::Ethernet => None,
        NextProtocol::Ipv4 => Some(ethertype::IPV4),
        NextProtocol::Ipv6 => Some(ethertype::IPV6),
        _ => return Err(DropCause::NextProtocol),
    };
    // RFC 8300 section 2.3: "Service Index MUST be decremented by a value of 1 by Service
    // Functions or by SFC Proxy nodes after performing required services".
    let index = header.si().next().ok_or(DropCause::IndexExhausted)?;
    let length = ethernet::HEADER_LEN + header.header_len();
    let mut outer = Outer {
        octets: [0; ethernet::HEADER_LEN + nsh::MAX_LEN],
        length,
        bare: bare.is_some(),
    };
    let source = link.source();
    let kept = outer.octets.get_mut(..length).ok_or(DropCause::Malformed)?;
    kept.copy_from_slice(bytes.get(..length).ok_or(DropCause::Malformed)?);
    if let Ok(mut link) = ethernet::Packet::new_checked(&mut *kept) {
        link.set_destination(source);
        link.set_source(own_mac);
        if let Ok(mut header) = nsh::Packet::new_checked(link.payload_mut()) {
            header.set_si(index);
        }
    }
    frame.pull(length);
    if let Some(ethertype) = bare {
        let header = frame.push(ethernet::HEADER_LEN);
        header.fill(0);
        if let Some(field) = header.last_chunk_mut() {
            *field = ethertype.to_be_bytes();
        }
    }
    Ok(outer)
}

/// Puts the outer headers back.
pub(super) fn wrap(frame: &mut Frame, outer: &Outer) {
    if outer.bare {
        frame.pull(ethernet::HEADER_LEN);
    }
    let octets = outer.octets.get(..outer.length).unwrap_or_default();
    frame.push(octets.len()).copy_from_slice(octets);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::udp;
    use kc_forwarder_api::{Si, Spi, Ttl};
    use rstest::rstest;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const SFF: [u8; 6] = [2, 0, 0, 0, 0, 8];

    fn wrapped(si: u8, oam: bool, next: NextProtocol) -> Frame {
        let mut frame = udp("10.0.0.1:1000", "10.0.0.2:53", b"payload");
        let contexts = [1, 2, 3, 2, 0xab, 0xcd, 0, 0];
        let repr = nsh::Repr {
            oam,
            ttl: Ttl::new(63).unwrap(),
            next,
            spi: Spi::new(42).unwrap(),
            si: Si::new(si).unwrap(),
            metadata: nsh::MetadataRepr::Two(&contexts),
        };
        repr.emit(frame.push(repr.buffer_len()));
        let link = ethernet::Repr {
            destination: OWN,
            source: SFF,
            ethertype: ethertype::NSH,
        };
        link.emit(&mut ethernet::Packet::new_checked(frame.push(14)).unwrap());
        frame
    }

    #[test]
    fn the_index_falls_by_one_and_all_else_stays() {
        let mut frame = wrapped(255, false, NextProtocol::Ethernet);
        let before = frame.bytes().to_vec();
        let outer = unwrap(&mut frame, OWN).unwrap();
        assert_eq!(frame.bytes(), &before[30..]);
        wrap(&mut frame, &outer);
        let mut expected = before;
        expected[..6].copy_from_slice(&SFF);
        expected[6..12].copy_from_slice(&OWN);
        expected[14 + 7] = 254;
        assert_eq!(frame.bytes(), expected);
    }

    #[test]
    fn ip_without_ethernet_comes_and_goes_without_it() {
        let mut frame = wrapped(255, false, NextProtocol::Ipv4);
        // What is inside is an Ethernet frame: take its header away.
        let (outer, inner) = frame.bytes().split_at(30);
        frame = Frame::copy_of(&[outer, &inner[14..]].concat());
        let before = frame.bytes().to_vec();
        let outer = unwrap(&mut frame, OWN).unwrap();
        assert_eq!(
            frame.bytes()[..14],
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]
        );
        assert_eq!(
            (&frame.bytes()[14..], outer.overhead()),
            (&before[30..], 16)
        );
        assert_eq!(
            nsh::Packet::new_checked(outer.nsh())
                .unwrap()
                .contexts()
                .count(),
            1
        );
        wrap(&mut frame, &outer);
        assert_eq!(
            (&frame.bytes()[22..], frame.len()),
            (&before[22..], before.len())
        );
    }

    #[rstest]
    #[case(wrapped(0, false, NextProtocol::Ethernet), DropCause::IndexExhausted)]
    #[case(wrapped(9, true, NextProtocol::Ethernet), DropCause::Oam)]
    #[case(wrapped(9, false, NextProtocol::Mpls), DropCause::NextProtocol)]
    #[case(wrapped(9, false, NextProtocol::Nsh), DropCause::NextProtocol)]
    #[case(udp("10.0.0.1:1", "10.0.0.2:2", b""), DropCause::NotNsh)]
    #[case(Frame::copy_of(b"runt"), DropCause::Malformed)]
    fn what_cannot_be_served_is_named(#[case] mut frame: Frame, #[case] cause: DropCause) {
        assert_eq!(unwrap(&mut frame, OWN).unwrap_err(), cause);
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = wrapped(255, false, NextProtocol::Ethernet);
        for length in 0..30 {
            let mut frame = Frame::copy_of(&whole.bytes()[..length]);
            assert!(unwrap(&mut frame, OWN).is_err(), "{length}");
        }
    }
}
