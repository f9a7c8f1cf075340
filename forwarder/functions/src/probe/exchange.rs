//! One request and its answer, within a deadline.

use super::url::Url;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Octets of a body that are kept for reading; the rest is only counted.
const KEPT: usize = 64 * 1024;

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("no answer in time")]
    Timeout,
    #[error("connection refused")]
    Refused,
    #[error("connection reset")]
    Reset,
    #[error("destination unreachable")]
    Unreachable,
    #[error("the answer ended early")]
    Short,
    #[error("the answer is not HTTP")]
    NotHttp,
    #[error("status {0}")]
    Status(u16),
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Timeout,
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            _ => Self::Io(error),
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Octets of the body.
    pub(super) length: u64,
    /// Address the server saw, where the answer says so.
    pub(super) client: Option<String>,
    /// Host name of the server, where the answer says so.
    pub(super) hostname: Option<String>,
}

/// Gets `url` within `timeout`.
pub(super) fn ask(url: &Url, timeout: Duration) -> Result<Answer, ExchangeError> {
    let deadline = Instant::now() + timeout;
    let address = url.address()?;
    let mut stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: kc-probe\r\nConnection: close\r\n\r\n",
        url.target, url.host
    );
    stream.write_all(request.as_bytes())?;
    receive(&mut stream, deadline)
}

/// Time until `deadline`; none is an error, since sockets take zero for "for ever".
fn left(deadline: Instant) -> Result<Duration, ExchangeError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ExchangeError::Timeout);
    }
    Ok(left)
}

fn receive(stream: &mut TcpStream, deadline: Instant) -> Result<Answer, ExchangeError> {
    let mut kept = Vec::new();
    let mut total = 0_u64;
    let mut piece = vec![0; 32 * 1024];
    let mut head = None;
    loop {
        if head.is_none() {
            head = parse_head(&kept)?;
        }
        if let Some(head) = &head
            && let Some(length) = head.length
            && total >= head.end as u64 + length
        {
            break;
        }
        if head.is_none() && kept.len() >= KEPT {
            return Err(ExchangeError::NotHttp);
        }
        stream.set_read_timeout(Some(left(deadline)?))?;
        let count = match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error.into()),
        };
        total += count as u64;
        kept.extend_from_slice(&piece[..count.min(KEPT.saturating_sub(kept.len()))]);
    }
    let head = head.ok_or(ExchangeError::Short)?;
    let length = total - head.end as u64;
    if head.length.is_some_and(|promised| length < promised) {
        return Err(ExchangeError::Short);
    }
    if !(200..400).contains(&head.status) {
        return Err(ExchangeError::Status(head.status));
    }
    let body: Option<serde_json::Value> = serde_json::from_slice(&kept[head.end..]).ok();
    let text = |field| {
        let value = body.as_ref()?.get(field)?;
        value.as_str().map(str::to_owned)
    };
    Ok(Answer {
        length,
        client: text("client"),
        hostname: text("hostname"),
    })
}

struct Head {
    status: u16,
    /// Where the body begins.
    end: usize,
    /// Octets of body promised; without a promise the body ends with the connection.
    length: Option<u64>,
}

/// Reads the head at the start of `bytes`; `None` while it is incomplete.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, ExchangeError> {
    let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes[..at]);
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .filter(|line| line.starts_with("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or(ExchangeError::NotHttp)?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    Ok(Some(Head {
        status,
        end: at + 4,
        length,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Asks a server that sends `answer` and closes.
    fn ask_one_that_says(answer: &'static [u8]) -> Result<Answer, ExchangeError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
        });
        let url = format!("http://{address}/").parse().unwrap();
        let outcome = ask(&url, Duration::from_secs(5));
        server.join().unwrap();
        outcome
    }

    #[test]
    fn the_answer_tells_who_the_server_saw() {
        let answer = ask_one_that_says(
            b"HTTP/1.1 200 OK\r\ncontent-length: 39\r\n\r\n{\"client\":\"10.0.0.100\",\"hostname\":\"s1\"}",
        )
        .unwrap();
        assert_eq!(answer.client.as_deref(), Some("10.0.0.100"));
        assert_eq!(answer.hostname.as_deref(), Some("s1"));
    }

    #[test]
    fn a_body_cut_short_is_a_failure() {
        let error =
            ask_one_that_says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").unwrap_err();
        assert!(matches!(error, ExchangeError::Short), "{error}");
    }

    #[test]
    fn an_error_status_is_a_failure() {
        let error = ask_one_that_says(b"HTTP/1.1 503 Busy\r\n\r\n").unwrap_err();
        assert!(matches!(error, ExchangeError::Status(503)), "{error}");
    }

    #[test]
    fn a_closed_port_is_refused() {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let url = format!("http://{free}/").parse().unwrap();
        let error = ask(&url, Duration::from_secs(5)).unwrap_err();
        assert!(matches!(error, ExchangeError::Refused), "{error}");
    }

    #[test]
    fn a_server_that_never_answers_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let error = ask(&url, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, ExchangeError::Timeout), "{error}");
    }
}
