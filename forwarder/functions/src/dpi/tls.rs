//! The server name in a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3), which may be
//! spread over several records.

use super::names::Protocol;
use super::names::host_name;
use super::recognise::Guess;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// Longest record (RFC 8446 section 5.1).
const LONGEST_RECORD: usize = 16_384;

/// Reads the start of a stream that begins with a TLS handshake record.
pub(super) fn recognise(data: &[u8]) -> Guess {
    // RFC 8446 section 5.1: legacy_record_version is 0x0301 or 0x0303.
    match data {
        [HANDSHAKE, 3, _, ..] => {}
        [HANDSHAKE] | [HANDSHAKE, 3] => return Guess::More,
        _ => return Guess::Unknown,
    }
    let (handshake, whole) = match handshake_octets(data) {
        Some(found) => found,
        None => return Guess::Unknown,
    };
    let known = |name| Guess::Known(Protocol::Tls, name);
    let Some(&[kind, a, b, c]) = handshake.first_chunk() else {
        return if whole { known(None) } else { Guess::More };
    };
    if kind != CLIENT_HELLO {
        return known(None);
    }
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    match handshake.get(4..4 + length) {
        Some(hello) => known(server_name(hello)),
        None if whole => known(None),
        None => Guess::More,
    }
}

/// The payload of all handshake records at the start of `data`, and whether something else than
/// another piece of one follows. `None` when a record is longer than any may be.
fn handshake_octets(data: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mut octets = Vec::new();
    let mut rest = data;
    while let Some(&[kind, _, _, a, b]) = rest.first_chunk() {
        if kind != HANDSHAKE {
            return Some((octets, true));
        }
        let length = usize::from(u16::from_be_bytes([a, b]));
        if length == 0 || length > LONGEST_RECORD {
            return None;
        }
        let end = rest.len().min(5 + length);
        octets.extend_from_slice(rest.get(5..end)?);
        rest = rest.get(end..)?;
    }
    Some((octets, false))
}

/// The name in a whole ClientHello.
fn server_name(hello: &[u8]) -> Option<String> {
    // Version and random.
    let mut at = Cursor(hello.get(34..)?);
    at.vector8()?;
    at.vector16()?;
    at.vector8()?;
    let mut extensions = Cursor(at.vector16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let body = extensions.vector16()?;
        if kind == SERVER_NAME {
            let mut list = Cursor(Cursor(body).vector16()?);
            while let Some((&kind, rest)) = list.0.split_first() {
                list.0 = rest;
                let name = list.vector16()?;
                if kind == HOST_NAME {
                    return host_name(name);
                }
            }
        }
    }
    None
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let octets = self.take(2)?;
        Some(u16::from_be_bytes([*octets.first()?, *octets.get(1)?]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = *self.take(1)?.first()?;
        self.take(usize::from(length))
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A ClientHello for `name`, cut into records of `record` octets.
    pub(in crate::dpi) fn client_hello(name: &str, record: usize) -> Vec<u8> {
        let number = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
        let mut list = vec![HOST_NAME];
        list.extend(number(name.len()));
        list.extend(name.as_bytes());
        let mut extensions = vec![0, 43, 0, 3, 2, 3, 4];
        extensions.extend([0, 0]);
        extensions.extend(number(list.len() + 2));
        extensions.extend(number(list.len()));
        extensions.extend(list);
        let mut hello = vec![3, 3];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        hello.extend(number(extensions.len()));
        hello.extend(extensions);
        let mut handshake = vec![CLIENT_HELLO, 0];
        handshake.extend(number(hello.len()));
        handshake.extend(hello);
        let mut stream = Vec::new();
        for piece in handshake.chunks(record) {
            stream.extend([HANDSHAKE, 3, 1]);
            stream.extend(number(piece.len()));
            stream.extend(piece);
        }
        stream
    }

    #[test]
    fn the_name_is_found_in_one_record_or_many() {
        for record in [1, 7, 100, 10_000] {
            let stream = client_hello("Www.Example.com", record);
            let expected = Guess::Known(Protocol::Tls, Some("www.example.com".to_owned()));
            assert_eq!(recognise(&stream), expected, "{record}");
        }
    }

    #[test]
    fn every_beginning_asks_for_more() {
        let stream = client_hello("www.example.com", 50);
        for length in 1..stream.len() {
            assert_eq!(recognise(&stream[..length]), Guess::More, "{length}");
        }
    }

    #[test]
    fn any_damaged_octet_is_survived() {
        let stream = client_hello("www.example.com", 10_000);
        for place in 0..stream.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = stream.clone();
                damaged[place] = value;
                recognise(&damaged);
            }
        }
    }
}
