//! Deep packet inspection: names what flows speak and which host they ask for, and blocks by
//! either. A blocked TCP connection is reset on both sides.

mod dns;
mod http;
mod names;
mod recognise;
mod stream;
mod tls;

pub use names::{Block, BlockError, Protocol};

use crate::connection::{Connection, Conversation, canonical};
use crate::function::{Emissions, ServiceFunction, Side, Verdict};
use crate::packet::{Kind, Reading, protocol, reset_back, reset_onward};
use crate::stats::{DropCause, Tally};
use crate::table::Table;
use kc_forwarder::frame::Frame;
use kc_forwarder::wire::tcp::{self, flags};
use kc_forwarder::wire::udp;
use names::Names;
use recognise::Guess;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use stream::Stream;

/// Flows remembered.
const FLOWS: usize = 65_536;

/// Flows whose start is being put together at once; each takes up to 16 KiB.
const STREAMS: usize = 512;

/// What is known about a flow.
#[derive(Debug)]
struct Flow {
    connection: Connection,
    /// Whether the canonical key had to be turned for the side that began.
    turned: bool,
    /// `None` while it is not decided.
    protocol: Option<Protocol>,
    blocked: bool,
    stream: Option<Box<Stream>>,
}

/// Counters of one protocol.
#[derive(Debug, Default, Serialize)]
struct Spoken {
    flows: u64,
    #[serde(flatten)]
    tally: Tally,
}

/// The inspector and what it knows of flows.
#[derive(Debug)]
pub struct Dpi {
    blocks: Vec<Block>,
    flows: Table<Conversation, Flow>,
    /// Flows with a stream.
    streams: usize,
    spoken: BTreeMap<Protocol, Spoken>,
    names: Names,
    blocked: BTreeMap<String, u64>,
}

/// What a packet turned out to be.
struct Finding {
    protocol: Protocol,
    blocked: bool,
}

impl Dpi {
    /// An inspector that blocks what one of `blocks` covers.
    pub fn new(blocks: Vec<Block>) -> Self {
        Self {
            blocks,
            flows: Table::new(FLOWS),
            streams: 0,
            spoken: BTreeMap::new(),
            names: Names::default(),
            blocked: BTreeMap::new(),
        }
    }

    /// Whether a flow of `protocol` towards `name` is blocked; counts name and block.
    fn decide(&mut self, protocol: Protocol, name: Option<&str>) -> bool {
        if let Some(name) = name {
            self.names.count(name);
        }
        let Some(block) = self
            .blocks
            .iter()
            .find(|block| block.covers(protocol, name))
        else {
            return false;
        };
        let label = match block {
            Block::Protocol(protocol) => json!(protocol).as_str().unwrap_or_default().to_owned(),
            Block::Host(host) => host.clone(),
        };
        *self.blocked.entry(label).or_default() += 1;
        true
    }

    fn simple(&mut self, protocol: Protocol) -> Finding {
        let blocked = self.decide(protocol, None);
        Finding { protocol, blocked }
    }

    fn datagram(&mut self, now_ms: u64, frame: &Frame, reading: &Reading) -> Finding {
        let transport = reading.transport(frame.bytes());
        let payload = transport.get(udp::HEADER_LEN..).unwrap_or_default();
        let ports = [reading.flow.source_port, reading.flow.destination_port];
        let (key, _) = self.track(now_ms, reading, None);
        let known = self.flows.get(now_ms, &key).and_then(|flow| flow.protocol);
        let blocked_flow = self
            .flows
            .get(now_ms, &key)
            .is_some_and(|flow| flow.blocked);
        match known {
            // Every datagram asks its own question.
            None | Some(Protocol::Dns) => {
                let (protocol, name) = match recognise::from_datagram(payload, ports) {
                    Guess::Known(protocol, name) => (protocol, name),
                    Guess::More | Guess::Unknown => (known.unwrap_or(Protocol::Unknown), None),
                };
                let blocked = self.decide(protocol, name.as_deref());
                // A name blocks one question, a protocol the flow.
                let whole = blocked && protocol != Protocol::Dns;
                self.settle(now_ms, &key, protocol, whole);
                Finding { protocol, blocked }
            }
            Some(protocol) => Finding {
                protocol,
                blocked: blocked_flow,
            },
        }
    }

    fn segment(&mut self, now_ms: u64, frame: &Frame, reading: &Reading) -> Finding {
        let unknown = Finding {
            protocol: Protocol::Unknown,
            blocked: false,
        };
        let Ok(segment) = tcp::Packet::new_checked(reading.transport(frame.bytes())) else {
            return unknown;
        };
        let (key, begun) = self.track(now_ms, reading, Some(segment.flags()));
        let ports = [segment.source(), segment.destination()];
        let streams = self.streams;
        let Some(flow) = self.flows.get_mut(now_ms, &key) else {
            return unknown;
        };
        if let Some(protocol) = flow.protocol {
            let blocked = flow.blocked;
            // A connection may ask for several hosts, one request after the other.
            if protocol == Protocol::Http
                && begun
                && !blocked
                && let Guess::Known(_, Some(name)) = http::recognise(segment.payload())
            {
                let blocked = self.decide(protocol, Some(&name));
                self.settle(now_ms, &key, protocol, blocked);
                return Finding { protocol, blocked };
            }
            return Finding { protocol, blocked };
        }
        let guess = if begun {
            if flow.stream.is_none() && streams < STREAMS {
                flow.stream = Some(Box::default());
                self.streams += 1;
            }
            match &mut flow.stream {
                Some(stream) => {
                    if segment.flags() & flags::SYN != 0 {
                        stream.begin(segment.sequence());
                    }
                    if !segment.payload().is_empty() {
                        stream.add(segment.sequence(), segment.payload());
                    }
                    match recognise::from_client(stream.octets(), ports) {
                        Guess::More if stream.is_full() => Guess::Unknown,
                        guess => guess,
                    }
                }
                // Too many at once: this segment has to say it all.
                None if segment.payload().is_empty() => Guess::More,
                None => match recognise::from_client(segment.payload(), ports) {
                    Guess::More => Guess::Unknown,
                    guess => guess,
                },
            }
        } else {
            match recognise::from_server(segment.payload()) {
                Guess::Unknown => Guess::More,
                guess => guess,
            }
        };
        let (protocol, name) = match guess {
            Guess::More => return unknown,
            Guess::Known(protocol, name) => (protocol, name),
            Guess::Unknown => (Protocol::Unknown, None),
        };
        let blocked = self.decide(protocol, name.as_deref());
        self.settle(now_ms, &key, protocol, blocked);
        Finding { protocol, blocked }
    }

    /// Finds or begins the packet's flow; returns its key and whether the side that began it
    /// sent the packet.
    fn track(
        &mut self,
        now_ms: u64,
        reading: &Reading,
        tcp_flags: Option<u8>,
    ) -> (Conversation, bool) {
        let (key, turned) = canonical(reading.vlan(), reading.flow);
        let known = self.flows.get_mut(now_ms, &key);
        let known = known.filter(|flow| !flow.connection.begins_anew(tcp_flags));
        if let Some(flow) = known {
            let begun = flow.turned == turned;
            flow.connection.note(begun, tcp_flags);
            let expires = now_ms + flow.connection.patience_ms();
            self.flows.keep_until(&key, expires);
            return (key, begun);
        }
        // Without the SYN, a SYN-ACK or a lower destination port tells who began.
        let answer = tcp_flags.is_some_and(|bits| {
            let both = flags::SYN | flags::ACK;
            bits & both == both
        });
        let mut connection = Connection::new(reading.summary.protocol);
        connection.note(!answer, tcp_flags);
        let expires = now_ms + connection.patience_ms();
        let flow = Flow {
            connection,
            turned: turned != answer,
            protocol: None,
            blocked: false,
            stream: None,
        };
        let streams = &mut self.streams;
        let unanswered = |flow: &Flow| !flow.connection.answered();
        self.flows
            .insert(now_ms, key, flow, expires, unanswered, |_, gone| {
                *streams -= usize::from(gone.stream.is_some());
            });
        (key, !answer)
    }

    /// Writes down what a flow speaks.
    fn settle(&mut self, now_ms: u64, key: &Conversation, protocol: Protocol, blocked: bool) {
        if let Some(flow) = self.flows.get_mut(now_ms, key) {
            if flow.protocol.is_none() {
                self.spoken.entry(protocol).or_default().flows += 1;
            }
            flow.protocol = Some(protocol);
            flow.blocked |= blocked;
            self.streams -= usize::from(flow.stream.take().is_some());
        }
    }
}

impl ServiceFunction for Dpi {
    fn name(&self) -> &'static str {
        "dpi"
    }

    fn process(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &mut Frame,
        out: &mut Emissions,
    ) -> Verdict {
        let reading = Reading::of(frame);
        let finding = match (reading.kind, reading.summary.protocol) {
            (Kind::Malformed, _) => return Verdict::Drop(DropCause::Malformed),
            (Kind::Arp, _) => self.simple(Protocol::Arp),
            (Kind::Discovery | Kind::IcmpError, _) => self.simple(Protocol::Icmp),
            (Kind::Packet, protocol::ICMP | protocol::ICMPV6) => self.simple(Protocol::Icmp),
            (Kind::Packet, protocol::UDP) => self.datagram(now_ms, frame, &reading),
            (Kind::Packet, protocol::TCP) => self.segment(now_ms, frame, &reading),
            // The first fragment was judged; the rest is of no use without it.
            (Kind::LaterFragment, _) => Finding {
                protocol: Protocol::Unknown,
                blocked: false,
            },
            (Kind::Packet | Kind::NotIp, _) => self.simple(Protocol::Unknown),
        };
        self.spoken
            .entry(finding.protocol)
            .or_default()
            .tally
            .add(frame.len());
        if !finding.blocked {
            return Verdict::Pass;
        }
        let resets = [
            (side, reset_back(frame, &reading)),
            (side.other(), reset_onward(frame, &reading)),
        ];
        for (side, reset) in resets {
            if let Some(reset) = reset {
                out.send(side, reset);
            }
        }
        Verdict::Drop(DropCause::Blocked)
    }

    fn details(&self) -> serde_json::Value {
        json!({
            "protocols": self.spoken,
            "names": self.names,
            "blocked": self.blocked,
            "flows": self.flows.len(),
        })
    }
}

#[cfg(test)]
mod tests;
