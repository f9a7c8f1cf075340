//! A request's head: bytes in, request line and headers out (RFC 9112).

use std::collections::BTreeMap;

/// Longest head taken, in octets.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// Names in lower case; a repeated header's values are joined by a comma.
    pub(super) headers: BTreeMap<String, String>,
    /// Whether the connection stays open afterwards.
    pub(super) keep: bool,
    /// Octets of body that follow the head.
    pub(super) body: u64,
}

/// Where a request's head ends, when all of it has come.
pub(super) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// Reads a head; `None` when it is not one.
pub(super) fn parse(head: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return None;
    }
    let mut headers = BTreeMap::<String, String>::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let joined = headers.entry(name.to_ascii_lowercase()).or_default();
        if !joined.is_empty() {
            joined.push_str(", ");
        }
        joined.push_str(value.trim());
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let connection = headers.get("connection").map(|v| v.to_ascii_lowercase());
    let keep = match connection.as_deref() {
        Some(value) if value.contains("close") => false,
        Some(value) if value.contains("keep-alive") => true,
        _ => version != "HTTP/1.0",
    };
    let body = match headers.get("content-length") {
        Some(length) => length.parse().ok()?,
        None => 0,
    };
    Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        keep,
        body,
    })
}

impl Request {
    /// The value of `name` in the query, as a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        let pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(key, _)| *key == name)
            .find_map(|(_, value)| value.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_apart() {
        let head = b"GET /bytes/10?rate=5 HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n";
        assert_eq!(end_of_head(head), Some(head.len()));
        let request = parse(head).unwrap();
        assert_eq!(request.path, "/bytes/10");
        assert_eq!(request.number("rate"), Some(5));
        assert_eq!(request.headers["x-a"], "1, 2");
        assert!(request.keep);
    }

    #[test]
    fn the_client_may_ask_to_close() {
        let request = parse(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        assert!(!request.keep);
        assert!(!parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().keep);
    }

    #[test]
    fn noise_is_no_request() {
        for head in [
            &b"\xff\xfe\r\n\r\n"[..],
            b"GET\r\n\r\n",
            b"GET / FTP/1\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert_eq!(parse(head), None, "{head:?}");
        }
    }
}
