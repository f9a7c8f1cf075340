//! What an echo request or reply says, and how it is written.

use super::keys::Key;
use crate::tables::steering::key;
use crate::wire::Error;
use crate::wire::sfc_echo::{self, Kind, ReplyMode};
use crate::wire::sfc_oam::{self, Message};
use crate::wire::sfc_tlv::{SOURCE_ID, Tlv};
use kc_forwarder_api::{EchoCode, EchoFunction, Responder, SfName, SffName, Si};
use std::net::{IpAddr, SocketAddr};

/// Functions that are believed to be at one SFF of one path: a path has no more.
const MAX_FUNCTIONS: usize = 255;

/// Octets of a TLV that was not understood which are sent back.
const MAX_ERRORED: usize = 64;

/// An echo request, or a request to verify a path's consistency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Whether every SFF of the path is to tell its functions.
    pub(crate) consistency: bool,
    /// To be given back.
    pub(crate) key: Key,
    /// How to answer.
    pub(crate) mode: ReplyMode,
    /// Where to answer, by IPv4 and by IPv6.
    pub(crate) sources: [Option<SocketAddr>; 2],
    /// Whether what says where to answer is malformed.
    pub(crate) source_malformed: bool,
    /// Service path header that the answer starts with.
    pub(crate) reply_path: Option<u32>,
    /// What is wrong with it.
    pub(crate) fault: Option<EchoCode>,
    /// What was not understood, TLV header included, left out where it is long.
    pub(crate) errored: Vec<u8>,
}

/// An echo reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// That of the request.
    pub(crate) key: Key,
    /// What it says.
    pub(crate) code: EchoCode,
    /// Who says it.
    pub(crate) from: Option<Responder>,
    /// Service index with which the request reached it.
    pub(crate) si: Option<Si>,
    /// Largest packet its next hop takes.
    pub(crate) mtu: Option<u16>,
    /// Functions there.
    pub(crate) functions: Vec<EchoFunction>,
}

/// An OAM message that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Somebody asks.
    Request(Request),
    /// Somebody answers.
    Reply(Reply),
    /// An answer that nobody here has asked for, or that cannot be read.
    Passing,
}

/// Reads what an OAM packet carries; `None` for anything but an echo.
pub(crate) fn read(octets: &[u8]) -> Option<Heard> {
    let (header, message) = sfc_oam::Repr::parse(octets).ok()?;
    let Message::Echo = header.message else {
        return None;
    };
    hear(message)
}

/// Reads an echo; `None` for anything else.
pub(crate) fn hear(message: &[u8]) -> Option<Heard> {
    let packet = sfc_echo::Packet::new_checked(message).ok()?;
    let repr = packet.repr();
    match repr.kind {
        Kind::Request | Kind::ConsistencyRequest => Some(Heard::Request(request(&packet, &repr))),
        Kind::Reply => Some(reply(&packet, &repr).map_or(Heard::Passing, Heard::Reply)),
        Kind::ConsistencyReply => Some(Heard::Passing),
        Kind::Other(_) => None,
    }
}

fn request(packet: &sfc_echo::Packet<'_>, repr: &sfc_echo::Repr) -> Request {
    let mut request = Request {
        consistency: repr.kind == Kind::ConsistencyRequest,
        key: Key {
            handle: repr.handle,
            sequence: repr.sequence,
        },
        mode: repr.mode,
        sources: [None, None],
        source_malformed: false,
        reply_path: None,
        // RFC 9516 section 6.3: "The value of the Reply Mode field MUST be set to one of the
        // following".
        fault: matches!(repr.mode, ReplyMode::Other(_)).then_some(EchoCode::Malformed),
        errored: Vec::new(),
    };
    for tlv in packet.tlvs() {
        match tlv {
            Ok(Tlv::Source { address, port }) => {
                // RFC 9516 section 6.3.1: "If more than one Source ID TLV per the address family
                // is present, the receiver MUST use the first TLV and ignore the rest."
                let [v4, v6] = &mut request.sources;
                let place = if address.is_ipv4() { v4 } else { v6 };
                place.get_or_insert(SocketAddr::new(address, port));
            }
            Ok(Tlv::ReplyPath { spi, si }) => request.reply_path = Some(key(spi, si)),
            Ok(Tlv::Padding(_)) => {}
            Ok(tlv) => {
                request.fault.get_or_insert(EchoCode::TlvNotUnderstood);
                let length = tlv.buffer_len();
                if request.errored.is_empty() && length <= MAX_ERRORED {
                    request.errored.resize(length, 0);
                    tlv.emit(&mut request.errored);
                }
            }
            Err(error) => {
                request.fault = Some(EchoCode::Malformed);
                request.source_malformed |= is_of_source(&error);
            }
        }
    }
    request
}

fn is_of_source(error: &Error) -> bool {
    let (Error::Truncated { header, .. } | Error::Illegal { header, .. }) = error;
    *header == SOURCE_ID
}

fn reply(packet: &sfc_echo::Packet<'_>, repr: &sfc_echo::Repr) -> Option<Reply> {
    let mut reply = Reply {
        key: Key {
            handle: repr.handle,
            sequence: repr.sequence,
        },
        code: sfc_echo::code_of(repr.code),
        from: None,
        si: None,
        mtu: None,
        functions: Vec::new(),
    };
    for tlv in packet.tlvs() {
        match tlv.ok()? {
            Tlv::Sff { mtu, si, name } => {
                reply.from = responder(name);
                reply.si = Some(si);
                reply.mtu = Some(mtu).filter(|&mtu| mtu > 0);
            }
            Tlv::Function {
                state,
                rtt_us,
                name,
            } if reply.functions.len() < MAX_FUNCTIONS => {
                if let Some(name) = sf_name(name) {
                    let rtt_us = Some(rtt_us).filter(|&rtt| rtt > 0);
                    reply.functions.push(EchoFunction {
                        name,
                        state,
                        rtt_us,
                    });
                }
            }
            _ => {}
        }
    }
    Some(reply)
}

/// Who calls itself so; nothing that is neither a name nor an address is believed.
pub(crate) fn responder(text: &[u8]) -> Option<Responder> {
    let text = std::str::from_utf8(text).ok()?;
    let address = text.parse::<IpAddr>().ok().map(Responder::Address);
    address.or_else(|| SffName::new(text).ok().map(Responder::Name))
}

/// The function of that name.
fn sf_name(text: &[u8]) -> Option<SfName> {
    SfName::new(std::str::from_utf8(text).ok()?).ok()
}

/// Writes an OAM message into a buffer that is used again and again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Begins with the fixed part.
    pub(crate) fn begin(&mut self, echo: &sfc_echo::Repr) {
        self.0.clear();
        self.0.resize(sfc_oam::HEADER_LEN + sfc_echo::HEADER_LEN, 0);
        if let Some(place) = self.0.get_mut(sfc_oam::HEADER_LEN..) {
            echo.emit(place);
        }
    }

    /// Adds a TLV if the message stays within `limit` octets; says whether it did.
    pub(crate) fn add(&mut self, tlv: &Tlv<'_>, limit: usize) -> bool {
        let before = self.0.len();
        if before + tlv.buffer_len() > limit {
            return false;
        }
        self.0.resize(before + tlv.buffer_len(), 0);
        if let Some(place) = self.0.get_mut(before..) {
            tlv.emit(place);
        }
        true
    }

    /// The message behind its OAM header.
    pub(crate) fn finish(&mut self) -> &[u8] {
        let length = self.0.len().saturating_sub(sfc_oam::HEADER_LEN);
        if let Some(place) = self.0.get_mut(..sfc_oam::HEADER_LEN) {
            sfc_oam::Repr {
                message: Message::Echo,
                length: u16::try_from(length).unwrap_or(u16::MAX),
            }
            .emit(place);
        }
        &self.0
    }

    /// The message by itself.
    pub(crate) fn bare(&self) -> &[u8] {
        self.0.get(sfc_oam::HEADER_LEN..).unwrap_or_default()
    }

    /// Its length so far.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_forwarder_api::{HealthState, Spi};

    fn echo(kind: Kind) -> sfc_echo::Repr {
        sfc_echo::Repr {
            kind,
            mode: ReplyMode::Path,
            code: 5,
            subcode: 0,
            handle: 1,
            sequence: 2,
        }
    }

    #[test]
    fn a_request_tells_where_to_answer() {
        let mut writer = Writer::default();
        writer.begin(&echo(Kind::Request));
        let source = Tlv::Source {
            address: [192, 0, 2, 1].into(),
            port: 4790,
        };
        let (spi, si) = (Spi::new(101).unwrap(), Si::MAX);
        assert!(writer.add(&source, 100) && writer.add(&Tlv::ReplyPath { spi, si }, 100));
        assert!(!writer.add(&Tlv::Padding(60), 100));
        let Some(Heard::Request(request)) = read(writer.finish()) else {
            panic!("no request")
        };
        assert_eq!(request.sources, [Some(([192, 0, 2, 1], 4790).into()), None]);
        assert_eq!(request.reply_path, Some(101 << 8 | 255));
        assert_eq!((request.fault, request.errored.len()), (None, 0));
    }

    #[test]
    fn what_is_not_understood_is_sent_back() {
        let mut writer = Writer::default();
        writer.begin(&echo(Kind::Request));
        let strange = Tlv::Unknown {
            kind: 99,
            value: &[1, 2, 3, 4],
        };
        writer.add(&strange, 1000);
        let Some(Heard::Request(request)) = read(writer.finish()) else {
            panic!("no request")
        };
        assert_eq!(request.fault, Some(EchoCode::TlvNotUnderstood));
        assert_eq!(request.errored, [99, 0, 0, 4, 1, 2, 3, 4]);
    }

    #[test]
    fn of_each_address_family_the_first_source_counts() {
        let mut writer = Writer::default();
        writer.begin(&echo(Kind::Request));
        let addresses = ["2001:db8::1", "192.0.2.1", "192.0.2.2", "2001:db8::2"];
        for address in addresses {
            let (address, port) = (address.parse().unwrap(), 4790);
            writer.add(&Tlv::Source { address, port }, 1000);
        }
        let Some(Heard::Request(request)) = read(writer.finish()) else {
            panic!("no request")
        };
        let addresses = request.sources.map(|source| source.unwrap().to_string());
        assert_eq!(addresses, ["192.0.2.1:4790", "[2001:db8::1]:4790"]);
    }

    #[test]
    fn a_malformed_source_is_told_from_other_faults() {
        let source = [1, 0, 0, 4, 0x12, 0xb6, 0, 0];
        let other = [3, 0, 0, 0];
        for (octets, of_source) in [(&source[..], true), (&other[..], false)] {
            let mut message = vec![0; 16];
            echo(Kind::Request).emit(&mut message);
            message.extend(octets);
            let Some(Heard::Request(request)) = hear(&message) else {
                panic!("no request")
            };
            assert_eq!(request.fault, Some(EchoCode::Malformed));
            assert_eq!(request.source_malformed, of_source);
        }
    }

    #[test]
    fn a_reply_mode_that_nobody_assigned_is_a_fault() {
        for (mode, fault) in [
            (1, None),
            (2, None),
            (3, Some(EchoCode::Malformed)),
            (7, None),
        ] {
            let mut message = vec![0; 16];
            echo(Kind::Request).emit(&mut message);
            message[5] = mode;
            let Some(Heard::Request(request)) = hear(&message) else {
                panic!("no request")
            };
            assert_eq!(request.fault, fault, "{mode}");
        }
    }

    #[test]
    fn a_reply_is_believed_only_where_it_makes_sense() {
        let mut writer = Writer::default();
        writer.begin(&echo(Kind::Reply));
        let function = |name| Tlv::Function {
            state: HealthState::Alive,
            rtt_us: 0,
            name,
        };
        let (mtu, si) = (0, Si::MAX);
        let name = b"box\x1b[31m";
        writer.add(&Tlv::Sff { mtu, si, name }, 1000);
        writer.add(&function(b"fw"), 1000);
        writer.add(&function(b"a b"), 1000);
        let Some(Heard::Reply(reply)) = read(writer.finish()) else {
            panic!("no reply")
        };
        assert_eq!((reply.from, reply.mtu), (None, None));
        assert_eq!(reply.code, EchoCode::EndOfPath);
        assert_eq!(reply.functions.len(), 1);
    }
}
