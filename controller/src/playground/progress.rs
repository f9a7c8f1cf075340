//! What a person sees while the playground goes up: one line a step with its time, a spinner
//! meanwhile on a terminal; and Ctrl-C, which stops the work between two looks at the clock.

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Set when somebody wants the work to stop.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on. A second one ends the process at once:
    /// the journal lets `down` clean up even then.
    pub(super) fn install() -> Result<Self> {
        let interrupt = Self::default();
        let flag = interrupt.clone();
        let (ready, installed) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || ready.send(flag.watch(&ready)))?;
        match installed.recv()? {
            Ok(()) => Ok(interrupt),
            Err(error) => Err(error),
        }
    }

    fn watch(&self, ready: &std::sync::mpsc::SyncSender<Result<()>>) -> Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        runtime.block_on(async {
            let mut interrupted = signal(SignalKind::interrupt())?;
            let mut terminated = signal(SignalKind::terminate())?;
            let mut hung_up = signal(SignalKind::hangup())?;
            ready.send(Ok(()))?;
            loop {
                tokio::select! {
                    _ = interrupted.recv() => {}
                    _ = terminated.recv() => {}
                    _ = hung_up.recv() => {}
                }
                if self.0.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        })
    }

    /// An error once somebody has asked to stop.
    pub(super) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }
}

/// Looks again and again until `probe` finds what it waits for, with a growing pause, at most
/// 50 ms. For things that offer no event: another process's socket, a controller's answer.
pub(super) fn wait<T>(
    what: &str,
    within: Duration,
    interrupt: &Interrupt,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut pause = Duration::from_millis(2);
    loop {
        interrupt.check()?;
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("{what}: nothing after {} s", within.as_secs());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The lines of one command.
#[derive(Debug)]
pub(super) struct Progress {
    terminal: bool,
    began: Instant,
}

impl Progress {
    /// A spinner only where somebody can see it turn.
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            began: Instant::now(),
        }
    }

    /// Time since the command began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Does one step, whose result says in a few words what came of it.
    pub(super) fn step<T>(
        &self,
        doing: &str,
        work: impl FnOnce() -> Result<(T, String)>,
    ) -> Result<T> {
        let began = Instant::now();
        let spinner = self.spinner(doing);
        let result = work();
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        let seconds = began.elapsed().as_secs_f64();
        match result {
            Ok((value, done)) => {
                eprintln!("  ok {seconds:6.1} s  {doing}: {done}");
                Ok(value)
            }
            Err(error) => {
                eprintln!("fail {seconds:6.1} s  {doing}");
                Err(error)
            }
        }
    }

    fn spinner(&self, doing: &str) -> Option<ProgressBar> {
        self.terminal.then(|| {
            let spinner = ProgressBar::new_spinner().with_message(doing.to_owned());
            if let Ok(style) = ProgressStyle::with_template("   {spinner} {elapsed:>5}  {msg}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_thing_the_clock_or_ctrl_c() {
        let calm = Interrupt::default();
        let mut left = 3;
        let found = wait("x", Duration::from_secs(5), &calm, || {
            left -= 1;
            Ok((left == 0).then_some(7))
        });
        assert_eq!(found.unwrap(), 7);
        let late = wait("the engine", Duration::ZERO, &calm, || Ok(None::<()>));
        assert!(late.unwrap_err().to_string().starts_with("the engine: "));
        let stopped = Interrupt::default();
        stopped.0.store(true, Ordering::Relaxed);
        let error = wait("x", Duration::from_secs(5), &stopped, || Ok(Some(())));
        assert_eq!(error.unwrap_err().to_string(), "interrupted");
    }
}
