//! Uses the processor, so that people see what their alarms and limits do: `kc exec dpi-1 --
//! /kc-function burn --for 20s`.

use crate::duration;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// What is done in one go, a small part of a slice.
const ROUND: u32 = 10_000;
/// As long as the kernel's period of limits: work and rest are spread as evenly.
const SLICE: Duration = Duration::from_millis(100);

/// How much, and for how long.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Options {
    /// Ends after this time.
    #[arg(long = "for", value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub period: Duration,
    /// Share of one processor.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub percent: u32,
}

/// Burns.
pub fn run(options: &Options) {
    let end = Instant::now() + options.period;
    let busy = SLICE * options.percent / 100;
    while Instant::now() < end {
        let began = Instant::now();
        while began.elapsed() < busy {
            black_box((0..ROUND).fold(0_u32, |sum, n| black_box(sum.wrapping_mul(31) + n % 7)));
        }
        thread::sleep(SLICE.saturating_sub(began.elapsed()));
    }
}
