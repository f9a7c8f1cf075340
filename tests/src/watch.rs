//! When the first packet of a connection went through interfaces that were not there before.

use crate::{namespace, wait};
use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Watches namespaces for TCP over IPv4 on interfaces that come later.
#[derive(Debug)]
pub struct Legs {
    first_ms: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Legs {
    /// Begins to listen in each of `namespaces`.
    ///
    /// # Errors
    /// One of them is not there, or may not be listened to.
    pub fn start(namespaces: &[&str]) -> Result<Self> {
        let first_ms = Arc::new(AtomicU64::new(u64::MAX));
        let over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for name in namespaces {
            let (socket, known) = namespace::inside(name, || {
                // Before the list: what comes in between counts as new, and is.
                let socket = socket(
                    AddressFamily::Packet,
                    SockType::Datagram,
                    SockFlag::SOCK_CLOEXEC,
                    SockProtocol::EthAll,
                )?;
                let wake = TimeVal::new(0, 100_000);
                setsockopt(&socket, sockopt::ReceiveTimeout, &wake)?;
                let known = nix::net::if_::if_nameindex()?;
                let known = known.iter().map(|i| i.index() as usize).collect();
                Ok::<(_, BTreeSet<usize>), nix::Error>((socket, known))
            })??;
            let (first_ms, over) = (Arc::clone(&first_ms), Arc::clone(&over));
            threads.push(std::thread::spawn(move || {
                let mut packet = [0; 64];
                while !over.load(Ordering::Relaxed) {
                    let Ok((length, Some(from))) =
                        recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut packet)
                    else {
                        continue;
                    };
                    let tcp = length >= 20 && packet[0] >> 4 == 4 && packet[9] == 6;
                    if tcp && !known.contains(&from.ifindex()) {
                        first_ms.fetch_min(now_ms(), Ordering::Relaxed);
                        return;
                    }
                }
            }));
        }
        Ok(Self {
            first_ms,
            over,
            threads,
        })
    }

    /// Waits for the first packet; milliseconds since 1970.
    ///
    /// # Errors
    /// There was none in time.
    pub fn first_packet(self, what: &str, within: Duration) -> Result<u64> {
        let seen = || {
            let at = self.first_ms.load(Ordering::Relaxed);
            Ok((at != u64::MAX).then_some(at))
        };
        let found = wait::until(what, within, seen);
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().ok().context("a watcher panicked")?;
        }
        Ok(found?.0)
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
