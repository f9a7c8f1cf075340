//! OAM packets at this SFF: answered, handed on, or matched with what was asked here. RFC 9451
//! and RFC 9516 section 6.

use super::Egress;
use super::packet::Packet;
use super::run::{Origin, Run};
use crate::frame::Frame;
use crate::health::Subject;
use crate::limits::Bucket;
use crate::oam::{Heard, Key, Keys, Outcome, Purpose, Reply, Request, UnderWay, Writer, read};
use crate::tables::steering::{Hop, key, unpack};
use crate::tables::{Compiled, CompiledTunnel, Target};
use crate::wire::nsh::{self, MetadataRepr, NextProtocol};
use crate::wire::sfc_echo::{self, Kind, ReplyMode, code_number};
use crate::wire::sfc_tlv::Tlv;
use crate::wire::{ethernet, sfc_oam, vxlan_gpe};
use kc_forwarder_api::{DropReason, EchoCode, EchoFunction, EchoReply, Si, Ttl, Vni};
use std::net::{IpAddr, SocketAddr};

/// Answers about paths, a second and at once.
const PATH_ANSWERS: (u64, u64) = (100, 50);

/// Answers to those who ask across one link whether we live. They are no longer than the
/// question, and go nowhere but back.
const LINK_ANSWERS: (u64, u64) = (5_000, 1_000);

/// Longest answer: fits the smallest underlay behind all headers.
const LONGEST_ANSWER: usize = 400;

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
    path_answers: Bucket,
    link_answers: Bucket,
    /// Functions on the way of the packet at hand.
    functions: Vec<u16>,
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
struct Arrived {
    path: u32,
    /// After this hop; 0 when it may go no further.
    ttl: u8,
    header: usize,
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
        // RFC 9451 section 2: an OAM packet is one whose next protocol is an OAM protocol, or
        // whose context is. Only SFC Active OAM is spoken here; RFC 8300 section 2.2 has elements
        // discard the OAM packets whose procedures they do not support.
        if packet.next_protocol() != NextProtocol::Other(sfc_oam::NEXT_PROTOCOL) {
            return self.drop(frame, DropReason::NshOam);
        }
        let arrived = Arrived {
            path: key(packet.spi(), packet.si()),
            ttl: packet.ttl().checked_sub(1).unwrap_or(63),
            header: packet.header_len(),
        };
        match read(packet.payload()) {
            Some(Heard::Reply(reply)) if self.is_answer(&reply, via) => {
                self.consume(frame);
                self.answered(reply);
            }
            Some(Heard::Reply(_)) => self.hand_on(frame, &arrived),
            Some(Heard::Request(request)) => self.requested(frame, &arrived, &request, via),
            None => self.drop(frame, DropReason::NshOam),
        }
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
                    self.state.oam.functions.push(number);
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

    /// A request that may be for us.
    fn requested(&mut self, frame: Frame, arrived: &Arrived, request: &Request, via: Via) {
        if !self.is_known(via) {
            return self.drop(frame, DropReason::UnknownVtep);
        }
        let way = self.follow(arrived.path);
        // RFC 9516 section 6.4: what is wrong with a request is told first, then that the path
        // ends here, then that its TTL does.
        let code = match (request.fault, way.end) {
            (Some(fault), _) => fault,
            (None, End::Here) => EchoCode::EndOfPath,
            _ if arrived.ttl == 0 => EchoCode::TtlExceeded,
            (None, End::Broken) => EchoCode::NoNextHop,
            (None, End::Tunnel(number)) => {
                return self.forward_oam(frame, arrived, way, number);
            }
        };
        self.answer(frame, arrived, request, via, code, &way);
    }

    /// Whether somebody who is in the tables handed us an OAM packet.
    fn is_known(&self, via: Via) -> bool {
        self.tunnel_of(via).is_some()
    }

    fn tunnel_of(&self, via: Via) -> Option<u16> {
        let (from, from_vni) = match via {
            Via::Gpe { remote, vni } => (remote, vni),
            Via::Lan(tunnel) => return tunnel,
            Via::Function(_) => return None,
        };
        let place = self.tables.tunnels.iter().position(|tunnel| {
            matches!(tunnel, CompiledTunnel::Gpe { remote, vni }
                if (remote.ip(), vni.get()) == (from, from_vni))
        });
        place.and_then(|place| u16::try_from(place).ok())
    }

    /// Whether a packet from a VTEP that we have no tunnel to answers an echo of ours: where there
    /// is no way back along a path, an SFF far down the path answers by itself.
    pub(super) fn is_awaited(&self, octets: &[u8]) -> bool {
        let packet = nsh::Packet::new_checked(octets).ok();
        let packet = packet.filter(|packet| {
            let next = NextProtocol::Other(sfc_oam::NEXT_PROTOCOL);
            packet.oam() && packet.next_protocol() == next
        });
        let Some(packet) = packet else { return false };
        let Some(Heard::Reply(reply)) = read(packet.payload()) else {
            return false;
        };
        let asked = self.state.oam.under_way.get(reply.key);
        asked.is_some_and(|asked| matches!(asked.purpose, Purpose::Echo { .. }))
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

    fn forward_oam(&mut self, mut frame: Frame, arrived: &Arrived, way: Way, number: u16) {
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
            // RFC 9516 section 5: the O bit is set and the next protocol is SFC Active OAM.
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

    /// Answers a request, which ends here.
    fn answer(
        &mut self,
        frame: Frame,
        arrived: &Arrived,
        request: &Request,
        via: Via,
        code: EchoCode,
        way: &Way,
    ) {
        if request.mode == ReplyMode::None {
            return self.consume(frame);
        }
        let across_link = request.mode == ReplyMode::Transport && request.source.is_none();
        let (now_ms, oam) = (self.now_ms, &mut self.state.oam);
        let bucket = if across_link {
            &mut oam.link_answers
        } else {
            &mut oam.path_answers
        };
        if !bucket.take(now_ms) {
            return self.drop(frame, DropReason::OamLimit);
        }
        self.consume(frame);
        let back = match request.mode {
            ReplyMode::Path => self.way_back(request),
            _ => Ok(None),
        };
        let code = back.as_ref().err().copied().unwrap_or(code);
        self.compose(request, arrived, code, way, across_link);
        match (back, request.mode, request.source) {
            (Ok(Some((path, number))), ..) => self.send_oam(path, Ttl::MAX, number),
            // RFC 9516 section 6.3.1: in a UDP datagram of its own.
            (_, ReplyMode::Udp, Some(source)) if is_unicast(source) => {
                let frame = self.written();
                let entropy = 0;
                let remote = source;
                self.emit_tunnel(Egress::Gpe { remote, entropy }, 0, frame);
            }
            (_, ReplyMode::Path | ReplyMode::Transport, Some(source)) if is_unicast(source) => {
                self.answer_to(source, arrived.path, via);
            }
            (_, ReplyMode::Transport, None) => {
                if let Some(number) = self.tunnel_of(via) {
                    self.send_oam(arrived.path, NEXT_SFF_ONLY, number);
                }
            }
            _ => {}
        }
    }

    /// The path that an answer takes, with its tunnel; `None` where the request names none that
    /// leads anywhere.
    fn way_back(&mut self, request: &Request) -> Result<Option<(u32, u16)>, EchoCode> {
        let asked = request.reply_path.ok_or(EchoCode::ReplyPathMissing)?;
        // The asker knows where the path begins, not which index it has here.
        let path = match self.tables.steering.get(asked) {
            Some(hop) => Some(hop.key),
            None => highest(self.tables, asked >> 8),
        };
        let path = path.ok_or(EchoCode::ReplyPathNotFound)?;
        let way = self.follow(path);
        match way.end {
            End::Tunnel(number) => Ok(Some((way.path, number))),
            End::Here | End::Broken => Err(EchoCode::ReplyPathNotFound),
        }
    }

    fn compose(
        &mut self,
        request: &Request,
        arrived: &Arrived,
        code: EchoCode,
        way: &Way,
        across_link: bool,
    ) {
        // The way back may have gone through other functions.
        self.follow(arrived.path);
        let (tables, state) = (self.tables, &mut *self.state);
        let (oam, health) = (&mut state.oam, &state.health);
        oam.writer.begin(&sfc_echo::Repr {
            kind: Kind::Reply,
            mode: request.mode,
            code: code_number(code),
            subcode: 0,
            handle: request.key.handle,
            sequence: request.key.sequence,
        });
        if across_link {
            return;
        }
        let (_, si) = unpack(arrived.path);
        let mtu = if way.mtu == u16::MAX { 0 } else { way.mtu };
        let name = &oam.name;
        let mut fits = oam.writer.add(&Tlv::Sff { mtu, si, name }, LONGEST_ANSWER);
        for &number in &oam.functions {
            let function = tables.functions.get(usize::from(number));
            let Some(function) = function.filter(|_| fits) else {
                continue;
            };
            let (state, rtt_us) = health.of(Subject::Function(number));
            let tlv = Tlv::Function {
                state,
                rtt_us: rtt_us.unwrap_or(0),
                name: function.name.as_str().as_bytes(),
            };
            fits = oam.writer.add(&tlv, LONGEST_ANSWER);
        }
        if !request.errored.is_empty() {
            let errored = Tlv::Errored(&request.errored);
            oam.writer.add(&errored, LONGEST_ANSWER);
        }
    }

    /// Over the underlay, to whoever asked, in the encapsulation of the request.
    fn answer_to(&mut self, remote: SocketAddr, path: u32, via: Via) {
        let vni = match via {
            Via::Gpe { vni, .. } => Vni::new(vni).ok(),
            // The asker takes the answer by its key, whatever its VNI.
            Via::Lan(_) => self
                .tables
                .gpe_vnis
                .iter()
                .find_map(|&vni| Vni::new(vni).ok()),
            Via::Function(_) => None,
        };
        let Some(vni) = vni else { return };
        self.oam_nsh(path, NEXT_SFF_ONLY);
        let mut frame = self.written();
        let nsh = self.state.nsh.octets();
        let outer = frame.push(vxlan_gpe::HEADER_LEN + nsh.len());
        let (header, inner) = outer.split_at_mut(vxlan_gpe::HEADER_LEN);
        vxlan_gpe::Repr {
            vni,
            next: vxlan_gpe::NextProtocol::Nsh,
            oam: false,
        }
        .emit(header);
        inner.copy_from_slice(nsh);
        let entropy = Packet::opaque(path).entropy();
        self.emit_tunnel(Egress::Gpe { remote, entropy }, vni.get(), frame);
    }

    /// What an echo finds at this SFF itself.
    pub(super) fn found_here(&mut self, path: u32, ttl: Ttl, code: EchoCode) -> EchoReply {
        let way = self.follow(path);
        let (spi, si) = unpack(path);
        let functions = self.state.oam.functions.iter().filter_map(|&number| {
            let (state, rtt_us) = self.state.health.of(Subject::Function(number));
            let function = self.tables.functions.get(usize::from(number))?;
            Some(EchoFunction {
                name: function.name.clone(),
                state,
                rtt_us,
            })
        });
        EchoReply {
            from: crate::oam::responder(&self.state.oam.name),
            code,
            rtt_us: 0,
            spi,
            si: Some(si),
            ttl,
            mtu: Some(way.mtu).filter(|&mtu| mtu < u16::MAX),
            functions: functions.collect(),
        }
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

fn is_unicast(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0
        && !(ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || broadcast)
}
