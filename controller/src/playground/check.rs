//! `kc playground check`: the same traffic again, judged.

use super::journal::{self, Journal};
use super::layout::{RUN, sites};
use super::{picture, traffic};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::ExitCode;

/// Arguments of `kc playground check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Requests to send
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
}

/// Sends requests; fails unless every one passed and every hop counted them.
pub(super) fn run(arguments: &CheckArgs) -> Result<ExitCode> {
    let entries = Journal::read(Path::new(RUN))?;
    let Some((boxes, function)) = journal::playground(&entries) else {
        bail!("there is no playground: make one with kc playground up");
    };
    let round = traffic::round(function, &sites(boxes), arguments.requests)?;
    print!("{}", picture::path(&round));
    println!("{}", picture::requests(&round));
    let faults = round.faults();
    for fault in &faults {
        println!("fault: {fault}");
    }
    Ok(if faults.is_empty() {
        println!("every hop counted them");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
