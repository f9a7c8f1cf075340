//! A function that knows NSH answers its SFF's question for life: an SFC echo request (RFC 9516)
//! in an NSH whose O bit is set, to be answered the way it came. All other OAM is discarded.

use kc_forwarder::frame::Frame;
use kc_forwarder::wire::ethernet::{self, ethertype};
use kc_forwarder::wire::nsh::{self, NextProtocol};
use kc_forwarder::wire::sfc_echo::{self, Kind, ReplyMode, code_number};
use kc_forwarder::wire::sfc_oam::{self, Message};
use kc_forwarder_api::EchoCode;

/// Turns a question for life into its answer, in place; says whether it was one.
pub(super) fn answer(frame: &mut Frame, own_mac: [u8; 6]) -> bool {
    let Some((at, repr)) = question(frame.bytes(), own_mac) else {
        return false;
    };
    let bytes = frame.bytes_mut();
    if let Ok(mut link) = ethernet::Packet::new_checked(&mut *bytes) {
        let source = link.source();
        link.set_destination(source);
        link.set_source(own_mac);
    }
    if let Some(place) = bytes.get_mut(at..) {
        sfc_echo::Repr {
            kind: Kind::Reply,
            code: code_number(EchoCode::TtlExceeded),
            ..repr
        }
        .emit(place);
    }
    true
}

/// Where the echo request in `bytes` begins, and what it says.
fn question(bytes: &[u8], own_mac: [u8; 6]) -> Option<(usize, sfc_echo::Repr)> {
    let link = ethernet::Packet::new_checked(bytes).ok()?;
    if link.ethertype() != ethertype::NSH || link.destination() != own_mac {
        return None;
    }
    let header = nsh::Packet::new_checked(link.payload()).ok()?;
    let next = NextProtocol::Other(sfc_oam::NEXT_PROTOCOL);
    // What may go on to another SFF is not for us.
    if !header.oam() || header.next_protocol() != next || header.ttl() != 1 {
        return None;
    }
    let (oam, message) = sfc_oam::Repr::parse(header.payload()).ok()?;
    if oam.message != Message::Echo {
        return None;
    }
    let echo = sfc_echo::Packet::new_checked(message).ok()?;
    let repr = echo.repr();
    let plain = echo.tlvs().next().is_none();
    let at = ethernet::HEADER_LEN + header.header_len() + sfc_oam::HEADER_LEN;
    let asked = repr.kind == Kind::Request && repr.mode == ReplyMode::Link && plain;
    asked.then_some((at, repr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_forwarder_api::{Si, Spi, Ttl};

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const SFF: [u8; 6] = [2, 0, 0, 0, 0, 8];

    fn asked(kind: Kind, ttl: u8, destination: [u8; 6]) -> Frame {
        let mut octets = vec![0; 14 + 24 + 4 + 16];
        ethernet::Repr {
            destination,
            source: SFF,
            ethertype: ethertype::NSH,
        }
        .emit(&mut ethernet::Packet::new_checked(&mut octets[..]).unwrap());
        nsh::Repr {
            oam: true,
            ttl: Ttl::new(ttl).unwrap(),
            next: NextProtocol::Other(sfc_oam::NEXT_PROTOCOL),
            spi: Spi::new(42).unwrap(),
            si: Si::new(255).unwrap(),
            metadata: nsh::MetadataRepr::One([0; 16]),
        }
        .emit(&mut octets[14..]);
        let message = Message::Echo;
        sfc_oam::Repr {
            message,
            length: 16,
        }
        .emit(&mut octets[38..]);
        sfc_echo::Repr {
            kind,
            mode: ReplyMode::Link,
            code: 0,
            subcode: 0,
            handle: 7,
            sequence: 8,
        }
        .emit(&mut octets[42..]);
        Frame::copy_of(&octets)
    }

    #[test]
    fn a_question_for_life_is_answered_in_place() {
        let mut frame = asked(Kind::Request, 1, OWN);
        let before = frame.bytes().to_vec();
        assert!(answer(&mut frame, OWN));
        let after = frame.bytes();
        assert_eq!((&after[..6], &after[6..12]), (&SFF[..], &OWN[..]));
        assert_eq!(after[42 + 4..42 + 8], [2, 252, 4, 0]);
        assert_eq!(after[42 + 8..], before[42 + 8..], "its key comes back");
    }

    #[test]
    fn nothing_else_is_answered() {
        for mut frame in [
            asked(Kind::Reply, 1, OWN),
            asked(Kind::Request, 2, OWN),
            asked(Kind::Request, 1, SFF),
        ] {
            let before = frame.bytes().to_vec();
            assert!(!answer(&mut frame, OWN));
            assert_eq!(frame.bytes(), before);
        }
        let whole = asked(Kind::Request, 1, OWN);
        for length in 0..whole.len() {
            assert!(!answer(&mut Frame::copy_of(&whole.bytes()[..length]), OWN));
        }
    }
}
