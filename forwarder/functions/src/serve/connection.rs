//! One client's connection: requests in, answers out, until either side has enough.

use super::pace::Pace;
use super::request::{self, Request};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A silent client is let go after this long.
const IDLE: Duration = Duration::from_secs(30);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) hostname: String,
    /// Requests answered.
    pub(super) served: AtomicU64,
    /// Connections open.
    pub(super) open: AtomicUsize,
    pub(super) rate: Option<u64>,
}

/// The answer to `GET /`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Answer<'a> {
    hostname: &'a str,
    client: IpAddr,
    client_port: u16,
    headers: &'a BTreeMap<String, String>,
    served: u64,
}

/// Answers 503 without reading.
pub(super) fn refuse_busy(mut stream: TcpStream) {
    let sent = stream.write_all(
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    if let Err(error) = sent {
        tracing::debug!(%error, "could not refuse");
    }
}

/// Answers requests until the client closes, asks to close or falls silent.
pub(super) fn converse(stream: &TcpStream, peer: SocketAddr, context: &Context) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut waiting = Vec::new();
    while let Some(end) = read_head(stream, &mut waiting)? {
        let parsed = request::parse(&waiting[..end]);
        waiting.drain(..end);
        let Some(request) = parsed else {
            return head(stream, "400 Bad Request", "text/plain", 0, false);
        };
        skip_body(stream, &mut waiting, request.body)?;
        answer(stream, peer, &request, context)?;
        if !request.keep {
            break;
        }
    }
    Ok(())
}

/// Reads until `waiting` begins with a whole head and says where that ends; `None` at the
/// connection's end.
fn read_head(mut stream: &TcpStream, waiting: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut piece = [0; 2048];
    loop {
        if let Some(end) = request::end_of_head(waiting) {
            return Ok(Some(end));
        }
        if waiting.len() > request::MAX_HEAD {
            head(
                stream,
                "431 Request Header Fields Too Large",
                "text/plain",
                0,
                false,
            )?;
            return Ok(None);
        }
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            count => waiting.extend_from_slice(&piece[..count]),
        }
    }
}

fn skip_body(stream: &TcpStream, waiting: &mut Vec<u8>, body: u64) -> io::Result<()> {
    let here = usize::try_from(body).map_or(waiting.len(), |body| body.min(waiting.len()));
    waiting.drain(..here);
    let left = body - here as u64;
    io::copy(&mut stream.take(left), &mut io::sink())?;
    Ok(())
}

fn answer(
    stream: &TcpStream,
    peer: SocketAddr,
    request: &Request,
    context: &Context,
) -> io::Result<()> {
    let served = context.served.fetch_add(1, Ordering::Relaxed) + 1;
    let keep = request.keep;
    let with_body = request.method == "GET";
    if !with_body && request.method != "HEAD" {
        return head(stream, "405 Method Not Allowed", "text/plain", 0, keep);
    }
    if let Some(count) = request.path.strip_prefix("/bytes/") {
        let Ok(count) = count.parse() else {
            return head(stream, "400 Bad Request", "text/plain", 0, keep);
        };
        head(stream, "200 OK", "application/octet-stream", count, keep)?;
        let pace = Pace(request.number("rate").or(context.rate));
        return if with_body {
            pour(stream, count, pace)
        } else {
            Ok(())
        };
    }
    if request.path != "/" {
        return head(stream, "404 Not Found", "text/plain", 0, keep);
    }
    let answer = Answer {
        hostname: &context.hostname,
        client: peer.ip().to_canonical(),
        client_port: peer.port(),
        headers: &request.headers,
        served,
    };
    let mut body = serde_json::to_vec(&answer)?;
    body.push(b'\n');
    head(
        stream,
        "200 OK",
        "application/json",
        body.len() as u64,
        keep,
    )?;
    let mut stream = stream;
    if with_body {
        stream.write_all(&body)
    } else {
        Ok(())
    }
}

fn head(
    mut stream: &TcpStream,
    status: &str,
    kind: &str,
    length: u64,
    keep: bool,
) -> io::Result<()> {
    let connection = if keep { "keep-alive" } else { "close" };
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n"
    );
    stream.write_all(text.as_bytes())
}

/// Writes `count` octets no faster than `pace`.
fn pour(mut stream: &TcpStream, count: u64, pace: Pace) -> io::Result<()> {
    let pattern = [b'k'; 16 * 1024];
    let start = Instant::now();
    let mut sent = 0;
    while sent < count {
        let piece = pace.piece(count - sent, pattern.len());
        stream.write_all(&pattern[..piece])?;
        sent += piece as u64;
        let early = pace.due(sent).saturating_sub(start.elapsed());
        if !early.is_zero() && sent < count {
            std::thread::sleep(early);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What the server answers to `request` on one connection that the client then ends.
    fn talk(request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(request).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        let context = Context {
            hostname: "replica-1".to_owned(),
            served: AtomicU64::new(0),
            open: AtomicUsize::new(1),
            rate: None,
        };
        let server = std::thread::spawn(move || converse(&stream, peer, &context));
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        server.join().unwrap().unwrap();
        answer
    }

    #[test]
    fn the_answer_names_host_and_client() {
        let answer = talk(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["hostname"], "replica-1");
        assert_eq!(body["client"], "127.0.0.1");
        assert_eq!(body["headers"]["host"], "x");
        assert_eq!(body["served"], 1);
    }

    #[test]
    fn two_requests_on_one_connection_get_two_answers() {
        let answer = talk(b"GET / HTTP/1.1\r\n\r\nGET /bytes/3 HTTP/1.1\r\n\r\n");
        assert!(answer.ends_with("\r\n\r\nkkk"), "{answer}");
        assert_eq!(answer.matches("200 OK").count(), 2);
    }

    #[test]
    fn a_body_is_read_past() {
        let answer = talk(b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /x HTTP/1.1\r\n\r\n");
        assert!(answer.contains("404"), "{answer}");
    }

    #[test]
    fn noise_is_answered_400() {
        assert!(talk(b"\x16\x03\x01\r\n\r\n").starts_with("HTTP/1.1 400"));
    }
}
