//! Requests and downloads through the chain.

use crate::{namespace, programs};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The server behind the last box.
pub const SERVER: &str = "http://10.0.0.2/";

/// A probe at work in a namespace.
#[derive(Debug)]
pub struct Probe {
    child: Child,
}

impl Probe {
    /// Starts `count` requests for `url` from the namespace, one every `interval` milliseconds.
    ///
    /// # Errors
    /// The probe is not built, the namespace is not there.
    pub fn start(from: &str, url: &str, count: u32, interval: u32) -> Result<Self> {
        Self::patient(from, url, count, interval, "1s")
    }

    /// The same with another time after which a request has failed.
    ///
    /// # Errors
    /// The probe is not built, the namespace is not there.
    pub fn patient(
        from: &str,
        url: &str,
        count: u32,
        interval: u32,
        timeout: &str,
    ) -> Result<Self> {
        let program = programs::function()?;
        let child = namespace::inside(from, || {
            Command::new(program)
                .args([
                    "probe",
                    "--url",
                    url,
                    "--output",
                    "json",
                    "--timeout",
                    timeout,
                ])
                .args(["--count", &count.to_string()])
                .args(["--interval", &format!("{interval}ms")])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
        })??;
        Ok(Self { child })
    }

    /// Waits for its end and returns its report.
    ///
    /// # Errors
    /// It printed none.
    pub fn report(self) -> Result<Value> {
        let output = self.child.wait_with_output()?;
        serde_json::from_slice(&output.stdout).context("the probe printed no report")
    }
}

/// Sends `count` requests and returns the report.
///
/// # Errors
/// The probe could not be run.
pub fn requests(from: &str, url: &str, count: u32) -> Result<Value> {
    Probe::start(from, url, count, 0)?.report()
}

/// Whether every request of a report got through.
///
/// # Errors
/// The report, when not.
pub fn all_passed(report: &Value) -> Result<()> {
    if report["failed"] != 0 || report["ok"] == 0 {
        bail!("not every request passed: {report}");
    }
    Ok(())
}

/// Waits until a request gets through, and returns how long that took.
///
/// # Errors
/// None did in time.
pub fn first(from: &str, within: Duration) -> Result<Duration> {
    let probe = || Ok((requests(from, SERVER, 1)?["ok"] == 1).then_some(()));
    let ((), took) = crate::wait::until("a request through the chain", within, probe)?;
    Ok(took)
}

/// A download over one TCP connection, at a rate the server keeps.
#[derive(Debug)]
pub struct Download {
    got: Arc<AtomicU64>,
    thread: JoinHandle<Result<(u64, Duration)>>,
}

impl Download {
    /// Starts to fetch `bytes` octets at `rate` octets a second from the client's namespace.
    ///
    /// # Errors
    /// No connection came about.
    pub fn start(bytes: u64, rate: u64) -> Result<Self> {
        let server: SocketAddr = "10.0.0.2:80".parse()?;
        let connect = || TcpStream::connect_timeout(&server, Duration::from_secs(5));
        let mut stream = namespace::inside("kcpg-client", connect)??;
        // Longer than any pause a restart may cause, shorter than for ever.
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(
            stream,
            "GET /bytes/{bytes}?rate={rate} HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n"
        )?;
        let got = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&got);
        let thread = std::thread::spawn(move || fetch(stream, &counter));
        Ok(Self { got, thread })
    }

    /// Octets so far, head included.
    pub fn got(&self) -> u64 {
        self.got.load(Ordering::Relaxed)
    }

    /// Waits until `more` octets have come since the call.
    ///
    /// # Errors
    /// It stands still.
    pub fn progress(&self, more: u64) -> Result<Duration> {
        let wanted = self.got() + more;
        let probe = || Ok((self.got() >= wanted).then_some(()));
        let ((), took) = crate::wait::until("the download", Duration::from_secs(15), probe)?;
        Ok(took)
    }

    /// Waits for its end; returns octets, head included, and the longest silence.
    ///
    /// # Errors
    /// The connection broke.
    pub fn end(self) -> Result<(u64, Duration)> {
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the download panicked"))?
    }
}

fn fetch(mut stream: TcpStream, got: &AtomicU64) -> Result<(u64, Duration)> {
    let mut buffer = vec![0; 64 * 1024];
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    loop {
        let count = stream.read(&mut buffer).context("the download broke")?;
        longest = longest.max(last.elapsed());
        last = Instant::now();
        if count == 0 {
            return Ok((got.load(Ordering::Relaxed), longest));
        }
        got.fetch_add(u64::try_from(count)?, Ordering::Relaxed);
    }
}
