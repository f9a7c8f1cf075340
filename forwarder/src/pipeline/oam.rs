//! OAM packets at this SFF: where they lead, and which of them answer what was asked here. RFC 9451
//! and RFC 9516 section 6.

use super::packet::Packet;
use super::run::{Origin, Run};
use crate::frame::Frame;
use crate::health::Subject;
use crate::limits::Bucket;
use crate::oam::{Heard, Key, Keys, Outcome, Purpose, Reply, UnderWay, Writer, hear, read};
use crate::tables::steering::{Hop, key, unpack};
use crate::tables::{Compiled, Target};
use crate::wire::nsh::{self, MetadataRepr, NextProtocol};
use crate::wire::{ethernet, sfc_oam};
use kc_forwarder_api::{DropReason, EchoReply, Responder, Si, Ttl};
use std::net::IpAddr;

/// Answers about paths, a second and at once. RFC 9516 section 7: "It is RECOMMENDED that
/// implementations throttle the number of SFC Echo Request/Reply messages".
const PATH_ANSWERS: (u64, u64) = (100, 50);

/// Answers to those who ask across one link whether we live. They are no longer than the
/// question, and go nowhere but back.
const LINK_ANSWERS: (u64, u64) = (5_000, 1_000);

/// Types of the context headers that hold a message authentication code: MAC#1 and MAC#2, of
/// metadata class 0 (RFC 9145 section 5).
const MACS: [u8; 2] = [2, 3];

/// Which way an OAM packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// VXLAN-GPE.
    Gpe {
        /// The sending VTEP.
        remote: IpAddr,
        /// VNI.
        vni: u32,
    },
    /// Ethernet on a LAN of other SFFs, with the tunnel to the sender, if there is one.
    Lan(Option<u16>),
    /// The leg of a function that knows NSH.
    Function(u16),
}

/// What OAM remembers.
#[derive(Debug)]
pub(super) struct Oam {
    pub(super) keys: Keys,
    pub(super) under_way: UnderWay,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) writer: Writer,
    /// The shell's finer clock.
    pub(super) now_us: u64,
    /// Who we are, as text.
    pub(super) name: Vec<u8>,
    pub(super) path_answers: Bucket,
    pub(super) link_answers: Bucket,
    /// Functions on the way of the packet at hand, with the service path header they see it with.
    pub(super) functions: Vec<(u32, u16)>,
    /// TLVs that go into another one.
    pub(super) inner: Vec<u8>,
}

impl Oam {
    pub(super) fn new(tables: &Compiled) -> Self {
        let bucket = |(rate, burst)| Bucket::new(rate, burst);
        Self {
            keys: Keys::default(),
            under_way: UnderWay::default(),
            outcomes: Vec::new(),
            writer: Writer::default(),
            now_us: 0,
            name: name_of(tables),
            path_answers: bucket(PATH_ANSWERS),
            link_answers: bucket(LINK_ANSWERS),
            functions: Vec::new(),
            inner: Vec::new(),
        }
    }

    /// Goes on under `tables`.
    pub(super) fn adopt(&mut self, tables: &Compiled) {
        self.name = name_of(tables);
        self.under_way.forget_probes();
    }
}

fn name_of(tables: &Compiled) -> Vec<u8> {
    let tables = tables.tables();
    let address = || {
        let underlay = tables.underlay.as_ref()?;
        underlay
            .address
            .iter()
            .next()
            .map(|address| address.to_string())
    };
    let name = tables.name.as_ref().map(ToString::to_string);
    name.or_else(address).unwrap_or_default().into_bytes()
}

/// Where a path leads from this SFF, functions of this SFF stepped over.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// To another SFF.
    Tunnel(u16),
    /// Nowhere: it ends here.
    Here,
    /// Nowhere: this SFF does not know what to do with it, or cannot.
    Broken,
}

/// Where an OAM packet goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) end: End,
    /// Service path header behind the functions of this SFF.
    pub(super) path: u32,
    /// Largest inner IP packet.
    pub(super) mtu: u16,
}

/// An OAM packet as it arrived.
pub(super) struct Arrived {
    pub(super) path: u32,
    /// After this hop; 0 when it may go no further.
    pub(super) ttl: u8,
    header: usize,
    /// Whether its NSH has a message authentication code.
    pub(super) protected: bool,
}

impl Run<'_> {
    pub(super) fn now_us(&self) -> u64 {
        self.state.oam.now_us.max(self.now_ms.saturating_mul(1000))
    }

    /// A packet whose NSH has its O bit set.
    pub(super) fn oam(&mut self, frame: Frame, via: Via) {
        let Ok(packet) = nsh::Packet::new_checked(frame.bytes()) else {
            return self.drop(frame, DropReason::NshOam);
        };
        // RFC 9451 section 3: "SFFs, SFC-aware SFs, and SFC Proxies SHOULD discard any NSH packets
        // with the O bit set and Next Protocol set to something that is not itself an OAM
        // protocol." Only SFC Active OAM is spoken here.
        if packet.next_protocol() != NextProtocol::Other(sfc_oam::NEXT_PROTOCOL) {
            return self.drop(frame, DropReason::NshOam);
        }
        let mut contexts = packet.contexts();
        let arrived = Arrived {
            path: key(packet.spi(), packet.si()),
            ttl: packet.ttl().checked_sub(1).unwrap_or(63),
            header: packet.header_len(),
            protected: contexts.any(|one| one.class == 0 && MACS.contains(&one.kind)),
        };
        match read(packet.payload()) {
            Some(Heard::Reply(reply)) if self.is_answer(&reply, via) => {
                self.consume(frame);
                self.answered(reply);
            }
            Some(Heard::Reply(_) | Heard::Passing) => self.hand_on(frame, &arrived),
            Some(Heard::Request(request)) => self.requested(frame, &arrived, &request, via),
            None => self.drop(frame, DropReason::NshOam),
        }
    }

    /// A datagram at the port of VXLAN-GPE that is none: the answer to an echo, where the path
    /// has no way back. RFC 9516 section 6.3.1: "The Echo Reply message, including relevant TLVs,
    /// follows the IP/UDP headers immediately." Its first octets are flags that are zero, and a
    /// VXLAN-GPE header has its I flag there.
    pub(super) fn plain(&mut self, remote: IpAddr, frame: Frame) {
        let Some(Heard::Reply(mut reply)) = hear(frame.bytes()) else {
            return self.drop(frame, DropReason::VxlanHeader);
        };
        let asked = self.state.oam.under_way.get(reply.key);
        if !asked.is_some_and(|asked| matches!(asked.purpose, Purpose::Echo { .. })) {
            return self.drop(frame, DropReason::VxlanHeader);
        }
        // Section 6.3.1: the source address "is one of the IP addresses associated with the
        // responder".
        reply.from.get_or_insert(Responder::Address(remote));
        self.consume(frame);
        self.answered(reply);
    }

    /// Whether `reply` answers a question of ours, and came from where it could.
    fn is_answer(&self, reply: &Reply, via: Via) -> bool {
        let asked = self.state.oam.under_way.get(reply.key);
        match (asked.map(|asked| asked.purpose), via) {
            (Some(Purpose::Function(number)), Via::Function(from)) => number == from,
            (Some(Purpose::Tunnel(number)), Via::Gpe { .. } | Via::Lan(_)) => {
                // Several tunnels may lead to the same neighbour.
                let tunnels = &self.tables.tunnels;
                let of = |number: u16| tunnels.get(usize::from(number));
                self.tunnel_of(via)
                    .is_some_and(|from| of(from) == of(number))
            }
            (Some(Purpose::Echo { .. }), Via::Gpe { .. } | Via::Lan(_)) => true,
            _ => false,
        }
    }

    fn answered(&mut self, reply: Reply) {
        let Some(asked) = self.state.oam.under_way.answered(reply.key) else {
            return;
        };
        let rtt_us = self.now_us().saturating_sub(asked.sent_us);
        match asked.purpose {
            Purpose::Echo {
                token, spi, ttl, ..
            } => {
                let reply = EchoReply {
                    from: reply.from,
                    code: reply.code,
                    rtt_us,
                    spi,
                    si: reply.si,
                    ttl,
                    mtu: reply.mtu,
                    functions: reply.functions,
                };
                self.state.oam.outcomes.push(Outcome {
                    token,
                    reply: Some(reply),
                });
            }
            Purpose::Tunnel(number) => self.lives(Subject::Tunnel(number), rtt_us),
            Purpose::Function(number) => self.lives(Subject::Function(number), rtt_us),
        }
    }

    /// Steps over the functions of this SFF; their numbers are in `oam.functions` afterwards.
    pub(super) fn follow(&mut self, mut path: u32) -> Way {
        self.state.oam.functions.clear();
        let mut mtu = u16::MAX;
        loop {
            let broken = Way {
                end: End::Broken,
                path,
                mtu,
            };
            let Some(&hop) = self.tables.steering.get(path) else {
                return broken;
            };
            // No flow has this path as its key, so it shows one of the ways that flows take.
            let flow = Packet::opaque(hop.key);
            let Some(hop) = self.settle(&hop, &flow, &[], Origin::Tunnel(None)) else {
                return broken;
            };
            mtu = mtu.min(self.inner_mtu(&hop));
            let end = match hop.target {
                Target::Function(number, direction) => {
                    self.state.oam.functions.push((path, number));
                    // RFC 8300 section 2.3: the proxy decrements the SI of what it steps over as
                    // it does for what the function has seen.
                    if !self.is_enterable(number, direction) || path & 0xff == 0 {
                        return broken;
                    }
                    path -= 1;
                    continue;
                }
                Target::Tunnel(number) => End::Tunnel(number),
                Target::Egress(_) | Target::Segment(_) => End::Here,
                Target::Group(..) => return broken,
            };
            return Way { end, path, mtu };
        }
    }

    /// Largest IP packet in an Ethernet frame that `hop` takes.
    fn inner_mtu(&mut self, hop: &Hop) -> u16 {
        self.state.nsh.set(&[0; nsh::MD1_LEN]);
        let mut packet = Packet::opaque(hop.key);
        packet.l2_len = ethernet::HEADER_LEN;
        self.hop_mtu(hop, &packet)
    }

    /// An OAM packet that is for somebody else: never into a function, never out of a port.
    fn hand_on(&mut self, frame: Frame, arrived: &Arrived) {
        if arrived.ttl == 0 {
            return self.drop(frame, DropReason::TtlExpired);
        }
        let way = self.follow(arrived.path);
        match way.end {
            End::Tunnel(number) => self.forward_oam(frame, arrived, way, number),
            End::Here => self.drop(frame, DropReason::NshOam),
            End::Broken => self.drop(frame, DropReason::NoPath),
        }
    }

    pub(super) fn forward_oam(
        &mut self,
        mut frame: Frame,
        arrived: &Arrived,
        way: Way,
        number: u16,
    ) {
        let (header, _) = frame.bytes().split_at(arrived.header.min(frame.len()));
        self.state.nsh.set(header);
        let header = self.state.nsh.octets_mut();
        if let Ok(ttl) = Ttl::new(arrived.ttl) {
            crate::sff::put_ttl(header, ttl);
        }
        crate::sff::put_path(header, way.path);
        frame.pull(arrived.header);
        self.depart_oam(frame, way.path, number);
    }

    /// Sends an OAM message, whose NSH is in `state.nsh`, through a tunnel.
    fn depart_oam(&mut self, frame: Frame, path: u32, number: u16) {
        let packet = Packet::opaque(path);
        if frame.len() > usize::from(self.tunnel_room(number)) {
            return self.drop(frame, DropReason::MtuExceeded);
        }
        self.send_to_tunnel(frame, &packet, number);
    }

    /// Octets that a tunnel takes behind the NSH in `state.nsh`.
    pub(super) fn tunnel_room(&self, number: u16) -> u16 {
        let hop = Hop {
            key: 0,
            number: 0,
            target: Target::Tunnel(number),
            teaches: false,
        };
        self.hop_mtu(&hop, &Packet::opaque(0))
    }

    /// Puts the NSH of an OAM packet into `state.nsh`.
    pub(super) fn oam_nsh(&mut self, path: u32, ttl: Ttl) {
        let (spi, si) = unpack(path);
        let mut octets = [0; nsh::MD1_LEN];
        nsh::Repr {
            // RFC 9516 section 4: "the Next Protocol field MUST be set to SFC Active OAM (0x07)
            // […]. The O bit in the NSH MUST be set, according to [RFC9451]."
            oam: true,
            ttl,
            next: NextProtocol::Other(sfc_oam::NEXT_PROTOCOL),
            spi,
            si,
            metadata: MetadataRepr::One([0; 16]),
        }
        .emit(&mut octets);
        self.state.nsh.set(&octets);
    }

    /// Sends the message in the writer through a tunnel, behind a fresh NSH.
    pub(super) fn send_oam(&mut self, path: u32, ttl: Ttl, number: u16) {
        self.oam_nsh(path, ttl);
        let frame = self.written();
        self.depart_oam(frame, path, number);
    }

    /// The message in the writer, in a frame of our own making.
    pub(super) fn written(&mut self) -> Frame {
        let mut frame = self.out.pool.take();
        frame.fill(self.state.oam.writer.finish());
        self.state.balance.generated += 1;
        frame
    }

    /// A key for the next question.
    pub(super) fn next_key(&mut self) -> Key {
        self.state.oam.keys.next()
    }
}

/// TTL of what goes to the SFF next door and no further.
pub(super) const NEXT_SFF_ONLY: Ttl = match Ttl::new(1) {
    Ok(ttl) => ttl,
    Err(_) => Ttl::MIN,
};

/// The service path header with which `spi` comes to this SFF first.
pub(super) fn highest(tables: &Compiled, spi: u32) -> Option<u32> {
    let paths = tables.tables().paths.iter();
    let paths = paths.filter(|path| path.spi.get() == spi);
    let hops = paths.flat_map(|path| path.hops.iter().map(move |hop| (path.spi, hop.si)));
    hops.map(|(spi, si): (_, Si)| key(spi, si)).max()
}
