//! As much of HTTP/1.1 as one page needs (RFC 9112). Pure: octets of a request in, octets of an
//! answer out. Every answer ends its connection.

/// The one thing there is.
const PATH: &str = "/metrics";
/// Longest request line and fields, octets.
pub const LONGEST_HEAD: usize = 8 << 10;

/// What a request has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It has not ended yet.
    Unfinished,
    /// The page is wanted.
    Page,
    /// Only what would stand before the page.
    Head,
    /// Something else, and what to say to that.
    Refused(Refusal),
}

/// Why there is no page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No HTTP request.
    Malformed,
    /// Not the page's path.
    NotFound,
    /// Something other than GET and HEAD was to be done to the page.
    NotAllowed,
    /// Did not end in time.
    TimedOut,
    /// Did not end within [`LONGEST_HEAD`].
    TooLarge,
    /// A version of HTTP that is not 1.
    Version,
    /// Nothing was measured yet.
    NoReadings,
}

impl Refusal {
    const fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::NotAllowed => "405 Method Not Allowed",
            Self::TimedOut => "408 Request Timeout",
            Self::TooLarge => "431 Request Header Fields Too Large",
            Self::Version => "505 HTTP Version Not Supported",
            Self::NoReadings => "503 Service Unavailable",
        }
    }

    /// The whole answer.
    pub fn answer(self) -> String {
        let status = self.status();
        let more = match self {
            // RFC 9110 section 15.5.6: "The origin server MUST generate an Allow header field in
            // a 405 response".
            Self::NotAllowed => "Allow: GET, HEAD\r\n",
            Self::NoReadings => "Retry-After: 1\r\n",
            _ => "",
        };
        let body = format!("{status}; the readings are at {PATH}\n");
        format!(
            "HTTP/1.1 {status}\r\n{more}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

/// The answer with `page`, or what stands before it.
pub fn answer(page: &str, head_only: bool) -> String {
    let body = if head_only { "" } else { page };
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        page.len()
    )
}

/// What the first octets of a connection ask for.
pub fn asked(octets: &[u8]) -> Asked {
    let Some(end) = end_of_head(octets) else {
        return match octets.len() {
            0..LONGEST_HEAD => Asked::Unfinished,
            _ => Asked::Refused(Refusal::TooLarge),
        };
    };
    if end > LONGEST_HEAD {
        return Asked::Refused(Refusal::TooLarge);
    }
    match std::str::from_utf8(&octets[..end]).ok().and_then(request) {
        Some(asked) => asked,
        None => Asked::Refused(Refusal::Malformed),
    }
}

/// Where the empty line ends. RFC 9112 section 2.2 lets a line feed alone end a line.
fn end_of_head(octets: &[u8]) -> Option<usize> {
    let feeds = octets
        .iter()
        .enumerate()
        .filter(|(_, octet)| **octet == b'\n');
    feeds
        .map(|(at, _)| at)
        .find_map(|at| match octets.get(at + 1..)? {
            [b'\n', ..] => Some(at + 2),
            [b'\r', b'\n', ..] => Some(at + 3),
            _ => None,
        })
}

/// `None` for what is no request.
fn request(head: &str) -> Option<Asked> {
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if words.next().is_some() || !token(method) || !token(target) {
        return None;
    }
    let refused = |refusal| Some(Asked::Refused(refusal));
    let minor = match version.strip_prefix("HTTP/")?.split_once('.')? {
        ("1", minor) => minor,
        _ => return refused(Refusal::Version),
    };
    let fields: Option<Vec<_>> = lines
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_once(':').filter(|(name, _)| token(name)))
        .collect();
    let hosts = fields?
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
        .count();
    // RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any
    // HTTP/1.1 request message that lacks a Host header field and to any request message that
    // contains more than one Host header field line".
    if hosts > 1 || (hosts == 0 && minor != "0") {
        return None;
    }
    // RFC 9112 section 3.2.2: "a server MUST accept the absolute-form in requests".
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    if path.split('?').next() != Some(PATH) {
        return refused(Refusal::NotFound);
    }
    match method {
        "GET" => Some(Asked::Page),
        "HEAD" => Some(Asked::Head),
        _ => refused(Refusal::NotAllowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Asked {
        asked(text.as_bytes())
    }

    #[test]
    fn a_scrape_gets_the_page() {
        for request in [
            "GET /metrics HTTP/1.1\r\nHost: pi-1:9273\r\nAccept: */*\r\n\r\n",
            "GET /metrics?x=1 HTTP/1.1\nhost: pi-1\n\n",
            "GET http://pi-1:9273/metrics HTTP/1.1\r\nHost: x\r\n\r\nand more",
            "GET /metrics HTTP/1.0\r\n\r\n",
        ] {
            assert_eq!(of(request), Asked::Page, "{request:?}");
        }
        assert_eq!(of("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Asked::Head);
    }

    #[test]
    fn every_half_of_a_request_is_waited_for() {
        let whole = b"GET /metrics HTTP/1.1\r\nHost: pi-1\r\n\r\n";
        for length in 0..whole.len() {
            assert_eq!(asked(&whole[..length]), Asked::Unfinished, "{length}");
        }
        assert_eq!(asked(whole), Asked::Page);
    }

    #[test]
    fn anything_else_is_refused_by_its_right_name() {
        let long = "x".repeat(LONGEST_HEAD);
        let ended = format!("GET /metrics HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n");
        for (request, refusal) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::NotFound),
            (
                "GET /metrics/ HTTP/1.1\r\nHost: a\r\n\r\n",
                Refusal::NotFound,
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::NotFound),
            (
                "POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
                Refusal::NotAllowed,
            ),
            ("GET /metrics HTTP/2.0\r\nHost: a\r\n\r\n", Refusal::Version),
            ("GET /metrics HTTP/1.1\r\n\r\n", Refusal::Malformed),
            (
                "GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                Refusal::Malformed,
            ),
            (
                "GET /metrics HTTP/1.1\r\nHost : a\r\n\r\n",
                Refusal::Malformed,
            ),
            ("GET /metrics\r\n\r\n", Refusal::Malformed),
            ("\u{16}\u{3}\u{1}\r\n\r\n", Refusal::Malformed),
            ("\r\n\r\n", Refusal::Malformed),
            (&long, Refusal::TooLarge),
            (&ended, Refusal::TooLarge),
        ] {
            assert_eq!(of(request), Asked::Refused(refusal), "{request:?}");
        }
        assert_eq!(asked(b"\xff\n\n"), Asked::Refused(Refusal::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn no_octets_are_waited_for_without_end(octets in proptest::collection::vec(0u8..128, 0..200)) {
            let mut octets = octets;
            let _ = asked(&octets);
            octets.resize(LONGEST_HEAD, b'x');
            assert_ne!(asked(&octets), Asked::Unfinished);
        }
    }

    #[test]
    fn answers_say_how_long_they_are() {
        let page = answer("ä 1\n", false);
        assert!(page.contains("\r\nContent-Length: 5\r\n") && page.ends_with("\r\n\r\nä 1\n"));
        let head = answer("ä 1\n", true);
        assert!(head.contains("\r\nContent-Length: 5\r\n") && head.ends_with("\r\n\r\n"));
        let refused = Refusal::NotAllowed.answer();
        assert!(
            refused.starts_with("HTTP/1.1 405 ") && refused.contains("\r\nAllow: GET, HEAD\r\n")
        );
    }
}
