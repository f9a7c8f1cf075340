//! One `up` or `down` at a time.

use super::layout::RUN;
use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long another one may take to let go: a killed `up` leaves the lock for a moment to the
/// child it was just starting.
const PATIENCE: Duration = Duration::from_secs(3);

/// Held while a playground is made or removed; the kernel lets go of it with the process.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(super) fn take() -> Result<Self> {
        fs::create_dir_all(RUN).with_context(|| format!("cannot make {RUN}"))?;
        let path = Path::new(RUN).join("lock");
        let mut file =
            File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => return Ok(Self { _file: file }),
                Err((file, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file,
                Err((_, Errno::EWOULDBLOCK)) => bail!(
                    "another kc playground up or down is at work: let it finish, or stop it with Ctrl-C"
                ),
                Err((_, error)) => return Err(error).context("cannot lock the playground"),
            };
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
