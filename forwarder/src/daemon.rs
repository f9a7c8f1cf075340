//! The running forwarder: packet thread, control socket and signals tied together.

use crate::aside;
use anyhow::{Context, bail};
use kc_forwarder::control::{self, Desk, Server};
use kc_forwarder::runtime;
use kc_forwarder::tables::Compiled;
use kc_forwarder_api::Tables;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// More threads than this have nothing to do: the one that decides cannot keep them busy.
const MOST_THREADS: usize = 4;

/// Runs until a signal ends it, with so many threads that move packets, or as many as make sense
/// here.
pub(crate) fn run(file: Option<&Path>, socket: &Path, threads: Option<u16>) -> anyhow::Result<()> {
    let tables = file.map(aside::read).transpose()?;
    // Before any thread starts, so that all of them leave signals to this one.
    let signals = catch_signals().context("catch signals")?;
    let server = Server::new(control::bind(socket)?);
    let here =
        || std::thread::available_parallelism().map_or(1, |here| here.get().min(MOST_THREADS));
    let threads = threads.map_or_else(here, usize::from);
    let outcome = serve(tables, file, server, &signals, threads);
    if let Err(error) = std::fs::remove_file(socket) {
        tracing::warn!(socket = %socket.display(), %error, "the control socket was not removed");
    }
    outcome
}

fn catch_signals() -> nix::Result<SignalFd> {
    let set = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn serve(
    tables: Option<Tables>,
    file: Option<&Path>,
    mut server: Server,
    signals: &SignalFd,
    threads: usize,
) -> anyhow::Result<()> {
    let empty = Arc::new(Compiled::new(Tables::default())?);
    let packets = runtime::start(Arc::clone(&empty), threads).context("start the packet thread")?;
    let bell = runtime::Bell::new().context("make a bell")?;
    let mut desk = Desk::new(packets, empty, bell);
    if let Some(tables) = tables {
        apply(&mut desk, tables)?;
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "forwarding");
    loop {
        let ready = wait(&server, &desk, signals)?;
        let [signal, ended, bell, clients @ ..] = ready.as_slice() else {
            bail!("poll lost an answer")
        };
        if *ended {
            bail!("the packet thread has ended");
        }
        if *signal {
            while let Some(info) = signals.read_signal()? {
                if i32::try_from(info.ssi_signo).is_ok_and(|number| number == Signal::SIGHUP as i32)
                {
                    reload(&mut desk, file);
                } else {
                    tracing::info!("ended by a signal");
                    return Ok(());
                }
            }
        }
        if *bell {
            desk.bell().silence();
        }
        server.serve(clients, &mut desk, Instant::now())?;
    }
}

/// Waits for anything to do; tells for each of signals, end of packet thread, bell, clients,
/// whether it is ready.
fn wait(server: &Server, desk: &Desk, signals: &SignalFd) -> anyhow::Result<Vec<bool>> {
    let mut fds = vec![
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        PollFd::new(desk.ended(), PollFlags::empty()),
        PollFd::new(desk.bell().as_fd(), PollFlags::POLLIN),
    ];
    fds.extend(server.wanted());
    let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
    let timeout = server.deadline().map(|deadline| left(deadline).into());
    match ppoll(&mut fds, timeout, None) {
        Ok(_) | Err(nix::Error::EINTR) => {}
        Err(error) => return Err(error).context("wait for clients"),
    }
    Ok(fds.iter().map(|fd| fd.any().unwrap_or(true)).collect())
}

/// Puts tables from a file in force. A file without a generation gets the next one.
fn apply(desk: &mut Desk, mut tables: Tables) -> anyhow::Result<()> {
    if tables.generation == 0 {
        tables.generation = desk.tables().generation;
        if tables != *desk.tables() {
            tables.generation = tables.generation.saturating_add(1);
        }
    }
    let generation = desk.apply(tables)?;
    tracing::info!(generation, "tables are in force");
    Ok(())
}

/// Reads the file again; when it is wrong, all stays as it was.
fn reload(desk: &mut Desk, file: Option<&Path>) {
    let Some(file) = file else {
        tracing::warn!("SIGHUP: started without --config, nothing to read again");
        return;
    };
    if let Err(error) = aside::read(file).and_then(|tables| apply(desk, tables)) {
        tracing::error!("SIGHUP: {error:#}; the former tables stay in force");
    }
}
