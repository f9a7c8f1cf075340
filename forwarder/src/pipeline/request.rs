//! OAM requests at this SFF: which of them end here, who may ask, and what is wrong with them. RFC
//! 9516 section 6.4.

use super::oam::{Arrived, End, Via};
use super::run::Run;
use crate::frame::Frame;
use crate::oam::Request;
use crate::tables::CompiledTunnel;
use crate::wire::sfc_echo::ReplyMode;
use kc_forwarder_api::{DropReason, EchoCode};
use std::net::IpAddr;

impl Run<'_> {
    /// A request that may be for us. RFC 9516 section 6.4: looking at it "is triggered by […] NSH
    /// TTL expiration, NSH Service Index expiration, or the receiver is the terminal SFF for an
    /// SFP". All others pass, whatever is in them, except for what every SFF answers (section 6.6).
    pub(super) fn requested(
        &mut self,
        frame: Frame,
        arrived: &Arrived,
        request: &Request,
        via: Via,
    ) {
        // Section 7: "an implementation MUST have means to check that the source of the Echo
        // Request is part of the SFP."
        if !self.is_known(via) {
            return self.drop(frame, DropReason::UnknownVtep);
        }
        let way = self.follow(arrived.path);
        let onward = match way.end {
            End::Tunnel(number) if arrived.ttl > 0 => Some(number),
            _ => None,
        };
        if let (Some(number), false) = (onward, request.consistency) {
            return self.forward_oam(frame, arrived, way, number);
        }
        let code = match way.end {
            End::Here => EchoCode::EndOfPath,
            _ if arrived.ttl == 0 => EchoCode::TtlExceeded,
            // A service index that has ended is no error of the SFF's.
            End::Broken if way.path & 0xff != 0 => EchoCode::NoNextHop,
            End::Tunnel(_) | End::Broken => EchoCode::NoError,
        };
        let code = match self.judge(arrived, request) {
            Ok(fault) => fault.unwrap_or(code),
            Err(reason) => return self.drop(frame, reason),
        };
        if let Err(reason) = self.answer(arrived, request, via, code, &way) {
            return self.drop(frame, reason);
        }
        match onward {
            Some(number) if is_sound(code) => self.forward_oam(frame, arrived, way, number),
            _ => self.consume(frame),
        }
    }

    /// What is wrong with a request, in the order of RFC 9516 section 6.4; an error where it is
    /// not even to be told.
    fn judge(&self, arrived: &Arrived, request: &Request) -> Result<Option<EchoCode>, DropReason> {
        // "If the Source ID TLV is determined to be malformed, the received SFC Echo Request
        // processing is stopped, the message is dropped".
        if request.source_malformed {
            return Err(DropReason::NshOam);
        }
        // "If the SFC Echo Request is integrity protected, the receiving SFF first MUST verify the
        // authentication." There are no keys here, so it fails.
        if arrived.protected {
            return Ok(Some(EchoCode::AuthenticationFailed));
        }
        // For the same reason no answer can be protected.
        if matches!(
            request.mode,
            ReplyMode::ProtectedUdp | ReplyMode::ProtectedPath
        ) {
            return Err(DropReason::NshOam);
        }
        // Section 7: "implementations MUST provide a means of checking the source addresses of
        // CVReq messages, […] against an access list before accepting the message." The list is
        // that of the SFFs that tunnels lead to.
        let is_listed = |address: IpAddr| {
            let mut remotes = self.tables.gpe_remotes.keys();
            remotes.any(|&(remote, _)| remote == address)
        };
        let mut sources = request.sources.iter().flatten().peekable();
        if request.consistency
            && (sources.peek().is_none() || !sources.all(|source| is_listed(source.ip())))
        {
            return Err(DropReason::UnknownVtep);
        }
        Ok(request.fault)
    }

    /// Whether somebody who is in the tables handed us an OAM packet.
    fn is_known(&self, via: Via) -> bool {
        self.tunnel_of(via).is_some()
    }

    pub(super) fn tunnel_of(&self, via: Via) -> Option<u16> {
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
}

/// Whether a request with this return code is believed, and not only answered.
pub(super) const fn is_sound(code: EchoCode) -> bool {
    !matches!(code, EchoCode::Malformed | EchoCode::AuthenticationFailed)
}
