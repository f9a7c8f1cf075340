//! Takes one received frame through the function, in the way the function is wired, and counts
//! what became of it. No I/O here.

use super::finish::finish;
use super::nsh;
use super::oam;
use super::options::Wiring;
use super::segment::segment;
use super::ways::Ways;
use crate::function::{Emissions, Legs, ServiceFunction, Side, Verdict};
use crate::packet::set_macs;
use crate::stats::{DropCause, Stats};
use kc_forwarder::frame::{Frame, Pool};

/// The function, how it is wired, and what it has counted.
pub(super) struct Carrier<'a> {
    pub(super) function: &'a mut dyn ServiceFunction,
    pub(super) wiring: Wiring,
    pub(super) legs: Legs,
    /// Largest IP packet that every leg takes.
    pub(super) mtu: u16,
    pub(super) stats: Stats,
    /// For answers behind NSH.
    pub(super) ways: Ways,
}

impl Carrier<'_> {
    /// Carries `frame`, which came in at `side`; what has to be sent is appended to `out`.
    pub(super) fn carry(
        &mut self,
        now_ms: u64,
        side: Side,
        mut frame: Frame,
        pool: &mut Pool,
        out: &mut Emissions,
    ) {
        if matches!(self.wiring, Wiring::Nsh) {
            let length = frame.len();
            if oam::answer(&mut frame, self.legs.mac(Side::Only)) {
                self.stats.received.add(length);
                self.stats.consumed.add(length);
                self.stats.answered.add(length);
                return out.send(side, frame);
            }
        }
        let outer = match self.wiring {
            Wiring::Nsh => match nsh::unwrap(&mut frame, self.legs.mac(Side::Only)) {
                Ok(outer) => Some(outer),
                Err(cause) => {
                    self.stats.received.add(frame.len());
                    self.stats.drop(cause, frame.len());
                    return pool.give(frame);
                }
            },
            Wiring::TwoLeg | Wiring::OneLeg => None,
        };
        if let Some(outer) = &outer {
            self.function.surround(outer.nsh());
        }
        let room = usize::from(self.mtu) - outer.as_ref().map_or(0, nsh::Outer::overhead);
        match segment(frame, room, pool) {
            Ok(frames) => {
                for frame in frames {
                    self.whole(now_ms, side, frame, outer.as_ref(), pool, out);
                }
            }
            Err(frame) => {
                self.stats.received.add(frame.len());
                self.stats.drop(DropCause::SuperFrame, frame.len());
                pool.give(frame);
            }
        }
    }

    fn whole(
        &mut self,
        now_ms: u64,
        side: Side,
        mut frame: Frame,
        outer: Option<&nsh::Outer>,
        pool: &mut Pool,
        out: &mut Emissions,
    ) {
        let length = frame.len();
        self.stats.received.add(length);
        finish(&mut frame);
        let answers_from = out.frames.len();
        let verdict = match self.wiring {
            Wiring::OneLeg => self.one_leg(now_ms, &mut frame, out),
            Wiring::TwoLeg | Wiring::Nsh => self.function.process(now_ms, side, &mut frame, out),
        };
        if outer.is_some() {
            self.send_off(now_ms, answers_from, out);
        }
        for (_, answer) in out.frames.iter().skip(answers_from) {
            self.stats.answered.add(answer.len());
        }
        let to = match verdict {
            Verdict::Pass => side.other(),
            Verdict::Return => side,
            Verdict::Consumed => {
                self.stats.consumed.add(length);
                return pool.give(frame);
            }
            Verdict::Drop(cause) => {
                self.stats.drop(cause, length);
                return pool.give(frame);
            }
        };
        if let Some(outer) = outer {
            self.ways.note(now_ms, &frame, outer);
            nsh::wrap(&mut frame, outer);
        }
        self.stats.passed.add(length);
        out.send(to, frame);
    }

    /// Puts each answer on its service path; those without one are not sent.
    fn send_off(&mut self, now_ms: u64, answers_from: usize, out: &mut Emissions) {
        for (side, mut answer) in out.frames.split_off(answers_from) {
            match self.ways.of(now_ms, &answer) {
                Some(outer) => {
                    nsh::wrap(&mut answer, outer);
                    out.send(side, answer);
                }
                None => self.stats.unsendable.add(answer.len()),
            }
        }
    }

    fn one_leg(&mut self, now_ms: u64, frame: &mut Frame, out: &mut Emissions) -> Verdict {
        let own = self.legs.mac(Side::Only);
        let Some(&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5]) = frame.bytes().first_chunk()
        else {
            return Verdict::Drop(DropCause::Malformed);
        };
        let to = [d0, d1, d2, d3, d4, d5];
        if to != own && d0 & 1 == 0 {
            return Verdict::Drop(DropCause::NotForUs);
        }
        let verdict = self.function.process(now_ms, Side::Only, frame, out);
        if matches!(verdict, Verdict::Pass | Verdict::Return) {
            if d0 & 1 == 1 {
                // Everybody on the link has it already.
                return Verdict::Consumed;
            }
            let undecided = frame.bytes().starts_with(&own);
            let back = undecided.then_some([s0, s1, s2, s3, s4, s5]);
            set_macs(frame.bytes_mut(), Some(own), back);
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dpi::Dpi;
    use crate::echo::Echo;
    use crate::firewall::{Firewall, parse};
    use crate::nat::Nat;
    use crate::testing::{CLIENT, SERVER, assert_sound, open_checksum, tcp, tcp_with, udp};
    use kc_forwarder::frame::Checksum;
    use kc_forwarder::wire::ethernet::{self, ethertype};
    use kc_forwarder::wire::{arp, nsh};
    use kc_forwarder_api::{Si, Spi, Ttl};

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const SFF: [u8; 6] = [2, 0, 0, 0, 0, 8];

    /// What is sent when `frame` comes in, and the counters afterwards.
    fn carry(
        function: &mut dyn ServiceFunction,
        wiring: Wiring,
        side: Side,
        frame: Frame,
    ) -> (Vec<(Side, Frame)>, Stats) {
        let mut carrier = Carrier {
            function,
            wiring,
            legs: Legs {
                inside: OWN,
                outside: OWN,
            },
            mtu: 1500,
            stats: Stats::default(),
            ways: Ways::new(),
        };
        let mut out = Emissions::default();
        carrier.carry(0, side, frame, &mut Pool::default(), &mut out);
        let stats = carrier.stats;
        let dropped: u64 = stats.dropped.values().map(|tally| tally.frames).sum();
        let ended = stats.passed.frames + stats.consumed.frames + dropped;
        assert_eq!(stats.received.frames, ended, "{stats:?}");
        (out.frames, stats)
    }

    fn in_nsh(mut frame: Frame) -> Frame {
        let repr = nsh::Repr {
            oam: false,
            ttl: Ttl::new(63).unwrap(),
            next: nsh::NextProtocol::Ethernet,
            spi: Spi::new(42).unwrap(),
            si: Si::new(255).unwrap(),
            metadata: nsh::MetadataRepr::One([0; 16]),
        };
        repr.emit(frame.push(repr.buffer_len()));
        let link = ethernet::Repr {
            destination: OWN,
            source: SFF,
            ethertype: ethertype::NSH,
        };
        link.emit(&mut ethernet::Packet::new_checked(frame.push(14)).unwrap());
        frame.offload.checksum = Checksum::Unknown;
        frame
    }

    fn firewall(rules: &str) -> Firewall {
        Firewall::new(parse("test", rules).unwrap(), false)
    }

    #[test]
    fn a_frame_in_nsh_goes_back_with_a_lower_index_and_a_finished_checksum() {
        let mut frame = udp("10.0.0.1:1000", "10.0.0.2:53", b"question");
        open_checksum(&mut frame);
        let mut allow = firewall("default allow");
        let (sent, _) = carry(&mut allow, Wiring::Nsh, Side::Only, in_nsh(frame));
        let [(Side::Only, frame)] = &sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(&frame.bytes()[..12], [SFF, OWN].concat());
        assert_eq!(frame.bytes()[14 + 7], 254);
        assert_sound(&Frame::copy_of(&frame.bytes()[38..]));
    }

    #[test]
    fn behind_nsh_an_answer_without_a_path_is_counted_and_not_sent() {
        let mut reject = firewall("default reject");
        let syn = in_nsh(tcp("10.0.0.1:1000", "10.0.0.2:80", 2));
        let (sent, stats) = carry(&mut reject, Wiring::Nsh, Side::Only, syn);
        assert!(sent.is_empty());
        assert_eq!(stats.unsendable.frames, 1);
        assert_eq!(stats.dropped[&DropCause::RuleReject].frames, 1);
    }

    #[test]
    fn behind_nsh_an_answer_takes_the_path_of_its_flow() {
        let mut dpi = Dpi::new(vec!["ssh".parse().unwrap()]);
        let mut carrier = Carrier {
            function: &mut dpi,
            wiring: Wiring::Nsh,
            legs: Legs {
                inside: OWN,
                outside: OWN,
            },
            mtu: 1500,
            stats: Stats::default(),
            ways: Ways::new(),
        };
        let mut sent = |spi, frame| {
            let mut frame = in_nsh(frame);
            frame.bytes_mut()[14 + 6] = spi;
            let mut out = Emissions::default();
            carrier.carry(0, Side::Only, frame, &mut Pool::default(), &mut out);
            // Path, index, and the TCP control bits of each frame.
            let view =
                |frame: &Frame| (frame.bytes()[20], frame.bytes()[21], frame.bytes()[38 + 47]);
            out.frames
                .iter()
                .map(|(_, frame)| view(frame))
                .collect::<Vec<_>>()
        };
        let (client, server) = ("10.0.0.1:1000", "10.0.0.2:22");
        assert_eq!(sent(1, tcp(client, server, 2)), [(1, 254, 2)]);
        assert_eq!(sent(2, tcp(server, client, 0x12)), [(2, 254, 0x12)]);
        let banner = tcp_with(client, server, 0x18, 1001, b"SSH-2.0-x");
        assert_eq!(sent(1, banner), [(2, 254, 4), (1, 254, 0x14)]);
    }

    #[test]
    fn behind_nsh_who_asks_for_the_nats_address_is_answered() {
        let mut nat = Nat::new([10, 0, 0, 100].into());
        nat.attach(Legs {
            inside: OWN,
            outside: OWN,
        });
        let mut carrier = Carrier {
            function: &mut nat,
            wiring: Wiring::Nsh,
            legs: Legs {
                inside: OWN,
                outside: OWN,
            },
            mtu: 1500,
            stats: Stats::default(),
            ways: Ways::new(),
        };
        let mut out = Emissions::default();
        let mut carry = |frame| carrier.carry(0, Side::Only, frame, &mut Pool::default(), &mut out);
        carry(in_nsh(udp("10.0.0.1:1000", "10.0.0.2:53", b"q")));
        let mut question = Frame::copy_of(&[0xff; 42]);
        question.bytes_mut()[6..12].copy_from_slice(&SERVER);
        question.bytes_mut()[12..14].copy_from_slice(&[8, 6]);
        arp::Repr {
            operation: arp::Operation::Request,
            sender_mac: SERVER,
            sender: [10, 0, 0, 2].into(),
            target_mac: [0; 6],
            target: [10, 0, 0, 100].into(),
        }
        .emit(&mut question.bytes_mut()[14..]);
        carry(in_nsh(question));
        let [_, (_, answer)] = &out.frames[..] else {
            panic!("{out:?}")
        };
        let inner = &answer.bytes()[38..];
        assert_eq!(&inner[..12], [SERVER, OWN].concat());
        let reply = arp::Repr::parse(&inner[14..]).unwrap();
        assert_eq!(
            (reply.operation, reply.sender_mac),
            (arp::Operation::Reply, OWN)
        );
    }

    #[test]
    fn on_one_leg_a_frame_goes_back_to_its_sender_and_others_frames_are_left_alone() {
        let mut allow = firewall("default allow");
        let mut frame = tcp("10.0.0.1:1000", "10.0.0.2:80", 2);
        set_macs(frame.bytes_mut(), None, Some(OWN));
        let (sent, _) = carry(&mut allow, Wiring::OneLeg, Side::Only, frame);
        let [(Side::Only, frame)] = &sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(&frame.bytes()[..12], [CLIENT, OWN].concat());
        let stranger = tcp("10.0.0.1:1000", "10.0.0.2:80", 2);
        let (sent, stats) = carry(&mut allow, Wiring::OneLeg, Side::Only, stranger);
        assert!(sent.is_empty());
        assert_eq!(stats.dropped[&DropCause::NotForUs].frames, 1);
    }

    #[test]
    fn on_two_legs_a_frame_goes_on_unless_it_is_returned() {
        let frame = || udp("10.0.0.1:1000", "10.0.0.2:53", b"x");
        let mut allow = firewall("default allow");
        let (sent, _) = carry(&mut allow, Wiring::TwoLeg, Side::Inside, frame());
        assert!(matches!(sent[..], [(Side::Outside, _)]));
        let mut echo = Echo::new(Vec::new());
        let (sent, _) = carry(&mut echo, Wiring::TwoLeg, Side::Inside, frame());
        let [(Side::Inside, frame)] = &sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(&frame.bytes()[..12], [CLIENT, SERVER].concat());
    }
}
