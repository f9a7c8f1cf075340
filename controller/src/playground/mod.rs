//! `kc playground`: a whole cluster on one machine. Boxes are network namespaces on an underlay
//! bridge, each with a Docker engine, an agent and a forwarder of its own; a hub holds broker and
//! controller; a client sends requests to a server through a chain of functions.
//!
//! Everything that is made is written to a journal first, so that `down` leaves nothing behind
//! whatever happened before.

mod broker;
mod control;
mod engine;
mod journal;
mod launch;
mod layout;
mod mounts;
mod namespace;
mod network;
mod precondition;
mod process;
mod progress;
mod teardown;
mod trace;
mod up;

use anyhow::Result;
use std::process::ExitCode;

pub use broker::BrokerArgs;
pub use up::UpArgs;

/// Arguments of `kc playground`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make the playground, send requests through its chain, and leave it up
    Up(UpArgs),
    /// Take everything of the playground away
    Down,
    /// The broker of the hub
    #[command(hide = true)]
    Broker(BrokerArgs),
}

/// Does what `args` say.
///
/// # Errors
/// What could not be made, found or removed, and why.
pub fn run(args: Args) -> Result<ExitCode> {
    match args.verb {
        Verb::Up(args) => up::run(&args),
        Verb::Down => down(),
        Verb::Broker(args) => broker::run(&args),
    }
}

fn down() -> Result<ExitCode> {
    let began = std::time::Instant::now();
    let removed = teardown::remove()?;
    if removed.nothing() {
        println!("nothing of a playground was there");
    } else {
        println!(
            "removed {} processes, {} namespaces, {} mounts in {:.1} s; nothing is left",
            removed.processes,
            removed.namespaces,
            removed.mounts,
            began.elapsed().as_secs_f64()
        );
    }
    Ok(ExitCode::SUCCESS)
}
