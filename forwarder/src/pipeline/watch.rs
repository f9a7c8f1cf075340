//! What captures see of a frame on its way. Every stage tells here, and only while somebody
//! captures; nothing here changes what becomes of the frame.

use super::run::Run;
use super::{Egress, Pipeline, PortIndex};
use crate::capture::pcapng::Way;
use crate::capture::{Layer, Outer, Seen, Sight, Tap, Verdict, Via};
use crate::classifier::Choice;
use crate::frame::Frame;
use crate::sff;
use crate::tables::steering::Hop;
use crate::tables::{self, Compiled, CompiledTunnel, Role, Target};
use crate::wire::{ethernet, vlan, vxlan_gpe};
use kc_forwarder_api::{CapturePoint, DropReason};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

impl Pipeline {
    /// Whether anybody captures: the shell then tells what time it is.
    pub fn is_captured(&self) -> bool {
        self.state.taps.on
    }

    /// Tells when the next batch was taken, in nanoseconds since 1970.
    pub fn set_capture_time(&mut self, at_ns: u64) {
        self.state.taps.at_ns = at_ns;
    }

    /// Tells which UDP ports are sent from, over IPv4 and over IPv6, by entropy.
    pub fn set_sources(&mut self, sources: [Vec<u16>; 2]) {
        self.state.taps.sources = sources;
    }

    /// Begins to capture. The shell calls [`wakes_reader`](Self::wakes_reader) from then on.
    pub fn tap(&mut self, tap: Tap) {
        self.state.taps.add(tap, &self.tables);
    }

    /// Whether a capture's reader is to be woken; to be asked once a batch while
    /// [captured](Self::is_captured).
    pub fn wakes_reader(&self) -> bool {
        self.state.taps.want_waking()
    }

    /// Shows frames that the shell could not send. What they were was seen when they left.
    #[cold]
    pub(super) fn saw_refused(&mut self, egress: Egress, reason: DropReason, frames: u64) {
        let via = match egress {
            Egress::Port(port) => Via::Port(port),
            Egress::Gpe { remote, .. } => tunnel_to(&self.tables, remote.ip()),
            Egress::Vxlan { .. } => Via::Vxlan,
        };
        let sight = Sight {
            verdict: Verdict::Drop(reason),
            ..blank(CapturePoint::Drop, Way::Outbound, via)
        };
        for _ in 0..frames {
            self.state.taps.show(&self.tables, &sight);
        }
    }
}

const fn blank(point: CapturePoint, way: Way, via: Via) -> Sight<'static> {
    Sight {
        point,
        way,
        via,
        outer: Outer::Ethernet,
        path: None,
        vni: None,
        functions: [None, None],
        rule: None,
        verdict: Verdict::None,
        target: None,
        tunnel: None,
        octets: [&[], &[]],
    }
}

/// The tunnel to `remote`, if one is named.
fn tunnel_to(tables: &Compiled, remote: IpAddr) -> Via {
    let mut tunnels = tables.tunnels.iter();
    let leads = |tunnel: &CompiledTunnel| match tunnel {
        CompiledTunnel::Gpe { remote: to, .. } => to.ip() == remote,
        CompiledTunnel::Lan(_) => false,
    };
    let place = tunnels.position(leads);
    let place = place.and_then(|place| u16::try_from(place).ok());
    place.map_or(Via::Gpe, Via::Tunnel)
}

/// VNI and, behind VXLAN-GPE, service path header of a UDP payload, as far as it has them.
fn tunnelled(payload: &[u8], gpe: bool) -> (Option<u32>, Option<u32>) {
    let vni = payload.get(4..7).map(|vni| {
        vni.iter()
            .fold(0, |vni, &octet| vni << 8 | u32::from(octet))
    });
    let carries_nsh = gpe
        && vxlan_gpe::Repr::parse(payload)
            .is_ok_and(|header| header.next == vxlan_gpe::NextProtocol::Nsh);
    let nsh = payload.get(vxlan_gpe::HEADER_LEN..).filter(|_| carries_nsh);
    (vni, nsh.and_then(sff::path))
}

/// The service path header of an Ethernet frame, tagged or not, that carries an NSH.
fn nsh_path(frame: &[u8]) -> Option<u32> {
    let kind = |at: usize| frame.get(at..at + 2).map(|kind| [kind[0], kind[1]]);
    let untagged = kind(12)? == ethernet::ethertype::NSH.to_be_bytes();
    let tagged = kind(12)? == ethernet::ethertype::VLAN.to_be_bytes()
        && kind(16)? == ethernet::ethertype::NSH.to_be_bytes();
    let start = match (untagged, tagged) {
        (true, _) => ethernet::HEADER_LEN,
        (_, true) => ethernet::HEADER_LEN + vlan::HEADER_LEN,
        _ => return None,
    };
    frame.get(start..).and_then(sff::path)
}

impl Run<'_> {
    /// A frame has come in by a port.
    #[cold]
    pub(super) fn saw_arrival(&mut self, port: PortIndex) {
        self.state.taps.seen = Seen::new(Via::Port(port), Layer::Ethernet);
    }

    /// A datagram has come from `remote`; `frame` begins with its VXLAN or VXLAN-GPE header.
    #[cold]
    pub(super) fn saw_datagram(&mut self, remote: IpAddr, frame: &Frame, gpe: bool) {
        let via = if gpe {
            tunnel_to(self.tables, remote)
        } else {
            Via::Vxlan
        };
        let outer = Outer::Udp {
            from: SocketAddr::new(remote, 0),
            to: SocketAddr::new(self.own(remote), self.own_port(gpe)),
            class: frame.offload.outer_class,
        };
        let (vni, path) = tunnelled(frame.bytes(), gpe);
        self.state.taps.seen = Seen::new(via, Layer::Udp(outer));
        let sight = Sight {
            outer,
            vni,
            path,
            octets: [&[], frame.bytes()],
            ..blank(CapturePoint::Tunnel, Way::Inbound, via)
        };
        self.state.taps.show(self.tables, &sight);
    }

    /// The classifier has chosen.
    #[cold]
    pub(super) fn saw_choice(&mut self, port: PortIndex, frame: &Frame, choice: &Choice) {
        let rules = &self.tables.rules;
        let rule = choice.rule.and_then(|rule| rules.get(rule as usize));
        let vni = |segment: u16| {
            let segment = self.tables.segments.get(usize::from(segment));
            Verdict::Segment(segment.map_or(0, |segment| segment.vni.get()))
        };
        let (verdict, path, target) = match rule.map(|rule| rule.verdict) {
            Some(tables::Verdict::Path(hop)) => {
                (Verdict::Path, Some(choice.path.unwrap_or(hop.key)), None)
            }
            Some(tables::Verdict::Segment(segment)) => (vni(segment), None, None),
            Some(tables::Verdict::Egress(egress)) => (Verdict::Egress, None, Some(egress)),
            Some(tables::Verdict::Drop) => (Verdict::Drop(DropReason::RuleDrop), None, None),
            None => match self
                .tables
                .ports
                .get(port.at())
                .and_then(|port| port.segment)
            {
                Some(segment) => (vni(segment), None, None),
                None => (Verdict::Drop(DropReason::NoMatch), None, None),
            },
        };
        let sight = Sight {
            path,
            rule: choice.rule,
            verdict,
            target,
            octets: [&[], frame.bytes()],
            ..blank(CapturePoint::Ingress, Way::Inbound, Via::Port(port))
        };
        self.state.taps.show(self.tables, &sight);
    }

    /// A frame has come out of a function, which is known but not yet where it goes on.
    #[cold]
    pub(super) fn saw_function(&mut self, function: u16) {
        self.state.taps.seen.from = Some(function);
    }

    /// A frame that came out of a function goes on at `path`.
    #[cold]
    pub(super) fn saw_return(&mut self, port: PortIndex, frame: &Frame, path: Option<u32>) {
        let sight = Sight {
            path,
            functions: [self.state.taps.seen.from, None],
            octets: [&[], frame.bytes()],
            ..blank(CapturePoint::Function, Way::Inbound, Via::Port(port))
        };
        self.state.taps.show(self.tables, &sight);
    }

    /// As [`saw_return`](Self::saw_return), of a frame that brings its NSH along.
    #[cold]
    pub(super) fn saw_aware_return(&mut self, port: PortIndex, frame: &Frame) {
        self.saw_return(port, frame, nsh_path(frame.bytes()));
    }

    /// A frame has come from another SFF on a port's LAN, by `tunnel` if one is known.
    #[cold]
    pub(super) fn saw_neighbour(&mut self, port: PortIndex, frame: &Frame, tunnel: Option<u16>) {
        let sight = Sight {
            path: nsh_path(frame.bytes()),
            tunnel,
            octets: [&[], frame.bytes()],
            ..blank(CapturePoint::Tunnel, Way::Inbound, Via::Port(port))
        };
        self.state.taps.show(self.tables, &sight);
    }

    /// The frame at hand is ready to leave for another SFF on a LAN, or would be if that were
    /// known. It may be another one than the stages before were about: the caller puts back what was
    /// known of that.
    #[cold]
    pub(super) fn saw_lan(&mut self, frame: &Frame, tunnel: u16) {
        let _ = self.state.taps.begin_own();
        self.state.taps.seen.path = nsh_path(frame.bytes());
        self.state.taps.seen.into = Some(tunnel);
    }

    /// The frame at hand begins with something else by now.
    #[cold]
    pub(super) fn saw_layer(&mut self, layer: Layer) {
        self.state.taps.seen.layer = layer;
    }

    /// The frame at hand was looked up with the service path header of `hop`.
    #[cold]
    pub(super) fn saw_hop(&mut self, hop: &Hop) {
        let seen = &mut self.state.taps.seen;
        seen.path = Some(hop.key);
        seen.layer = Layer::Inner;
    }

    /// The frame at hand goes to `target`.
    #[cold]
    pub(super) fn saw_target(&mut self, target: Target) {
        let seen = &mut self.state.taps.seen;
        (seen.to, seen.into) = match target {
            Target::Function(function, _) => (Some(function), None),
            Target::Tunnel(tunnel) => (None, Some(tunnel)),
            Target::Egress(_) | Target::Segment(_) | Target::Group(..) => (None, None),
        };
    }

    /// A frame leaves.
    #[cold]
    pub(super) fn saw_leaving(&mut self, egress: Egress, frame: &Frame) {
        let seen = self.state.taps.seen;
        let (via, outer, (vni, path)) = match egress {
            Egress::Port(port) => (Via::Port(port), Outer::Ethernet, (None, seen.path)),
            Egress::Gpe { remote, entropy } => (
                tunnel_to(self.tables, remote.ip()),
                self.outgoing(remote, entropy, frame.offload.outer_class),
                tunnelled(frame.bytes(), true),
            ),
            Egress::Vxlan { remote, entropy } => (
                Via::Vxlan,
                self.outgoing(remote, entropy, frame.offload.outer_class),
                tunnelled(frame.bytes(), false),
            ),
        };
        // What we make ourselves goes to a function's leg without having been steered there.
        let leg = match via {
            Via::Port(port) => self.tables.ports.get(port.at()).map(|port| port.role),
            _ => None,
        };
        let to = match leg {
            Some(Role::Leg(function, _)) => seen.to.or(Some(function)),
            _ => seen.to,
        };
        let point = match (via, to, seen.into) {
            (Via::Port(_), Some(_), _) => CapturePoint::Function,
            (Via::Port(_), None, None) => CapturePoint::Egress,
            _ => CapturePoint::Tunnel,
        };
        let sight = Sight {
            outer,
            vni,
            path,
            functions: [None, to.filter(|_| point == CapturePoint::Function)],
            tunnel: seen.into.filter(|_| matches!(via, Via::Port(_))),
            octets: [&[], frame.bytes()],
            ..blank(point, Way::Outbound, via)
        };
        self.state.taps.show(self.tables, &sight);
    }

    /// A frame is dropped.
    #[cold]
    pub(super) fn saw_drop(&mut self, frame: &Frame, reason: DropReason) {
        let seen = self.state.taps.seen;
        let bytes = frame.bytes();
        let alone: [&[u8]; 2] = [&[], bytes];
        let (outer, vni, path, octets) = match seen.layer {
            Layer::Ethernet => (Outer::Ethernet, None, seen.path, alone),
            Layer::Nsh => (Outer::Nsh, None, sff::path(bytes), alone),
            Layer::Inner => (
                Outer::Nsh,
                None,
                seen.path,
                [self.state.nsh.octets(), bytes],
            ),
            Layer::Udp(outer) => {
                let (vni, path) = tunnelled(bytes, seen.via != Via::Vxlan);
                (outer, vni, path, alone)
            }
        };
        let sight = Sight {
            outer,
            vni,
            path,
            functions: [seen.from, seen.to],
            verdict: Verdict::Drop(reason),
            tunnel: seen.into,
            octets,
            ..blank(CapturePoint::Drop, Way::Unknown, seen.via)
        };
        self.state.taps.show(self.tables, &sight);
    }

    /// Our own address of the family of `remote`.
    fn own(&self, remote: IpAddr) -> IpAddr {
        let underlay = self.tables.tables().underlay.as_ref();
        let own = underlay.and_then(|underlay| {
            let mut own = underlay.address.iter();
            own.find(|own| own.is_ipv4() == remote.is_ipv4())
        });
        own.unwrap_or(match remote {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        })
    }

    fn own_port(&self, gpe: bool) -> u16 {
        let underlay = self.tables.tables().underlay.as_ref();
        underlay.map_or(0, |underlay| match gpe {
            true => underlay.gpe_port,
            false => underlay.vxlan_port,
        })
    }

    fn outgoing(&self, remote: SocketAddr, entropy: u16, class: u8) -> Outer {
        let [v4, v6] = &self.state.taps.sources;
        let sources = if remote.is_ipv4() { v4 } else { v6 };
        let place = usize::from(entropy).checked_rem(sources.len());
        let port = place.and_then(|place| sources.get(place)).copied();
        Outer::Udp {
            from: SocketAddr::new(self.own(remote.ip()), port.unwrap_or(0)),
            to: remote,
            class,
        }
    }
}
