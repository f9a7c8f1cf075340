//! A small HTTP/1.1 server that says who asked: the far end of a playground chain, and a service
//! whose replicas tell themselves apart by host name.

mod connection;
mod pace;
mod request;

use crate::signals::{ENDING, Signals};
use connection::{Context, converse, refuse_busy};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Connections served at once; more are answered 503.
const MAX_CONNECTIONS: usize = 256;

/// How to serve.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Address and port to listen on.
    #[arg(long, default_value = "0.0.0.0:80", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Octets per second of each download of /bytes/N; a request's ?rate= goes first.
    #[arg(long, value_name = "BYTES_PER_SEC")]
    pub rate: Option<u64>,
}

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Signals or threads were refused.
    #[error("the kernel refused: {0}")]
    Kernel(#[from] io::Error),
}

/// Serves until SIGTERM or SIGINT, then returns how many requests were answered.
///
/// # Errors
/// The address is taken or not here.
pub fn run(options: &Options) -> Result<u64, ServeError> {
    let signals = Signals::listen_to(&ENDING)?;
    let refuse = |source| ServeError::Listen {
        address: options.listen,
        source,
    };
    let listener = TcpListener::bind(options.listen).map_err(refuse)?;
    listener.set_nonblocking(true).map_err(refuse)?;
    let context = Arc::new(Context {
        hostname: nix::unistd::gethostname()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        served: AtomicU64::new(0),
        open: AtomicUsize::new(0),
        rate: options.rate,
    });
    tracing::info!(address = %options.listen, hostname = context.hostname, "listening");
    loop {
        let mut waiting = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(ServeError::Kernel(error.into())),
        }
        if signals.next().is_some() {
            return Ok(context.served.load(Ordering::Relaxed));
        }
        accept_all(&listener, &context);
    }
}

/// Takes every connection that waits, each in a thread of its own.
fn accept_all(listener: &TcpListener, context: &Arc<Context>) {
    while let Ok((stream, peer)) = listener.accept() {
        if context.open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            refuse_busy(stream);
            context.open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let shared = Arc::clone(context);
        let started = std::thread::Builder::new()
            .stack_size(128 * 1024)
            .spawn(move || {
                if let Err(error) = converse(&stream, peer, &shared) {
                    tracing::debug!(%peer, %error, "connection ended");
                }
                shared.open.fetch_sub(1, Ordering::Relaxed);
            });
        if started.is_err() {
            context.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
