//! A layer-4 load balancer: connections to one address and port are spread over backends, whose
//! health is checked. Destination NAT on the way there, the reverse on the way back.

mod backend;
mod health;
mod neighbours;

pub use backend::Policy;

use crate::connection::Connection;
use crate::echo::swap;
use crate::fragments::Fragments;
use crate::function::{Emissions, Legs, ServiceFunction, Side, Verdict};
use crate::packet::{
    End, Kind, Quoted, Reading, answer_neighbour, asked, protocol, reset_back, rewrite, set_macs,
};
use crate::stats::DropCause;
use crate::table::Table;
use backend::{Backend, Standing, choose};
use health::{Endpoint, Health, is_answer};
use ipnet::IpNet;
use kc_forwarder::frame::Frame;
use kc_forwarder::wire::arp;
use kc_forwarder::wire::icmp::kind::{ECHO_REQUEST_V4, ECHO_REQUEST_V6};
use neighbours::Neighbours;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};

/// Flows remembered.
const FLOWS: usize = 65_536;

/// What to balance, and over what.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The address and port that clients know.
    pub vip: SocketAddr,
    /// Where connections go; of the VIP's family.
    pub backends: Vec<SocketAddr>,
    /// The function's own address and network, from which health is checked.
    pub address: IpNet,
    /// The way to backends outside that network.
    pub gateway: Option<IpAddr>,
    /// How health is judged; without it every backend counts as up.
    pub health: Option<Policy>,
}

/// Why a setup is no good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// There is nothing to send connections to.
    #[error("no backend is given")]
    NoBackend,
    /// One is IPv4 and the other IPv6.
    #[error("{address} is not of the same family as the VIP {vip}")]
    Family {
        /// The odd one.
        address: IpAddr,
        /// The VIP.
        vip: SocketAddr,
    },
    /// Given twice, or the VIP itself.
    #[error("backend {0} is given twice or is the VIP")]
    Twice(SocketAddr),
}

/// A client's side of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Client {
    vlan: u16,
    address: SocketAddr,
    protocol: u8,
}

#[derive(Debug)]
struct Flow {
    backend: SocketAddr,
    mac: [u8; 6],
    connection: Connection,
}

/// How later fragments of a datagram are rewritten.
#[derive(Debug, Clone, Copy)]
struct Later {
    end: End,
    address: IpAddr,
    source_mac: [u8; 6],
    destination_mac: Option<[u8; 6]>,
}

/// The balancer, its backends and flows.
#[derive(Debug)]
pub struct LoadBalancer {
    setup: Setup,
    backends: Vec<Backend>,
    health: Option<Health>,
    neighbours: Neighbours,
    legs: Legs,
    flows: Table<Client, Flow>,
    fragments: Fragments<Later>,
    answered_pings: u64,
}

impl LoadBalancer {
    /// A balancer that obeys `setup`.
    ///
    /// # Errors
    /// The setup contradicts itself.
    pub fn new(setup: Setup) -> Result<Self, SetupError> {
        if setup.backends.is_empty() {
            return Err(SetupError::NoBackend);
        }
        let others = setup.backends.iter().map(SocketAddr::ip);
        let others = others.chain([setup.address.addr()]).chain(setup.gateway);
        for address in others {
            if address.is_ipv4() != setup.vip.is_ipv4() {
                return Err(SetupError::Family {
                    address,
                    vip: setup.vip,
                });
            }
        }
        let mut seen = vec![setup.vip];
        for &backend in &setup.backends {
            if seen.contains(&backend) {
                return Err(SetupError::Twice(backend));
            }
            seen.push(backend);
        }
        let up = setup.health.is_none().then_some(true);
        let fresh = |&address| Backend {
            address,
            standing: Standing::of(up),
            flows: 0,
        };
        let mut balancer = Self {
            backends: setup.backends.iter().map(fresh).collect(),
            setup,
            health: None,
            neighbours: Neighbours::default(),
            legs: Legs::default(),
            flows: Table::new(FLOWS),
            fragments: Fragments::new(),
            answered_pings: 0,
        };
        for at in 0..balancer.backends.len() {
            if let Some(hop) = balancer
                .backends
                .get(at)
                .map(|backend| backend.address.ip())
            {
                balancer.neighbours.expect(balancer.next_hop(hop));
            }
        }
        Ok(balancer)
    }

    fn next_hop(&self, address: IpAddr) -> IpAddr {
        match self.setup.gateway {
            Some(gateway) if !self.setup.address.contains(&address) => gateway,
            _ => address,
        }
    }

    /// ARP and neighbour discovery: learned from, answered for our addresses, and passed on.
    fn neighbour(
        &mut self,
        side: Side,
        frame: &Frame,
        reading: &Reading,
        out: &mut Emissions,
    ) -> Verdict {
        let own = [self.setup.vip.ip(), self.setup.address.addr()];
        let data = frame.bytes().get(reading.summary.l3..).unwrap_or_default();
        if let (Kind::Arp, Ok(said)) = (reading.kind, arp::Repr::parse(data)) {
            self.neighbours.learn(said.sender.into(), said.sender_mac);
        } else if reading.kind == Kind::Discovery {
            self.neighbours
                .learn(reading.source(), reading.summary.source_mac);
        }
        if let Some(asked) =
            asked(frame.bytes(), reading).filter(|asked| own.contains(&asked.target))
        {
            if let Some(answer) = answer_neighbour(frame, reading, &asked, self.legs.mac(side)) {
                out.send(side, answer);
            }
            return Verdict::Consumed;
        }
        if reading.summary.destination_mac == self.legs.mac(side)
            && let Some(health) = &mut self.health
        {
            health.feed(frame.bytes());
            return Verdict::Consumed;
        }
        Verdict::Pass
    }

    fn packet(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &mut Frame,
        reading: &Reading,
        out: &mut Emissions,
    ) -> Verdict {
        let source = SocketAddr::new(reading.source(), reading.flow.source_port);
        let destination = SocketAddr::new(reading.destination(), reading.flow.destination_port);
        let transport = matches!(reading.summary.protocol, protocol::TCP | protocol::UDP);
        if let (Some(health), protocol::TCP) = (&mut self.health, reading.summary.protocol) {
            let endpoint = Endpoint {
                address: self.setup.address,
                gateway: self.setup.gateway,
            };
            if is_answer(&endpoint, &self.backends, source, destination) {
                health.feed(frame.bytes());
                return Verdict::Consumed;
            }
        }
        if transport && destination == self.setup.vip {
            return self.forward(now_ms, side, frame, reading, source, out);
        }
        if destination.ip() == self.setup.vip.ip() || destination.ip() == self.setup.address.addr()
        {
            return self.ping(frame, reading);
        }
        if transport
            && self
                .backends
                .iter()
                .any(|backend| backend.address == source)
        {
            return self.back(now_ms, side, frame, reading, source, destination);
        }
        Verdict::Pass
    }

    /// Something else for our own address: an echo request is answered.
    fn ping(&mut self, frame: &mut Frame, reading: &Reading) -> Verdict {
        let kind = reading.transport(frame.bytes()).first().copied();
        let request = match reading.summary.protocol {
            protocol::ICMP => kind == Some(ECHO_REQUEST_V4),
            protocol::ICMPV6 => kind == Some(ECHO_REQUEST_V6),
            _ => false,
        };
        if !request || swap(frame.bytes_mut(), reading).is_none() {
            return Verdict::Drop(DropCause::Unsupported);
        }
        let (source, destination) = (reading.summary.source_mac, reading.summary.destination_mac);
        set_macs(frame.bytes_mut(), Some(destination), Some(source));
        self.answered_pings += 1;
        Verdict::Return
    }

    /// The backend of a client's flow, chosen now if need be.
    fn assign(
        &mut self,
        now_ms: u64,
        client: Client,
        mac: [u8; 6],
        tcp_flags: Option<u8>,
    ) -> Result<SocketAddr, DropCause> {
        if let Some(flow) = self.flows.get_mut(now_ms, &client) {
            let up = |address| {
                let mut backends = self.backends.iter();
                backends
                    .any(|backend| backend.address == address && backend.standing.up == Some(true))
            };
            // Established flows stay; one that never got an answer tries its luck elsewhere.
            let stays = flow.connection.answered() || up(flow.backend);
            if stays && !flow.connection.begins_anew(tcp_flags) {
                flow.connection.note(true, tcp_flags);
                flow.mac = mac;
                let (backend, patience) = (flow.backend, flow.connection.patience_ms());
                self.flows.keep_until(&client, now_ms + patience);
                return Ok(backend);
            }
        }
        let at = choose(&self.backends, client.address, client.protocol);
        let chosen = at
            .and_then(|at| self.backends.get_mut(at))
            .ok_or(DropCause::NoBackend)?;
        let mut connection = Connection::new(client.protocol);
        connection.note(true, tcp_flags);
        let expires = now_ms + connection.patience_ms();
        let flow = Flow {
            backend: chosen.address,
            mac,
            connection,
        };
        let unanswered = |flow: &Flow| !flow.connection.answered();
        if !self
            .flows
            .insert(now_ms, client, flow, expires, unanswered, |_, _| {})
        {
            return Err(DropCause::TableFull);
        }
        chosen.flows += 1;
        Ok(chosen.address)
    }

    fn forward(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &mut Frame,
        reading: &Reading,
        source: SocketAddr,
        out: &mut Emissions,
    ) -> Verdict {
        let client = Client {
            vlan: reading.vlan(),
            address: source,
            protocol: reading.summary.protocol,
        };
        let tcp_flags = reading.tcp_flags(frame.bytes());
        let backend = match self.assign(now_ms, client, reading.summary.source_mac, tcp_flags) {
            Ok(backend) => backend,
            Err(cause) => {
                // Before the first check has ended, the client does better to ask again.
                let unchecked = self
                    .backends
                    .iter()
                    .any(|backend| backend.standing.up.is_none());
                if cause == DropCause::NoBackend
                    && !unchecked
                    && let Some(reset) = reset_back(frame, reading)
                {
                    out.send(side, reset);
                }
                return Verdict::Drop(cause);
            }
        };
        let hop = self.next_hop(backend.ip());
        let mac = self.neighbours.find(hop);
        let own = self.legs.mac(side.other());
        if mac.is_none() && side != Side::Only {
            let own = (self.setup.address.addr(), own);
            if let Some(question) = self.neighbours.ask(now_ms, hop, own) {
                out.send(side.other(), question);
            }
            return Verdict::Drop(DropCause::Unresolved);
        }
        let (address, port) = (backend.ip(), Some(backend.port()));
        let bytes = frame.bytes_mut();
        if rewrite(bytes, &reading.summary, End::Destination, address, port).is_none() {
            return Verdict::Drop(DropCause::Malformed);
        }
        set_macs(bytes, Some(own), mac);
        self.remember(
            now_ms,
            frame,
            reading,
            Later {
                end: End::Destination,
                address,
                source_mac: own,
                destination_mac: mac,
            },
        );
        Verdict::Pass
    }

    fn back(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &mut Frame,
        reading: &Reading,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Verdict {
        if self.setup.address.contains(&source.ip()) {
            self.neighbours
                .learn(source.ip(), reading.summary.source_mac);
        }
        let client = Client {
            vlan: reading.vlan(),
            address: destination,
            protocol: reading.summary.protocol,
        };
        let tcp_flags = reading.tcp_flags(frame.bytes());
        let flow = self.flows.get_mut(now_ms, &client);
        let Some(flow) = flow.filter(|flow| flow.backend == source) else {
            // A conversation that did not come by the VIP.
            return Verdict::Pass;
        };
        flow.connection.note(false, tcp_flags);
        let (mac, patience) = (flow.mac, flow.connection.patience_ms());
        self.flows.keep_until(&client, now_ms + patience);
        let own = self.legs.mac(side.other());
        let vip = self.setup.vip;
        let bytes = frame.bytes_mut();
        if rewrite(
            bytes,
            &reading.summary,
            End::Source,
            vip.ip(),
            Some(vip.port()),
        )
        .is_none()
        {
            return Verdict::Drop(DropCause::Malformed);
        }
        set_macs(bytes, Some(own), Some(mac));
        self.remember(
            now_ms,
            frame,
            reading,
            Later {
                end: End::Source,
                address: vip.ip(),
                source_mac: own,
                destination_mac: Some(mac),
            },
        );
        Verdict::Pass
    }

    fn remember(&mut self, now_ms: u64, frame: &Frame, reading: &Reading, later: Later) {
        // The identity is that of the datagram as it came: `reading` has its addresses.
        if let Some(id) = reading.fragment_id(frame.bytes()) {
            self.fragments.remember(now_ms, id, later);
        }
    }

    fn later_fragment(&mut self, now_ms: u64, frame: &mut Frame, reading: &Reading) -> Verdict {
        let id = reading.fragment_id(frame.bytes());
        let Some(later) = id.and_then(|id| self.fragments.recall(now_ms, &id)) else {
            let ours = reading.destination() == self.setup.vip.ip();
            return if ours {
                Verdict::Drop(DropCause::UnknownFragment)
            } else {
                Verdict::Pass
            };
        };
        let bytes = frame.bytes_mut();
        if rewrite(bytes, &reading.summary, later.end, later.address, None).is_none() {
            return Verdict::Drop(DropCause::Malformed);
        }
        set_macs(bytes, Some(later.source_mac), later.destination_mac);
        Verdict::Pass
    }

    /// An ICMP error about a packet of ours: the quotation is shown as the receiver knows it.
    fn error(&mut self, now_ms: u64, side: Side, frame: &mut Frame, reading: &Reading) -> Verdict {
        let Some(quoted) = Quoted::find(frame.bytes(), reading) else {
            return Verdict::Pass;
        };
        let v4 = self.setup.vip.is_ipv4();
        let end = |address: [u8; 16], port| {
            let address = match address {
                [.., a, b, c, d] if v4 => IpAddr::from([a, b, c, d]),
                _ => IpAddr::from(address),
            };
            SocketAddr::new(address, port)
        };
        let from = end(quoted.flow.source, quoted.flow.source_port);
        let to = end(quoted.flow.destination, quoted.flow.destination_port);
        let flow_of = |address| {
            let protocol = quoted.flow.protocol;
            let vlan = reading.vlan();
            let client = Client {
                vlan,
                address,
                protocol,
            };
            self.flows.get(now_ms, &client)
        };
        // About a packet from us to a backend, for the client; or about one to the client.
        let (shown, which, target, mac) = if let Some(flow) = flow_of(from)
            && flow.backend == to
        {
            (self.setup.vip, End::Destination, None, Some(flow.mac))
        } else if from == self.setup.vip
            && let Some(flow) = flow_of(to)
        {
            let mac = self.neighbours.find(self.next_hop(flow.backend.ip()));
            (flow.backend, End::Source, Some(flow.backend.ip()), mac)
        } else {
            return Verdict::Pass;
        };
        if !Quoted::verify(frame.bytes(), reading) {
            return Verdict::Drop(DropCause::BadChecksum);
        }
        let bytes = frame.bytes_mut();
        let done = quoted
            .rewrite(bytes, which, &octets(shown.ip()), shown.port())
            .and_then(|()| match target {
                Some(target) => rewrite(bytes, &reading.summary, End::Destination, target, None),
                None => Some(()),
            })
            .and_then(|()| Quoted::refill(bytes, reading));
        if done.is_none() {
            return Verdict::Drop(DropCause::Malformed);
        }
        set_macs(bytes, Some(self.legs.mac(side.other())), mac);
        Verdict::Pass
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

impl ServiceFunction for LoadBalancer {
    fn name(&self) -> &'static str {
        "loadbalancer"
    }

    fn attach(&mut self, legs: Legs) {
        self.legs = legs;
        let endpoint = Endpoint {
            address: self.setup.address,
            gateway: self.setup.gateway,
        };
        let count = self.backends.len();
        self.health = self
            .setup
            .health
            .map(|policy| Health::new(legs.outside, endpoint, policy, count));
    }

    fn process(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &mut Frame,
        out: &mut Emissions,
    ) -> Verdict {
        let reading = Reading::of(frame);
        match reading.kind {
            Kind::Malformed => Verdict::Drop(DropCause::Malformed),
            Kind::Arp | Kind::Discovery => self.neighbour(side, frame, &reading, out),
            Kind::NotIp => Verdict::Pass,
            Kind::LaterFragment => self.later_fragment(now_ms, frame, &reading),
            Kind::IcmpError => self.error(now_ms, side, frame, &reading),
            Kind::Packet => self.packet(now_ms, side, frame, &reading, out),
        }
    }

    fn tick(&mut self, now_ms: u64, out: &mut Emissions) {
        if self.health.is_none() {
            return;
        }
        // smoltcp asks for one neighbour a second; it listens to answers to our questions, too.
        let own = (self.setup.address.addr(), self.legs.outside);
        for at in 0..self.backends.len() {
            let backend = self.backends.get(at).map(|backend| backend.address.ip());
            if let Some(hop) = backend.map(|backend| self.next_hop(backend))
                && let Some(question) = self.neighbours.ask(now_ms, hop, own)
            {
                out.send(Side::Outside, question);
            }
        }
        if let Some(health) = &mut self.health {
            for frame in health.poll(now_ms, &mut self.backends) {
                out.send(Side::Outside, frame);
            }
        }
    }

    fn deadline(&mut self, now_ms: u64) -> Option<u64> {
        self.health
            .as_mut()
            .and_then(|health| health.deadline(now_ms))
    }

    fn details(&self) -> serde_json::Value {
        let backend = |backend: &Backend| {
            json!({
                "address": backend.address,
                "health": backend.standing.to_string(),
                "flows": backend.flows,
            })
        };
        json!({
            "vip": self.setup.vip,
            "backends": self.backends.iter().map(backend).collect::<Vec<_>>(),
            "flows": self.flows.len(),
            "answered-pings": self.answered_pings,
        })
    }
}

#[cfg(test)]
mod tests;
