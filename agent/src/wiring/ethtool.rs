//! Turning offloads off through ethtool's generic netlink (Linux 5.8), the same as
//! `ethtool -K IF tx off sg off tso off gso off gro off`: what leaves a veth is then finished
//! frames of the MTU's size, with checksums.
//!
//! ```text
//! nlmsghdr:  length:32 | type:16 | flags:16 | sequence:32 | port:32
//! genlmsghdr: command:8 | version:8 | reserved:16
//! attribute: length:16 | type:16 | value, padded to 4
//! ```
//! All fields are in the machine's byte order.

use rtnetlink::sys::protocols::NETLINK_GENERIC;
use rtnetlink::sys::{Socket, SocketAddr};
use std::io;

/// NLM_F_REQUEST | NLM_F_ACK.
const REQUEST_WITH_ACK: u16 = 1 | 4;
/// NLMSG_ERROR, which with code 0 is the acknowledgement.
const ERROR: u16 = 2;
/// GENL_ID_CTRL: the family that knows the others.
const CONTROL: u16 = 0x10;
/// ETHTOOL_MSG_FEATURES_GET.
const FEATURES_GET: u8 = 11;
/// ETHTOOL_MSG_FEATURES_SET.
const FEATURES_SET: u8 = 12;
/// NLA_F_NESTED.
const NESTED: u16 = 1 << 15;

/// Whether a feature, in the kernel's own words, lets a frame out that is not finished, or takes
/// several in as one. By the words and not by a list: kernels keep adding to them.
fn unfinished(feature: &str) -> bool {
    let words = ["segmentation", "checksum", "scatter-gather", "gso", "gro"];
    let sends = feature.starts_with("tx-") || feature.starts_with("rx-gro");
    sends && words.iter().any(|word| feature.contains(word))
}

/// A socket in the network namespace it was opened in.
pub(super) struct Ethtool {
    socket: Socket,
    family: u16,
}

impl Ethtool {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let name = attribute(2, b"ethtool\0");
        let reply = ask(&socket, &message(CONTROL, 3, &name))?;
        let family = attributes(reply.get(4..).unwrap_or_default())
            .find(|(kind, _)| *kind == 1)
            .and_then(|(_, value)| Some(u16::from_ne_bytes(value.try_into().ok()?)))
            .ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        Ok(Self { socket, family })
    }

    /// Turns every offload of `interface` off that can be turned off and matters.
    pub(super) fn offloads_off(&self, interface: &str) -> io::Result<()> {
        let reply = ask(
            &self.socket,
            &message(self.family, FEATURES_GET, &header(interface)),
        )?;
        let reply = reply.get(4..).unwrap_or_default();
        let fixed = features(reply, 5);
        let mut bits = Vec::new();
        for feature in features(reply, 4) {
            if unfinished(feature) && !fixed.contains(&feature) {
                // A bit that is named and has no value flag is off.
                bits.extend(attribute(1 | NESTED, &text(feature)));
            }
        }
        if bits.is_empty() {
            return Ok(());
        }
        let bitset = attribute(3 | NESTED, &bits);
        let body = [header(interface), attribute(3 | NESTED, &bitset)].concat();
        ask(&self.socket, &message(self.family, FEATURES_SET, &body)).map(drop)
    }
}

/// Who is meant, and that the acknowledgement is enough (ETHTOOL_FLAG_OMIT_REPLY, which a
/// question ignores).
fn header(interface: &str) -> Vec<u8> {
    let flags = attribute(3, &2u32.to_ne_bytes());
    attribute(1 | NESTED, &[text(interface), flags].concat())
}

/// A name as attribute 2, which it is everywhere here.
fn text(name: &str) -> Vec<u8> {
    let mut name = name.as_bytes().to_vec();
    name.push(0);
    attribute(2, &name)
}

/// Names of the bits that are set in the bitset `kind` of an answer.
fn features(reply: &[u8], kind: u16) -> Vec<&str> {
    let bitset = attributes(reply).filter(move |(k, _)| *k == kind);
    let bits = bitset
        .flat_map(|(_, set)| attributes(set))
        .filter(|(k, _)| *k == 3);
    let bits = bits
        .flat_map(|(_, bits)| attributes(bits))
        .filter(|(k, _)| *k == 1);
    bits.filter_map(|(_, bit)| {
        let (_, name) = attributes(bit).find(|(k, _)| *k == 2)?;
        std::str::from_utf8(name)
            .ok()
            .map(|name| name.trim_end_matches('\0'))
    })
    .collect()
}

/// Sends a request and waits for its acknowledgement; returns the data message before it.
fn ask(socket: &Socket, request: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(request, 0)?;
    let mut data = Vec::new();
    loop {
        let (packet, _) = socket.recv_from_full()?;
        let mut rest = packet.as_slice();
        while let Some((kind, body, after)) = split_message(rest) {
            if kind == ERROR {
                let code = body.get(..4).and_then(|code| code.try_into().ok());
                return match code.map(i32::from_ne_bytes) {
                    Some(0) => Ok(data),
                    Some(code) => Err(io::Error::from_raw_os_error(-code)),
                    None => Err(io::ErrorKind::InvalidData.into()),
                };
            }
            data = body.to_vec();
            rest = after;
        }
    }
}

/// One message off the front: type, body, what follows.
fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(16..length)?;
    Some((
        kind,
        body,
        bytes.get(length.next_multiple_of(4)..).unwrap_or_default(),
    ))
}

fn message(kind: u16, command: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(20 + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(20 + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(REQUEST_WITH_ACK.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([command, 1, 0, 0]);
    bytes.extend(body);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(4 + value.len().next_multiple_of(4));
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> + use<'_> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !NESTED, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_written() {
        let bytes = [
            attribute(1, b"abc"),
            attribute(2 | NESTED, &[]),
            attribute(3, b"wxyz"),
        ]
        .concat();
        assert_eq!(bytes.len(), 8 + 4 + 8);
        let read: Vec<_> = attributes(&bytes).collect();
        assert_eq!(read, [(1, b"abc".as_slice()), (2, b""), (3, b"wxyz")]);
    }

    #[test]
    fn every_truncation_of_a_message_is_survived() {
        let whole = message(7, 3, &attribute(1, b"abc"));
        assert!(split_message(&whole).is_some());
        for length in 0..whole.len() {
            assert!(split_message(&whole[..length]).is_none());
            assert!(attributes(&whole[..length]).count() < 10);
        }
    }

    #[test]
    fn what_leaves_frames_unfinished_is_known_by_its_words() {
        for on in [
            "tx-checksum-ip-generic",
            "tx-tcp-accecn-segmentation",
            "tx-gso-list",
            "rx-gro",
        ] {
            assert!(unfinished(on), "{on}");
        }
        for harmless in [
            "rx-checksum",
            "highdma",
            "tx-vlan-hw-insert",
            "tx-lockless",
            "loopback",
        ] {
            assert!(!unfinished(harmless), "{harmless}");
        }
    }

    #[test]
    fn the_ethtool_family_is_found_here() {
        assert!(Ethtool::open().unwrap().family > CONTROL);
    }

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        let error = Ethtool::open()
            .unwrap()
            .offloads_off("kcnosuchif")
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(nix::errno::Errno::ENODEV as i32));
    }
}
