//! The playground's daemons under a supervisor that does what systemd would: starts again what
//! was killed, as it was started.

use anyhow::{Context, Result, ensure};
use kc_tests::{daemon, process, wait};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

/// Where everything short-lived of the playground is.
pub(crate) const RUN: &str = "/run/kcluster-playground";

/// One daemon.
struct Daemon {
    how: process::Start,
    pid: i32,
    /// Once we have started it ourselves.
    child: Option<Child>,
    down: bool,
}

/// All of them, by role.
pub(crate) struct Daemons(BTreeMap<String, Daemon>);

impl Daemons {
    /// Takes over what `kc playground up` has started.
    pub(crate) fn adopt(boxes: u8) -> Result<Self> {
        let mut roles = vec!["hub/broker".to_owned(), "hub/controller".to_owned()];
        for k in 1..=boxes {
            roles.extend(["agent", "dockerd"].map(|name| format!("box{k}/{name}")));
        }
        let mut all = BTreeMap::new();
        for role in roles {
            let pid = process::of(&role)?;
            let daemon = Daemon {
                how: process::how(pid)?,
                pid,
                child: None,
                down: false,
            };
            all.insert(role, daemon);
        }
        Ok(Self(all))
    }

    /// From its next start on, `role` has these in its environment.
    pub(crate) fn environment(&mut self, role: &str, more: &[(&str, &Path)]) -> Result<()> {
        let daemon = self.get(role)?;
        let more = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.display().to_string()));
        daemon.how.environment.extend(more);
        Ok(())
    }

    /// Kills one; says whether there was anything to kill.
    pub(crate) fn kill(&mut self, role: &str) -> Result<bool> {
        let daemon = self.get(role)?;
        if daemon.down {
            return Ok(false);
        }
        daemon.down = true;
        process::signal(daemon.pid, Signal::SIGKILL).context(role.to_owned())?;
        match &mut daemon.child {
            Some(child) => drop(child.wait()?),
            None => {
                let pid = daemon.pid;
                let gone = || Ok((!process::alive(pid)).then_some(()));
                wait::until("the end of a daemon", Duration::from_secs(5), gone)?;
            }
        }
        Ok(true)
    }

    /// Starts what was killed.
    pub(crate) fn start(&mut self, role: &str) -> Result<()> {
        let daemon = self.get(role)?;
        if !daemon.down {
            return Ok(());
        }
        let child = daemon::start(role, &daemon.how)?;
        daemon.pid = i32::try_from(child.id())?;
        daemon.child = Some(child);
        daemon.down = false;
        Ok(())
    }

    /// Starts again what ended by itself: an engine that found its disk full, for instance. Says
    /// what that was.
    pub(crate) fn revive(&mut self) -> Result<Vec<String>> {
        let mut ended = Vec::new();
        for (role, daemon) in &mut self.0 {
            let over = match &mut daemon.child {
                Some(child) => child.try_wait()?.is_some(),
                None => !process::alive(daemon.pid),
            };
            if over && !daemon.down {
                daemon.down = true;
                ended.push(role.clone());
            }
        }
        for role in &ended {
            self.start(role)?;
        }
        Ok(ended)
    }

    /// Whether it was killed and is not started again yet.
    pub(crate) fn down(&self, role: &str) -> bool {
        self.0.get(role).is_some_and(|daemon| daemon.down)
    }

    /// Asks one to end, and waits for it.
    pub(crate) fn stop(&mut self, role: &str) -> Result<()> {
        let daemon = self.get(role)?;
        daemon.down = true;
        process::signal(daemon.pid, Signal::SIGTERM)?;
        let child = daemon.child.as_mut().context("it was never restarted")?;
        let status = child.wait()?;
        ensure!(status.success(), "{role} ended with {status}");
        Ok(())
    }

    fn get(&mut self, role: &str) -> Result<&mut Daemon> {
        let found = self.0.get_mut(role);
        found.with_context(|| format!("no daemon is called {role}"))
    }
}
