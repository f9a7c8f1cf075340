//! Sends every packet back to where it came from: ends swapped, echo requests answered. The far
//! end for tests of a path.

use crate::function::{Emissions, Legs, ServiceFunction, Side, Verdict};
use crate::packet::{End, Kind, Reading, answer_neighbour, asked, protocol, rewrite, set_macs};
use crate::stats::DropCause;
use kc_forwarder::frame::Frame;
use kc_forwarder::wire::checksum;
use kc_forwarder::wire::icmp::{self, kind};
use serde_json::json;
use std::net::IpAddr;

/// The reflector.
#[derive(Debug)]
pub struct Echo {
    addresses: Vec<IpAddr>,
    legs: Legs,
    reflected: u64,
}

impl Echo {
    /// A reflector that also answers ARP and neighbour solicitations for `addresses`.
    pub fn new(addresses: Vec<IpAddr>) -> Self {
        Self {
            addresses,
            legs: Legs::default(),
            reflected: 0,
        }
    }

    fn neighbour(
        &self,
        side: Side,
        frame: &Frame,
        reading: &Reading,
        out: &mut Emissions,
    ) -> Verdict {
        let asked = asked(frame.bytes(), reading);
        if let Some(asked) = asked.filter(|asked| self.addresses.contains(&asked.target))
            && let Some(answer) = answer_neighbour(frame, reading, &asked, self.legs.mac(side))
        {
            out.send(side, answer);
        }
        Verdict::Consumed
    }
}

/// Swaps both ends of the packet; an echo request becomes a reply.
pub(crate) fn swap(frame: &mut [u8], reading: &Reading) -> Option<()> {
    let summary = &reading.summary;
    let (source, destination) = summary.addresses()?;
    let ports = matches!(summary.protocol, protocol::TCP | protocol::UDP);
    let ports = ports.then_some((reading.flow.source_port, reading.flow.destination_port));
    rewrite(
        frame,
        summary,
        End::Source,
        destination,
        ports.map(|ports| ports.1),
    )?;
    rewrite(
        frame,
        summary,
        End::Destination,
        source,
        ports.map(|ports| ports.0),
    )?;
    if let (Some(l4), protocol::ICMP | protocol::ICMPV6) = (summary.l4, summary.protocol) {
        let message = frame.get_mut(l4..summary.l3_end)?;
        let mut message = icmp::Packet::new_checked(message).ok()?;
        let answer = match message.kind() {
            kind::ECHO_REQUEST_V4 => kind::ECHO_REPLY_V4,
            kind::ECHO_REQUEST_V6 => kind::ECHO_REPLY_V6,
            _ => return Some(()),
        };
        let word = |kind| u16::from_be_bytes([kind, message.code()]);
        let sum = checksum::update(message.checksum(), word(message.kind()), word(answer));
        message.set_kind(answer, message.code());
        message.set_checksum(sum);
    }
    Some(())
}

impl ServiceFunction for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn attach(&mut self, legs: Legs) {
        self.legs = legs;
    }

    fn process(
        &mut self,
        _now_ms: u64,
        side: Side,
        frame: &mut Frame,
        out: &mut Emissions,
    ) -> Verdict {
        let reading = Reading::of(frame);
        match reading.kind {
            Kind::Malformed => return Verdict::Drop(DropCause::Malformed),
            Kind::Arp | Kind::Discovery => return self.neighbour(side, frame, &reading, out),
            Kind::Packet | Kind::IcmpError | Kind::LaterFragment => {
                if swap(frame.bytes_mut(), &reading).is_none() {
                    return Verdict::Drop(DropCause::Malformed);
                }
            }
            Kind::NotIp => {}
        }
        let (source, destination) = (reading.summary.source_mac, reading.summary.destination_mac);
        set_macs(frame.bytes_mut(), Some(destination), Some(source));
        self.reflected += 1;
        Verdict::Return
    }

    fn details(&self) -> serde_json::Value {
        json!({"reflected": self.reflected})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CLIENT, SERVER, assert_sound, echo, tcp, udp};
    use kc_forwarder::wire::{ipv6, ndp};
    use rstest::rstest;

    #[rstest]
    #[case(
        udp("10.0.0.1:1000", "10.0.0.2:7", b"hello"),
        "10.0.0.2:7>10.0.0.1:1000"
    )]
    #[case(
        udp("[fd00::1]:1000", "[fd00::2]:7", b"hello"),
        "fd00::2:7>fd00::1:1000"
    )]
    #[case(tcp("10.0.0.1:1000", "10.0.0.2:80", 2), "10.0.0.2:80>10.0.0.1:1000")]
    #[case(echo("10.0.0.1", "10.0.0.2", 8, 5), "10.0.0.2:5>10.0.0.1:5")]
    fn a_packet_comes_back_with_its_ends_swapped(#[case] mut frame: Frame, #[case] expected: &str) {
        let mut out = Emissions::default();
        let verdict = Echo::new(Vec::new()).process(0, Side::Inside, &mut frame, &mut out);
        assert_eq!(verdict, Verdict::Return);
        assert_sound(&frame);
        let reading = Reading::of(&frame);
        let (from, to) = (reading.source(), reading.destination());
        let (a, b) = (reading.flow.source_port, reading.flow.destination_port);
        assert_eq!(format!("{from}:{a}>{to}:{b}"), expected);
        assert_eq!(&frame.bytes()[..12], [CLIENT, SERVER].concat());
    }

    #[test]
    fn a_ping_is_answered_with_a_reply() {
        let mut frame = echo("10.0.0.1", "10.0.0.2", 8, 5);
        Echo::new(Vec::new()).process(0, Side::Only, &mut frame, &mut Emissions::default());
        assert_eq!(frame.bytes()[34], 0);
        assert_sound(&frame);
    }

    #[test]
    fn neighbour_solicitations_for_its_address_are_answered() {
        let target = "fd00::9".parse().unwrap();
        let question = ndp::Repr {
            source: "fd00::1".parse().unwrap(),
            destination: ndp::solicited_node(target),
            target,
            message: ndp::Message::Solicitation { source_mac: None },
        };
        let mut message = vec![0; question.buffer_len()];
        question.emit(&mut message);
        let (source, destination) = (question.source.into(), question.destination.into());
        let mut frame = crate::testing::ip(source, destination, 58, &message[ipv6::HEADER_LEN..]);
        frame.bytes_mut()[14 + 7] = 255;
        let target = IpAddr::from(target);
        let mut out = Emissions::default();
        let mut reflector = Echo::new(vec![target]);
        reflector.attach(Legs {
            inside: SERVER,
            outside: SERVER,
        });
        assert_eq!(
            reflector.process(0, Side::Only, &mut frame, &mut out),
            Verdict::Consumed
        );
        let [(Side::Only, answer)] = &out.frames[..] else {
            panic!("{out:?}")
        };
        let reading = Reading::of(answer);
        assert_eq!(reading.source(), target);
        assert_eq!(reading.summary.destination_mac, CLIENT);
        let message = reading.transport(answer.bytes());
        assert_eq!((message[0], message[4]), (136, 0x60));
        let sum = checksum::pseudo_header(
            &reading.summary.source,
            &reading.summary.destination,
            58,
            message.len(),
        );
        assert_eq!(checksum::fold(sum + checksum::sum(message)), 0xffff);
    }
}
