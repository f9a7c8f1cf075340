//! Answers to OAM requests that end here: which way they go, and what they say. RFC 9516 sections
//! 6.4.1, 6.5 and 6.6.

use super::Egress;
use super::oam::{Arrived, End, NEXT_SFF_ONLY, Via, Way, highest};
use super::request::is_sound;
use super::run::Run;
use crate::health::Subject;
use crate::oam::Request;
use crate::tables::Target;
use crate::tables::steering::unpack;
use crate::wire::sfc_echo::{self, Kind, ReplyMode, code_number};
use crate::wire::sfc_tlv::{ID_NAMES, Tlv};
use kc_forwarder_api::{DropReason, EchoCode, EchoFunction, EchoReply, Ttl};
use std::net::{IpAddr, SocketAddr};

/// Longest answer: fits the smallest underlay behind all headers.
const LONGEST_ANSWER: usize = 400;

/// Headers in front of an answer, at most: IPv6, UDP, VXLAN-GPE, NSH and OAM.
const HEADERS: usize = 40 + 8 + 8 + 24 + 4;

/// Which way an answer goes.
#[derive(Debug, Clone, Copy)]
enum Route {
    /// In a UDP datagram by itself.
    Udp(SocketAddr),
    /// Along a path, through the tunnel of this number.
    Along(u32, u16),
    /// Back to the neighbour at this tunnel.
    Link(u16),
}

impl Run<'_> {
    /// Answers a request, unless it shall not be or cannot be.
    ///
    /// # Errors
    /// It is one too many.
    pub(super) fn answer(
        &mut self,
        arrived: &Arrived,
        request: &Request,
        via: Via,
        code: EchoCode,
        way: &Way,
    ) -> Result<(), DropReason> {
        if request.mode == ReplyMode::None {
            return Ok(());
        }
        let (now_ms, oam) = (self.now_ms, &mut self.state.oam);
        let bucket = match request.mode {
            ReplyMode::Link => &mut oam.link_answers,
            _ => &mut oam.path_answers,
        };
        if !bucket.take(now_ms) {
            return Err(DropReason::OamLimit);
        }
        let (code, route) = self.route(request, via, code);
        self.compose(request, arrived, code, way);
        match route {
            Some(Route::Udp(remote)) => {
                let mut frame = self.out.pool.take();
                frame.fill(self.state.oam.writer.bare());
                self.state.balance.generated += 1;
                let entropy = 0;
                self.emit_tunnel(Egress::Gpe { remote, entropy }, 0, frame);
            }
            Some(Route::Along(path, number)) => self.send_oam(path, Ttl::MAX, number),
            Some(Route::Link(number)) => self.send_oam(arrived.path, NEXT_SFF_ONLY, number),
            None => {}
        }
        Ok(())
    }

    /// Which way an answer goes, and what it has to say if that is not the way it was to go.
    fn route(&mut self, request: &Request, via: Via, code: EchoCode) -> (EchoCode, Option<Route>) {
        let source = self.source_of(request).map(Route::Udp);
        match (request.mode, code) {
            // RFC 9516 section 6.4 steps 1.1 and 4: such an answer goes "to the system identified
            // in the Source ID TLV".
            (_, EchoCode::AuthenticationFailed) => (code, source),
            (_, EchoCode::Malformed) if source.is_some() => (code, source),
            (ReplyMode::Udp, _) => (code, source),
            (ReplyMode::Path, _) => match self.way_back(request) {
                Ok((path, number)) => (code, Some(Route::Along(path, number))),
                Err(_) if request.fault.is_some() => (code, source),
                Err(code) => (code, source),
            },
            (ReplyMode::Link, _) => (code, self.tunnel_of(via).map(Route::Link)),
            _ => (code, None),
        }
    }

    /// Where the asker wants its answer. Of two addresses the one that we have the family of:
    /// section 6.3.1 wants one answer, to an address chosen "based on the local policy".
    fn source_of(&self, request: &Request) -> Option<SocketAddr> {
        let underlay = self.tables.tables().underlay.as_ref()?;
        let mut sources = request.sources.iter().flatten().copied();
        sources
            .find(|source| is_unicast(*source) && underlay.address.towards(source.ip()).is_some())
    }

    /// The path that an answer takes, with its tunnel.
    fn way_back(&mut self, request: &Request) -> Result<(u32, u16), EchoCode> {
        let asked = request.reply_path.ok_or(EchoCode::ReplyPathMissing)?;
        // Section 6.5.1: the index is that of the answer's NSH. Where it is not one of ours, the
        // asker knows where the path begins, but not which index it has here.
        let path = match self.tables.steering.get(asked) {
            Some(hop) => Some(hop.key),
            None => highest(self.tables, asked >> 8),
        };
        let path = path.ok_or(EchoCode::ReplyPathNotFound)?;
        let way = self.follow(path);
        match way.end {
            End::Tunnel(number) => Ok((way.path, number)),
            // Section 6.5.2: it has no route to the initiator that we could tell.
            End::Here | End::Broken => Err(EchoCode::ReplyPathUnverifiable),
        }
    }

    fn compose(&mut self, request: &Request, arrived: &Arrived, code: EchoCode, way: &Way) {
        // The way back may have gone through other functions.
        self.follow(arrived.path);
        self.state.oam.writer.begin(&sfc_echo::Repr {
            kind: if request.consistency {
                Kind::ConsistencyReply
            } else {
                Kind::Reply
            },
            mode: request.mode,
            code: code_number(code),
            subcode: 0,
            handle: request.key.handle,
            sequence: request.key.sequence,
        });
        if request.mode == ReplyMode::Link || code == EchoCode::AuthenticationFailed {
            return;
        }
        if let (EchoCode::ReplyPathNotFound, Some(path)) = (code, request.reply_path) {
            // Section 6.5.2: it "MUST […] include the Reply Service Function Path TLV from the
            // Echo Request message."
            let (spi, si) = unpack(path);
            let tlv = Tlv::ReplyPath { spi, si };
            self.state.oam.writer.add(&tlv, LONGEST_ANSWER);
        }
        if !request.consistency {
            self.add_functions(arrived, way);
        } else if is_sound(code) {
            self.add_record(arrived);
        }
        if code == EchoCode::TlvNotUnderstood && !request.errored.is_empty() {
            let errored = Tlv::Errored(&request.errored);
            self.state.oam.writer.add(&errored, LONGEST_ANSWER);
        }
    }

    /// Who we are and which functions are here, for our own kind.
    fn add_functions(&mut self, arrived: &Arrived, way: &Way) {
        let (tables, state) = (self.tables, &mut *self.state);
        let (oam, health) = (&mut state.oam, &state.health);
        let (_, si) = unpack(arrived.path);
        let mtu = if way.mtu == u16::MAX { 0 } else { way.mtu };
        let name = &oam.name;
        let mut fits = oam.writer.add(&Tlv::Sff { mtu, si, name }, LONGEST_ANSWER);
        for &(_, number) in &oam.functions {
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
    }

    /// The functions of the path at this SFF. Section 6.6.1: "The SFF MUST include the SFF
    /// Information Record TLV (Figure 9) in the CVRep message."
    fn add_record(&mut self, arrived: &Arrived) {
        let (tables, oam) = (self.tables, &mut self.state.oam);
        let room = usize::from(tables.underlay_mtu()).saturating_sub(HEADERS);
        let room = room.max(LONGEST_ANSWER);
        let (spi, _) = unpack(arrived.path);
        oam.inner.clear();
        for &(path, number) in &oam.functions {
            // Section 6.6.3.2: where one of several gets a flow, "all the respective SF
            // Identifiers will be listed sequentially".
            let target = tables.steering.get(path).map(|hop| hop.target);
            let group = match target {
                Some(Target::Group(group, _)) => tables.groups.get(usize::from(group)),
                _ => None,
            };
            let alone = [Subject::Function(number)];
            let members = group.map_or(&alone[..], |group| &group.members);
            let mut ids = Vec::new();
            for member in members {
                let Subject::Function(number) = member else {
                    continue;
                };
                if let Some(function) = tables.functions.get(usize::from(*number)) {
                    ids.extend(function.name.as_str().bytes().chain([0]));
                }
            }
            // Section 6.6.3.1: "Information about each SF MUST be listed as separate SF
            // Information Sub-TLVs".
            let (_, si) = unpack(path);
            let tlv = Tlv::Information {
                si,
                kind: 0,
                id: ID_NAMES,
                ids: &ids,
            };
            let before = oam.inner.len();
            let functions = &oam.inner;
            let record = Tlv::Record { spi, functions }.buffer_len();
            if oam.writer.len() + record + tlv.buffer_len() > room {
                break;
            }
            oam.inner.resize(before + tlv.buffer_len(), 0);
            if let Some(place) = oam.inner.get_mut(before..) {
                tlv.emit(place);
            }
        }
        let functions = &oam.inner;
        oam.writer.add(&Tlv::Record { spi, functions }, room);
    }

    /// What an echo finds at this SFF itself.
    pub(super) fn found_here(&mut self, path: u32, ttl: Ttl, code: EchoCode) -> EchoReply {
        let way = self.follow(path);
        let (spi, si) = unpack(path);
        let functions = self.state.oam.functions.iter().filter_map(|&(_, number)| {
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
}

fn is_unicast(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0
        && !(ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || broadcast)
}
