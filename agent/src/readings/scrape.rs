//! The socket that Prometheus reads from. Holds no policy; each client has a task of its own,
//! of which there are few, and each step of it a time limit.

use super::http::{self, Asked, Refusal};
use super::metrics::Readings;
use kc_mqtt::Backoff;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

/// Clients served at the same time; more wait in the kernel.
pub const CLIENTS: usize = 16;
/// How long a client may take to ask, and then again to take its answer.
pub const SLOWEST: Duration = Duration::from_secs(3);
/// How long a client may take to hang up.
const FAREWELL: Duration = Duration::from_millis(500);

type Newest = watch::Receiver<Option<Arc<Readings>>>;

/// Listens for as long as it is polled. An address that is not there yet, as before DHCP has
/// answered, is tried again.
pub async fn listen(address: SocketAddr, readings: Newest) {
    let mut backoff = Backoff::default();
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%address, %error, "Prometheus cannot ask yet");
                }
                sleep(backoff.next(fastrand::f64())).await;
            }
        }
    };
    tracing::info!(%address, "Prometheus may ask");
    serve(listener, readings).await;
}

/// Serves whoever connects.
pub async fn serve(listener: TcpListener, readings: Newest) {
    let room = Arc::new(Semaphore::new(CLIENTS));
    loop {
        // Nobody closes it.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let readings = readings.clone();
                tokio::spawn(async move {
                    // A client that hangs up in the middle is its own affair.
                    let _ = client(stream, readings).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Most likely out of file descriptors; clients that end give some back.
                tracing::debug!(%error, "cannot accept");
                sleep(FAREWELL).await;
            }
        }
    }
}

async fn client(mut stream: TcpStream, mut readings: Newest) -> io::Result<()> {
    let asked = match within(SLOWEST, read(&mut stream)).await {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Asked::Refused(Refusal::TimedOut),
        asked => asked?,
    };
    let answer = match asked {
        Asked::Unfinished => return Ok(()),
        Asked::Refused(refusal) => refusal.answer(),
        Asked::Page | Asked::Head => match newest(&mut readings).await {
            None => Refusal::NoReadings.answer(),
            Some(readings) => http::answer(&readings.page(), asked == Asked::Head),
        },
    };
    let deadline = Instant::now() + SLOWEST;
    within(SLOWEST, stream.write_all(answer.as_bytes())).await?;
    within(deadline - Instant::now(), stream.shutdown()).await?;
    // RFC 9112 section 9.6: closed at once with octets unread, the client would see a reset and
    // perhaps no answer.
    let mut rest = stream.take(64 << 10);
    within(FAREWELL, copy(&mut rest, &mut sink())).await?;
    Ok(())
}

/// The newest readings. An agent that has just started has its first ones in a moment.
async fn newest(readings: &mut Newest) -> Option<Arc<Readings>> {
    let first = readings.wait_for(Option::is_some);
    timeout(SLOWEST, first).await.ok()?.ok()?.clone()
}

/// Reads until it is known what is wanted; unfinished when the client ends first.
async fn read(stream: &mut TcpStream) -> io::Result<Asked> {
    let mut octets = Vec::with_capacity(1024);
    loop {
        match http::asked(&octets) {
            Asked::Unfinished => {}
            asked => return Ok(asked),
        }
        if stream.read_buf(&mut octets).await? == 0 {
            return Ok(Asked::Unfinished);
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, work)
        .await
        .unwrap_or_else(|late| Err(late.into()))
}
