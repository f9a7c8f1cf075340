//! What processes cost, as /proc tells it: memory, CPU time, wake-ups, octets written to disks.

use anyhow::{Context, Result};
use std::fs;

/// In MiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident.
    pub rss: f64,
    /// Resident, with what is shared counted in parts.
    pub pss: f64,
    /// Of its own: neither files nor shared.
    pub anonymous: f64,
}

impl Memory {
    /// Of all `processes` together.
    ///
    /// # Errors
    /// One has ended.
    pub fn of(processes: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for process in processes {
            let file = format!("/proc/{process}/smaps_rollup");
            let text = fs::read_to_string(&file).context(file)?;
            let megabytes = |name: &str| number(&text, name) / 1024.0;
            sum.rss += megabytes("Rss:");
            sum.pss += megabytes("Pss:");
            sum.anonymous += megabytes("Anonymous:");
        }
        Ok(sum)
    }
}

/// What the scheduler tells of threads, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    /// On a CPU.
    pub running: f64,
    /// Ready, and others ran.
    pub waiting: f64,
}

impl Clock {
    /// Of all threads of `processes`.
    pub fn read(processes: &[u32]) -> Self {
        let mut sum = Self::default();
        for text in of_threads(processes, "schedstat") {
            let mut numbers = text.split_whitespace().map(|word| word.parse::<f64>());
            let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0.0) / 1e9;
            sum.running += next();
            sum.waiting += next();
        }
        sum
    }

    /// What has passed since `former`.
    #[must_use]
    pub fn since(self, former: Self) -> Self {
        Self {
            running: self.running - former.running,
            waiting: self.waiting - former.waiting,
        }
    }
}

/// How often threads have begun to wait, ever: each time is followed by a wake-up.
pub fn wake_ups(processes: &[u32]) -> f64 {
    let texts = of_threads(processes, "status");
    texts
        .map(|text| number(&text, "voluntary_ctxt_switches:"))
        .sum()
}

/// Octets that `processes` have had written to disks, ever.
pub fn written(processes: &[u32]) -> f64 {
    let texts = processes
        .iter()
        .filter_map(|process| fs::read_to_string(format!("/proc/{process}/io")).ok());
    texts
        .map(|text| number(&text, "write_bytes:") - number(&text, "cancelled_write_bytes:"))
        .sum()
}

/// A file of every thread of `processes`.
fn of_threads(processes: &[u32], file: &'static str) -> impl Iterator<Item = String> {
    let threads = processes
        .iter()
        .filter_map(|process| fs::read_dir(format!("/proc/{process}/task")).ok());
    threads
        .flatten()
        .flatten()
        .map(move |thread| fs::read_to_string(thread.path().join(file)).unwrap_or_default())
}

/// The number in the line that begins with `name`.
fn number(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0.0)
}
