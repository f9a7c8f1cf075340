//! Ctrl-C and SIGTERM: waiting ends at once and everything that was made is taken away in order.

use anyhow::{Result, bail};
use nix::sys::signal::{SigSet, Signal};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

static INTERRUPTED: Mutex<bool> = Mutex::new(false);
static BELL: Condvar = Condvar::new();

/// Takes both signals from now on, in children too: those are ended one by one, by SIGKILL.
/// Called before any other thread is there.
pub(crate) fn catch() -> Result<()> {
    let set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    set.thread_block()?;
    std::thread::spawn(move || {
        if set.wait().is_ok() {
            *INTERRUPTED.lock().unwrap_or_else(PoisonError::into_inner) = true;
            BELL.notify_all();
        }
    });
    Ok(())
}

/// Waits, unless interrupted.
pub(crate) fn sleep(time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    let mut interrupted = INTERRUPTED.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if *interrupted {
            bail!("interrupted");
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let waited = BELL.wait_timeout(interrupted, left);
        interrupted = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Whether a signal came.
pub(crate) fn is_pending() -> bool {
    *INTERRUPTED.lock().unwrap_or_else(PoisonError::into_inner)
}
