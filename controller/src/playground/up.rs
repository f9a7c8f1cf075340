//! `kc playground up`: the steps, in order.

use super::broker::{self, Kind};
use super::engine;
use super::journal::{Entry, Journal};
use super::launch::{Running, logs};
use super::layout::{BROKER_PORT, DATA, HUB, HUB_ADDRESS, RUN, sites};
use super::namespace::inside;
use super::progress::{Interrupt, Progress, wait};
use super::{network, precondition, teardown};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `kc playground up`.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// Number of boxes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    boxes: u8,
    /// The MQTT broker: part of this program, or an installed Mosquitto
    #[arg(long, value_enum, default_value_t = Kind::Embedded)]
    broker: Kind,
    /// MTU of the network between the boxes, in bytes
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1280..=9000))]
    underlay_mtu: u16,
    /// The program that becomes the functions' image: a static kc-function
    #[arg(long, value_name = "FILE")]
    function_binary: Option<PathBuf>,
    /// Leave what stands when a step fails, for a look
    #[arg(long)]
    keep_going: bool,
}

/// Makes the playground.
pub(super) fn run(arguments: &UpArgs) -> Result<ExitCode> {
    let lacks = precondition::lacking(arguments.broker == Kind::Mosquitto);
    if !lacks.is_empty() {
        let lines = lacks
            .iter()
            .map(|lack| format!("\n  - {}\n      {}", lack.what, lack.fix));
        bail!("this machine lacks:{}", lines.collect::<String>());
    }
    let interrupt = Interrupt::install()?;
    let progress = Progress::new();
    match steps(arguments, &interrupt, &progress) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if arguments.keep_going => Err(error),
        Err(error) => {
            eprintln!("taking away what was made");
            if let Err(left) = teardown::remove() {
                eprintln!("{left:#}");
            }
            Err(error)
        }
    }
}

fn steps(arguments: &UpArgs, interrupt: &Interrupt, progress: &Progress) -> Result<()> {
    let sites = sites(arguments.boxes);
    fs::create_dir_all(logs())?;
    let journal = Journal::open(Path::new(RUN))?;
    journal.note(&Entry::Playground {
        boxes: arguments.boxes,
    })?;
    fs::create_dir_all(Path::new(DATA).join("hub"))?;

    progress.step("network", || {
        network::make(&journal, arguments.boxes, arguments.underlay_mtu)?;
        Ok((
            (),
            format!(
                "{} boxes on one bridge, MTU {}",
                sites.len(),
                arguments.underlay_mtu
            ),
        ))
    })?;
    progress.step("broker", || {
        let mut broker = broker::daemon(arguments.broker)?.start(&journal)?;
        listening(&mut broker, interrupt)?;
        Ok(((), format!("mqtt://{HUB_ADDRESS}:{BROKER_PORT}")))
    })?;
    progress.step("engines", || {
        engine::announce(&journal)?;
        engine::each(&sites, |site| engine::start(&journal, site, interrupt))?;
        Ok(((), format!("{} Docker engines", sites.len())))
    })?;
    let function = function_binary(arguments)?;
    progress.step("image", || {
        let archive = Path::new(DATA).join("function.tar");
        let bytes = engine::distribute(&sites, &function, &archive)?;
        Ok(((), format!("{} kB in every engine", bytes / 1000)))
    })?;
    Ok(())
}

fn listening(broker: &mut Running, interrupt: &Interrupt) -> Result<()> {
    wait("the broker", Duration::from_secs(10), interrupt, || {
        broker.check()?;
        let reached = inside(HUB, || TcpStream::connect((HUB_ADDRESS, BROKER_PORT)))?;
        Ok(reached.ok().map(drop))
    })
}

fn function_binary(arguments: &UpArgs) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find the running program")?;
    let beside = own.with_file_name("kc-function");
    let file = arguments.function_binary.clone().unwrap_or(beside);
    if !file.exists() {
        bail!("there is no {}", file.display());
    }
    Ok(file)
}
