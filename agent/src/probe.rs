//! Tries of health checks: a connection or a request from inside the container's network, or a command
//! in the container. What they come to is judged by [`crate::reconcile::Vitals`].

use crate::docker::{self, DockerError};
use crate::wiring::{WiringError, enter, namespace};
use bollard::Docker;
use kc_agent_api::{HealthCheck, Probe};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest status line taken.
const STATUS_LINE: usize = 512;
/// Enough for sockets and a few strings.
const STACK: usize = 128 << 10;

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody takes the connection.
    #[error("port {port} takes no connection")]
    Connect {
        /// The port.
        port: u16,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or nothing came.
    #[error("no answer on port {port}")]
    Silent {
        /// The port.
        port: u16,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// It was answered, not as hoped.
    #[error("answered with {0}")]
    Status(u16),
    /// It was answered with something else.
    #[error("answered with something that is not HTTP")]
    NotHttp,
    /// The command failed.
    #[error("the command ended with {0}")]
    Ended(i64),
    /// The command takes too long.
    #[error("no end after {0} ms")]
    Late(u32),
    /// The container's network cannot be entered.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The engine does not run the command.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// No thread for it.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The thread ended without an answer.
    #[error("the probing thread ended early")]
    Early,
}

/// Tries `check` on the container `id`, whose first process is `pid`.
pub async fn probe(
    docker: &Docker,
    (id, pid): (&str, u32),
    addresses: Vec<IpAddr>,
    check: &HealthCheck,
) -> Result<(), ProbeError> {
    let timeout = Duration::from_millis(check.timeout_ms.into());
    match &check.probe {
        Probe::Image | Probe::None => Ok(()),
        Probe::Exec { command } => {
            let run = docker::exec(docker, id, command.clone(), Vec::new(), timeout).await?;
            match run {
                Some(0) => Ok(()),
                Some(code) => Err(ProbeError::Ended(code)),
                None => Err(ProbeError::Late(check.timeout_ms)),
            }
        }
        Probe::Tcp { port } => {
            let port = *port;
            inside(pid, move || {
                connect(&addresses, port, Instant::now() + timeout).map(drop)
            })
            .await
        }
        Probe::Http { port, path } => {
            let (port, path) = (*port, path.clone());
            inside(pid, move || {
                let deadline = Instant::now() + timeout;
                let stream = connect(&addresses, port, deadline)?;
                judge(get(stream, port, &path, deadline)?)
            })
            .await
        }
    }
}

/// Runs `work` on a thread of its own in the network namespace of `pid`. The thread ends with it.
async fn inside(
    pid: u32,
    work: impl FnOnce() -> Result<(), ProbeError> + Send + 'static,
) -> Result<(), ProbeError> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let run = move || {
        let entered = namespace(pid).and_then(|namespace| enter(&namespace, pid));
        let _ = sender.send(entered.map_err(ProbeError::from).and_then(|()| work()));
    };
    std::thread::Builder::new()
        .name("probe".into())
        .stack_size(STACK)
        .spawn(run)
        .map_err(ProbeError::Thread)?;
    receiver.await.map_err(|_| ProbeError::Early)?
}

/// The first connection that is taken: on the loopback interface, then on the container's addresses.
fn connect(addresses: &[IpAddr], port: u16, deadline: Instant) -> Result<TcpStream, ProbeError> {
    let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut first = None;
    for address in local.iter().chain(addresses) {
        let stream = left(deadline)
            .and_then(|left| TcpStream::connect_timeout(&SocketAddr::new(*address, port), left));
        match stream {
            Ok(stream) => return Ok(stream),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    let source = first.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    Err(ProbeError::Connect { port, source })
}

/// The status that a GET is answered with.
fn get(mut stream: TcpStream, port: u16, path: &str, deadline: Instant) -> Result<u16, ProbeError> {
    let silent = |source| ProbeError::Silent { port, source };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: kc-agent\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    let left_now = left(deadline).map_err(silent)?;
    stream.set_write_timeout(Some(left_now)).map_err(silent)?;
    stream.write_all(request.as_bytes()).map_err(silent)?;
    let mut line = Vec::new();
    let mut buffer = [0; STATUS_LINE];
    while !line.contains(&b'\n') && line.len() < STATUS_LINE {
        let left_now = left(deadline).map_err(silent)?;
        stream.set_read_timeout(Some(left_now)).map_err(silent)?;
        match stream.read(&mut buffer).map_err(silent)? {
            0 => break,
            length => line.extend_from_slice(&buffer[..length]),
        }
    }
    status(&line).ok_or(ProbeError::NotHttp)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// `HTTP/1.1 204 No Content` is 204.
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let code = rest.get(2..5)?;
    let digits = rest.get(1) == Some(&b' ') && code.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(code).ok()?.parse().ok())?
}

fn judge(status: u16) -> Result<(), ProbeError> {
    match status {
        200..=399 => Ok(()),
        other => Err(ProbeError::Status(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn answered(answer: &'static [u8], hold: bool) -> Result<(), ProbeError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).unwrap();
            stream.write_all(answer).unwrap();
            if hold {
                // Until the other side has had enough.
                let _ = stream.read(&mut asked[length..]);
            }
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        let deadline = Instant::now() + Duration::from_millis(300);
        let stream = connect(&[], port, deadline).unwrap();
        let outcome = get(stream, port, "/healthz?full=1", deadline).and_then(judge);
        let asked = server.join().unwrap();
        assert!(asked.starts_with("GET /healthz?full=1 HTTP/1.1\r\nHost: localhost:"));
        outcome
    }

    #[test]
    fn two_and_three_hundreds_are_healthy_and_nothing_else_is() {
        for good in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"HTTP/1.0 399\n"] {
            answered(good, false).unwrap();
        }
        for bad in [&b"HTTP/1.1 404 Not Found\r\n"[..], b"HTTP/1.1 503 x\r\n"] {
            let error = answered(bad, false).unwrap_err();
            assert!(matches!(error, ProbeError::Status(404 | 503)), "{error}");
        }
        for odd in [
            &b""[..],
            b"HTTP/1.1 20",
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1 2x0 \n",
        ] {
            let error = answered(odd, false).unwrap_err();
            assert!(matches!(error, ProbeError::NotHttp), "{error}");
        }
    }

    #[test]
    fn a_server_that_says_half_a_line_is_not_waited_for() {
        let error = answered(b"HTTP/1.1 2", true).unwrap_err();
        assert!(matches!(error, ProbeError::Silent { .. }), "{error}");
    }

    #[test]
    fn a_port_that_nobody_has_is_told() {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let error = connect(&[], port, Instant::now() + Duration::from_secs(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("port {port} takes no connection")
        );
    }
}
