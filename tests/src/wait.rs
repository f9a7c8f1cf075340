//! Waiting for what has no event of its own.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Asks `probe` again and again until it finds something, and returns that with the time it took.
///
/// # Errors
/// Time ran out, or the probe gave up.
pub fn until<T>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<(T, Duration)> {
    let began = Instant::now();
    loop {
        if let Some(found) = probe()? {
            return Ok((found, began.elapsed()));
        }
        if began.elapsed() > within {
            bail!("{what}: not within {} s", within.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
