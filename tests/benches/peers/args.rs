//! The command line.

use crate::contestant;
use crate::work::Work;
use anyhow::{Result, bail};
use clap::Parser;
use kc_tests::bench::frames::{SMALLEST, Sizes};
use std::path::PathBuf;

/// Measures kc-forwarder and its peers against each other, in pairs, on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "peers",
    after_help = "Names may end in * for all that begin so. Needs root; everything is in namespaces and goes with the bench."
)]
pub(crate) struct Args {
    /// Show works and contestants, and who can take part here.
    #[arg(long)]
    pub(crate) list: bool,
    /// Works.
    #[arg(long, value_delimiter = ',', value_name = "WORK")]
    pub(crate) works: Vec<String>,
    /// Contestants, each of which is measured beside every reference.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME",
        default_value = "kc-*"
    )]
    pub(crate) contestants: Vec<String>,
    /// References: contestants, or `twin` for the bare loop with a contestant's own I/O.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME",
        default_value = "ovs,ovs-afxdp,twin"
    )]
    pub(crate) against: Vec<String>,
    /// Rounds; in each, every reference and the contestant have one trial.
    #[arg(long, short = 'n', default_value_t = 5)]
    pub(crate) repetitions: u32,
    /// Octets of inner frames, or `mix`.
    #[arg(long, value_delimiter = ',', value_parser = sizes, default_value = "64,1400")]
    pub(crate) sizes: Vec<Sizes>,
    /// Inner flows.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub(crate) flows: Vec<u32>,
    /// Service paths in the tables, and among packets that arrive with one.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub(crate) paths: Vec<u32>,
    /// Rules in the tables.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub(crate) rules: Vec<u32>,
    /// Seconds of a trial.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// Tunnel packets arrive with complete outer UDP checksums.
    #[arg(long)]
    pub(crate) checksum: bool,
    /// The kernel's part of receiving is on the contestant's CPU, too.
    #[arg(long)]
    pub(crate) one_core: bool,
    /// The most telling works only, and 3 rounds of half a second.
    #[arg(long)]
    pub(crate) quick: bool,
    /// CPUs: of generator, receiving and sink; of the contestant.
    #[arg(long, value_delimiter = ',', default_value = "0,1")]
    pub(crate) cores: Vec<usize>,
    /// Another kc-forwarder than the one that is built here.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) forwarder: Option<PathBuf>,
    /// Where results go, instead of a new file in target/bench.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The least that forwards with pnet, in a process of its own.
    #[arg(long, hide = true, num_args = 2, value_names = ["IN", "OUT"])]
    pub(crate) loop_pnet: Vec<String>,
    /// What cargo bench adds.
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

impl Args {
    /// The works asked for.
    pub(crate) fn works(&self) -> Result<Vec<Work>> {
        let names: Vec<&str> = Work::ALL.iter().map(|work| work.name()).collect();
        let mut wanted = self.works.clone();
        if wanted.is_empty() {
            let few = ["gpe-hop", "eth-hop"].map(str::to_owned);
            wanted = if self.quick {
                few.into()
            } else {
                vec!["*".into()]
            };
        }
        let chosen = choose(&wanted, &names, "work")?;
        let is_chosen = |work: &Work| chosen.contains(&work.name());
        Ok(Work::ALL.into_iter().filter(is_chosen).collect())
    }

    /// The contestants asked for.
    pub(crate) fn contestants(&self) -> Result<Vec<&'static contestant::Contestant>> {
        let names: Vec<&str> = contestant::ALL.iter().map(|one| one.name).collect();
        let chosen = choose(&self.contestants, &names, "contestant")?;
        Ok(chosen.into_iter().filter_map(contestant::find).collect())
    }

    /// Rounds.
    pub(crate) fn rounds(&self) -> u32 {
        if self.quick {
            self.repetitions.min(3)
        } else {
            self.repetitions
        }
    }

    /// Seconds of a trial.
    pub(crate) fn seconds(&self) -> f64 {
        if self.quick {
            self.seconds.min(0.5)
        } else {
            self.seconds
        }
    }
}

/// Those of `all` that `wanted` names, in the order of `wanted`.
fn choose<'a>(wanted: &[String], all: &[&'a str], what: &str) -> Result<Vec<&'a str>> {
    let mut chosen = Vec::new();
    for pattern in wanted {
        let before = chosen.len();
        for &name in all {
            let fits = match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == pattern,
            };
            if fits && !chosen.contains(&name) {
                chosen.push(name);
            }
        }
        if chosen.len() == before && !all.iter().any(|name| name == pattern) {
            bail!(
                "no {what} is called {pattern}; there are {}",
                all.join(", ")
            );
        }
    }
    Ok(chosen)
}

fn sizes(text: &str) -> Result<Sizes, String> {
    if text == "mix" {
        return Ok(Sizes::Mix);
    }
    match text.parse() {
        Ok(size @ SMALLEST..=1400) => Ok(Sizes::One(size)),
        _ => Err(format!("must be mix or {SMALLEST} to 1400")),
    }
}
