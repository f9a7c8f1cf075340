//! What a box costs while it does its work, and how soon things happen on it, beside bare Docker in
//! the same run. A playground with one box, an engine of its own and Mosquitto; root only.

mod cost;
mod latency;

use anyhow::{Result, bail};
use clap::Parser;
use kc_tests::playground::Playground;
use std::process::ExitCode;

/// Measures kc-agent on a box of its own.
#[derive(Debug, Parser)]
#[command(name = "agent")]
struct Args {
    /// What to measure; everything, unless something is named.
    #[arg(long, value_delimiter = ',', value_name = "MEASURE")]
    measures: Vec<Measure>,
    /// Seconds over which the cost is taken.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How often everything that takes a moment is repeated.
    #[arg(long, short = 'n', default_value_t = 10)]
    repetitions: u32,
    /// What cargo bench adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Measure {
    /// Memory, CPU, wake-ups and writes with containers that have nothing to do.
    Cost,
    /// From `kc apply` to the process of a container.
    Start,
    /// From the death of a container's process to the next one.
    Restart,
    /// From the death of an agent, and of a cable, to the word of it.
    Notice,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    use clap::ValueEnum as _;
    if !nix::unistd::geteuid().is_root() {
        bail!("needs root: it makes namespaces and starts an engine");
    }
    let measures = match args.measures.as_slice() {
        [] => Measure::value_variants(),
        named => named,
    };
    Playground::verb("down")?;
    let (playground, _) = Playground::up(&["--boxes", "1", "--broker", "mosquitto"])?;
    for measure in measures {
        let table = match measure {
            Measure::Cost => cost::measure(args.seconds)?,
            Measure::Start => latency::start(args.repetitions)?,
            Measure::Restart => latency::restart(args.repetitions)?,
            Measure::Notice => latency::notice(args.repetitions)?,
        };
        println!("{}", table.markdown());
    }
    playground.down()?;
    Ok(())
}
