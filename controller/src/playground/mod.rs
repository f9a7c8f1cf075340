//! `kc playground`: a whole cluster on one machine. Boxes are network namespaces on an underlay
//! bridge, each with a Docker engine, an agent and a forwarder of its own; a hub holds broker and
//! controller; a client sends requests to a server through a chain of functions.
//!
//! Everything that is made is written to a journal first, so that `down` leaves nothing behind
//! whatever happened before.

mod broker;
mod check;
mod cluster;
mod control;
mod engine;
mod examples;
mod journal;
mod launch;
mod layout;
mod lock;
mod mounts;
mod namespace;
mod network;
mod picture;
mod precondition;
mod process;
mod progress;
mod status;
mod teardown;
mod trace;
mod traffic;
mod up;

use anyhow::Result;
use std::process::ExitCode;

use broker::BrokerArgs;
use check::CheckArgs;
use up::UpArgs;

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
    /// Send the requests again; fail unless every one passed and every hop counted it
    Check(CheckArgs),
    /// Show what of the playground lives
    Status,
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
        Verb::Check(args) => check::run(&args),
        Verb::Status => status::run(),
        Verb::Down => down(),
        Verb::Broker(args) => broker::run(&args),
    }
}

fn down() -> Result<ExitCode> {
    let began = std::time::Instant::now();
    if !nix::unistd::geteuid().is_root() {
        anyhow::bail!(
            "only root can remove a playground: sudo {} playground down",
            name()
        );
    }
    let _lock = lock::Lock::take()?;
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

/// How a person calls the running program: by its name where the shell finds it, else by its path.
fn name() -> String {
    let own = std::env::current_exe().unwrap_or_default();
    let name = own.file_name().unwrap_or_default().to_string_lossy();
    let found = precondition::find(&name).and_then(|path| path.canonicalize().ok());
    if found.is_some_and(|found| found == own) {
        name.into_owned()
    } else {
        own.display().to_string()
    }
}
