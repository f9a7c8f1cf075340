//! Echoes that are asked for here: RFC 9516's echo request, from the SFF where a path begins, or
//! from any other on it.

use super::oam::{End, highest};
use super::run::Run;
use super::{Outputs, Pipeline};
use crate::oam::{Asked, EchoError, Outcome, Purpose};
use crate::tables::CompiledTunnel;
use crate::tables::steering::{key, unpack};
use crate::wire::sfc_echo::{self, Kind, ReplyMode};
use crate::wire::sfc_tlv::{self, Tlv};
use kc_forwarder_api::{Echo, EchoCode, MAX_ECHO_TIMEOUT_MS, Si, Spi, Ttl};
use std::net::{IpAddr, SocketAddr};

impl Pipeline {
    /// Sends an echo. What comes of it is told by [`outcomes`](Self::outcomes) under `token`, at
    /// once where this SFF itself has the answer.
    ///
    /// # Errors
    /// It cannot be sent.
    pub fn echo(
        &mut self,
        now_ms: u64,
        token: u64,
        echo: &Echo,
        out: &mut Outputs,
    ) -> Result<(), EchoError> {
        self.run(now_ms, out).echo(token, echo)
    }

    /// What has come of echoes since the last call.
    pub fn outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.state.oam.outcomes)
    }

    /// Whether there are outcomes or changes of health to be told.
    pub fn has_news(&self) -> bool {
        !self.state.oam.outcomes.is_empty() || self.state.health.has_events()
    }

    /// Tells the time on a finer clock, which starts with that of [`process`](Self::process).
    /// Round trips are as exact as it was told.
    pub fn set_time_us(&mut self, now_us: u64) {
        self.state.oam.now_us = now_us;
    }

    /// Makes what is sent from now on unpredictable for whoever does not know `secret`.
    pub fn set_secret(&mut self, secret: [u8; 16]) {
        self.state.oam.keys.set_secret(secret);
    }
}

impl Run<'_> {
    /// Tells of echoes that were answered by silence.
    pub(super) fn give_up_echoes(&mut self) {
        let (now_ms, oam) = (self.now_ms, &mut self.state.oam);
        let outcomes = &mut oam.outcomes;
        oam.under_way.expire(now_ms, |token| {
            outcomes.push(Outcome { token, reply: None });
        });
    }

    fn echo(&mut self, token: u64, echo: &Echo) -> Result<(), EchoError> {
        let start = match echo.si {
            Some(si) => Some(key(echo.spi, si)),
            None => highest(self.tables, echo.spi.get()),
        };
        let start = start.ok_or(EchoError::NoPath(echo.spi))?;
        let ttl = echo.ttl.unwrap_or(Ttl::MAX);
        let way = self.follow(start);
        let (code, number) = match way.end {
            End::Here => (EchoCode::EndOfPath, None),
            End::Broken => (EchoCode::NoNextHop, None),
            End::Tunnel(_) if ttl == Ttl::MIN => (EchoCode::TtlExceeded, None),
            End::Tunnel(number) => (EchoCode::TtlExceeded, Some(number)),
        };
        let Some(number) = number else {
            let reply = Some(self.found_here(start, ttl, code));
            self.state.oam.outcomes.push(Outcome { token, reply });
            return Ok(());
        };
        if !self.state.oam.under_way.has_room() {
            return Err(EchoError::Busy(crate::oam::MAX_ECHOES));
        }
        self.oam_nsh(way.path, ttl);
        let room = usize::from(self.tunnel_room(number));
        let header = self.state.nsh.len();
        // RFC 9516 section 6: TLVs are whole words, and so are headers.
        let size = usize::from(echo.size).next_multiple_of(4);
        let max = (header + room) / 4 * 4;
        if size > max {
            let max = u16::try_from(max).unwrap_or(u16::MAX);
            return Err(EchoError::TooLong { max });
        }
        let key = self.next_key();
        let purpose = Purpose::Echo {
            token,
            spi: echo.spi,
            ttl,
            deadline_ms: self.now_ms + u64::from(echo.timeout_ms.clamp(1, MAX_ECHO_TIMEOUT_MS)),
        };
        self.write_request(echo, key, number, size.saturating_sub(header))?;
        let sent_us = self.now_us();
        self.state
            .oam
            .under_way
            .ask(key, Asked { purpose, sent_us });
        self.send_oam(way.path, ttl, number);
        Ok(())
    }

    /// Writes a request of `length` octets, or as long as it has to be.
    fn write_request(
        &mut self,
        echo: &Echo,
        key: crate::oam::Key,
        number: u16,
        length: usize,
    ) -> Result<(), EchoError> {
        let reverse = self.reverse_of(echo.spi);
        let source = self.source(number);
        // An answer along the reverse path needs no address that everybody can reach.
        let mode = match (reverse, source) {
            (Some(_), _) => ReplyMode::Path,
            (None, Some(_)) => ReplyMode::Udp,
            (None, None) => return Err(EchoError::NoReturn(echo.spi)),
        };
        let writer = &mut self.state.oam.writer;
        writer.begin(&sfc_echo::Repr {
            kind: Kind::Request,
            mode,
            code: 0,
            subcode: 0,
            handle: key.handle,
            sequence: key.sequence,
        });
        // RFC 9516 section 6.3.1: "The sender of the SFC Echo Request MUST include the Source ID
        // TLV". On LANs alone there is no address that it could hold.
        if let Some(source) = source {
            let (address, port) = (source.ip(), source.port());
            writer.add(&Tlv::Source { address, port }, usize::MAX);
        }
        if let Some(spi) = reverse {
            writer.add(&Tlv::ReplyPath { spi, si: Si::MAX }, usize::MAX);
        }
        if let Some(padding) = length
            .checked_sub(writer.len() + sfc_tlv::HEADER_LEN)
            .and_then(|padding| u16::try_from(padding).ok())
        {
            writer.add(&Tlv::Padding(padding), usize::MAX);
        }
        Ok(())
    }

    /// The path that answers take, where it comes back to this SFF.
    fn reverse_of(&self, spi: Spi) -> Option<Spi> {
        let reverse = self.tables.reverse(spi.get())?;
        let here = highest(self.tables, reverse)?;
        Some(unpack(here).0)
    }

    /// Our VTEP, of the family that a tunnel has.
    fn source(&self, number: u16) -> Option<SocketAddr> {
        let underlay = self.tables.tables().underlay.as_ref()?;
        let remote = self.tables.tunnels.get(usize::from(number));
        let v6 = matches!(remote, Some(CompiledTunnel::Gpe { remote, .. }) if remote.is_ipv6());
        let mut addresses: Vec<IpAddr> = underlay.address.iter().collect();
        addresses.sort_by_key(|address| address.is_ipv6() != v6);
        let address = *addresses.first()?;
        Some(SocketAddr::new(address, underlay.gpe_port))
    }
}
