//! The command line.

use crate::capacity::Plan;
use crate::contestant::{self, Contestant};
use crate::measures::{Extent, Measure};
use crate::work::Work;
use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use kc_tests::bench::frames::{SMALLEST, Sizes};
use std::path::PathBuf;

/// Measures kc-forwarder and its peers against each other, in pairs, on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "peers",
    after_help = "Names may end in * for all that begin so. Needs root; everything is in namespaces and goes with the bench."
)]
pub(crate) struct Args {
    /// Show works and contestants.
    #[arg(long)]
    pub(crate) list: bool,
    /// What to measure; everything, unless works or contestants are named.
    #[arg(long, value_delimiter = ',', value_name = "MEASURE")]
    measures: Vec<Measure>,
    /// Works.
    #[arg(long, value_delimiter = ',', value_name = "WORK")]
    works: Vec<String>,
    /// Contestants, each of which is measured beside every reference.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    contestants: Vec<String>,
    /// References: contestants, `rivals` for those that a contestant should beat, `twin` for the
    /// bare loop with its own I/O.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME",
        default_value = "rivals,twin"
    )]
    against: Vec<String>,
    /// Rounds; in each, every reference and the contestant have one trial.
    #[arg(long, short = 'n', default_value_t = 5)]
    repetitions: u32,
    /// Octets of inner frames, or `mix`.
    #[arg(long, value_delimiter = ',', value_parser = sizes, default_value = "64,1400")]
    sizes: Vec<Sizes>,
    /// Inner flows.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    flows: Vec<u32>,
    /// Service paths in the tables, and among packets that arrive with one.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    paths: Vec<u32>,
    /// Rules in the tables.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    rules: Vec<u32>,
    /// Seconds of a trial.
    #[arg(long, default_value_t = 0.8)]
    seconds: f64,
    /// Tunnel packets arrive with complete outer UDP checksums.
    #[arg(long)]
    checksum: bool,
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
    /// Still another one, the reference `before` of all of ours: what has a change changed?
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) before: Option<PathBuf>,
    /// Write tables and plots of these results into tests/benches, and measure nothing.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) render: Vec<PathBuf>,
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
    /// Whether somebody wants something particular.
    pub(crate) fn is_particular(&self) -> bool {
        !self.works.is_empty() || !self.contestants.is_empty()
    }

    /// Finds mistakes before anything is made.
    pub(crate) fn check(&self) -> Result<()> {
        self.works()?;
        self.references()?;
        self.contestants().map(drop)
    }

    /// The references asked for.
    fn references(&self) -> Result<Vec<&str>> {
        let mut names: Vec<&str> = contestant::ALL.iter().map(|one| one.name).collect();
        names.extend(["rivals", "twin"]);
        let named = self.against.iter().filter(|name| !name.is_empty());
        choose(&named.cloned().collect::<Vec<_>>(), &names, "reference")
    }

    /// What to measure.
    pub(crate) fn measures(&self) -> Vec<Measure> {
        if !self.measures.is_empty() {
            return self.measures.clone();
        }
        if self.quick || self.is_particular() {
            return vec![Measure::Capacity];
        }
        Measure::value_variants().to_vec()
    }

    /// The works asked for.
    pub(crate) fn works(&self) -> Result<Vec<Work>> {
        let names: Vec<&str> = Work::ALL.iter().map(|work| work.name()).collect();
        let chosen = choose(&self.works, &names, "work")?;
        let is_chosen = |work: &Work| chosen.contains(&work.name());
        Ok(Work::ALL.into_iter().filter(is_chosen).collect())
    }

    /// The contestants asked for.
    pub(crate) fn contestants(&self) -> Result<Vec<&'static Contestant>> {
        let names: Vec<&str> = contestant::ALL.iter().map(|one| one.name).collect();
        let wanted = match self.contestants.as_slice() {
            [] => &["kc-*".to_owned()],
            named => named,
        };
        let chosen = choose(wanted, &names, "contestant")?;
        Ok(chosen.into_iter().filter_map(contestant::find).collect())
    }

    /// Sizes of tables, each of one list with each of the other.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&u32, &u32)> {
        let rules = |paths| self.rules.iter().map(move |rules| (paths, rules));
        self.paths.iter().flat_map(rules)
    }

    /// Capacity of what is asked for.
    pub(crate) fn plan(&self, extent: Extent) -> Result<Plan> {
        Ok(Plan {
            measure: "capacity",
            contestants: self.contestants()?,
            against: self.references()?.into_iter().map(str::to_owned).collect(),
            rounds: extent.rounds,
            seconds: extent.seconds,
            sizes: self.sizes.clone(),
            flows: self.flows.clone(),
            checksum: self.checksum,
        })
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
    if wanted.is_empty() && what == "work" {
        return Ok(all.to_vec());
    }
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
