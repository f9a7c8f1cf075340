//! One `up` or `down` at a time.

use super::layout::RUN;
use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::path::Path;

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
        let file =
            File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { _file: file }),
            Err((_, Errno::EWOULDBLOCK)) => Err(anyhow!(
                "another kc playground up or down is at work: let it finish, or stop it with Ctrl-C"
            )),
            Err((_, error)) => Err(error).context("cannot lock the playground"),
        }
    }
}
