//! The host in an HTTP/1 request (RFC 9112 section 3.2).

use super::names::{Protocol, host_name};
use super::recognise::Guess;

const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
    b"PRI ",
];

/// Longest head looked through.
const LONGEST: usize = 8192;

/// Reads the start of a stream of requests, or of one request.
pub(super) fn recognise(data: &[u8]) -> Guess {
    let Some(method) = METHODS.iter().find(|method| data.starts_with(method)) else {
        let begun = METHODS.iter().any(|method| method.starts_with(data));
        return if begun { Guess::More } else { Guess::Unknown };
    };
    let known = |name| Guess::Known(Protocol::Http, name);
    let mut lines = data
        .get(..data.len().min(LONGEST))
        .unwrap_or(data)
        .split(|&octet| octet == b'\n');
    // The piece behind the last line feed is no whole line.
    let unfinished = lines.next_back();
    let Some(request) = lines.next() else {
        return if data.len() < LONGEST {
            Guess::More
        } else {
            Guess::Unknown
        };
    };
    let target = request.get(method.len()..).unwrap_or_default();
    if let Some(host) = authority(method, target) {
        return known(Some(host));
    }
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return known(None);
        }
        if let Some(value) = field(line, b"host") {
            return known(host_of(value));
        }
    }
    if unfinished.is_some() && data.len() < LONGEST {
        Guess::More
    } else {
        known(None)
    }
}

/// The host in a target of absolute or authority form.
fn authority(method: &[u8], target: &[u8]) -> Option<String> {
    let target = target.split(|&octet| octet == b' ').next()?;
    let rest = match target.strip_prefix(b"http://") {
        Some(rest) => rest,
        None if method == b"CONNECT " => target,
        None => return None,
    };
    host_of(rest.split(|&octet| octet == b'/').next()?)
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let colon = line.iter().position(|&octet| octet == b':')?;
    let (found, value) = line.split_at_checked(colon)?;
    found
        .eq_ignore_ascii_case(name)
        .then(|| value.get(1..).unwrap_or_default().trim_ascii())
}

/// A host without its port.
fn host_of(text: &[u8]) -> Option<String> {
    let colon = text.iter().rposition(|&octet| octet == b':');
    let bare = match colon.and_then(|at| text.split_at_checked(at)) {
        // Not a colon within an IPv6 address.
        Some((host, _)) if !text.ends_with(b"]") => host,
        _ => text,
    };
    host_name(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(request: &[u8]) -> Option<String> {
        match recognise(request) {
            Guess::Known(Protocol::Http, host) => host,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_host_is_found_wherever_it_is_written() {
        assert_eq!(
            host(b"GET / HTTP/1.1\r\nA: b\r\nhOST:  A.example:80 \r\n").as_deref(),
            Some("a.example")
        );
        assert_eq!(
            host(b"GET http://b.example:8/x HTTP/1.1\r\nHost: a\r\n\r\n").as_deref(),
            Some("b.example")
        );
        assert_eq!(
            host(b"CONNECT c.example:443 HTTP/1.1\r\n").as_deref(),
            Some("c.example")
        );
        assert_eq!(
            host(b"GET / HTTP/1.1\r\nHost: [fd00::1]:80\r\n\r\n").as_deref(),
            Some("[fd00::1]")
        );
        assert_eq!(host(b"GET / HTTP/1.0\r\n\r\n"), None);
    }

    #[test]
    fn a_request_that_has_not_come_whole_asks_for_more() {
        for part in [
            &b"G"[..],
            b"GET",
            b"GET / HT",
            b"GET / HTTP/1.1\r\nHost: a.exam",
        ] {
            assert_eq!(recognise(part), Guess::More);
        }
    }

    #[test]
    fn an_endless_head_is_given_up() {
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        head.extend([b'a'; 9000]);
        assert_eq!(recognise(&head), Guess::Known(Protocol::Http, None));
    }
}
