//! `kc`: the command line. It speaks to the HTTP API only; `simulate` and `playground` need no
//! controller. Verbs fetch views and print them; what they mean was decided elsewhere.

mod apply;
mod args;
mod capture;
mod chain;
mod client;
mod compose;
mod copy;
mod describe;
mod doctor;
mod drain;
mod exec;
mod failure;
mod get;
mod human;
mod kind;
mod logs;
mod node;
mod offline;
mod pack;
mod package;
mod print;
mod record;
mod rows;
mod server;
mod session;
mod table;
mod terminal;
mod top;
mod unpack;
mod update;

pub use args::Cli;
pub use failure::{EXIT_CODES, Failure};

use anyhow::Context as _;
use args::{Command, Global};
use clap::Parser as _;
use client::Client;
use server::Given;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(300);

/// Reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Playground(args) => {
            return crate::playground::run(args).unwrap_or_else(|e| Failure::Other(e).report());
        }
        Command::Completions(args) => offline::completions(&args),
        Command::Simulate(args) => offline::simulate(&args),
        Command::Convert(args) => offline::convert(&args),
        Command::Version(args) if args.client => offline::version(),
        command => online(&cli.global, command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn online(global: &Global, command: Command) -> Result<(), Failure> {
    let server = given(global)
        .resolve()
        .map_err(|error| Failure::Usage(format!("{:#}", anyhow::Error::from(error))))?;
    let client = Client::new(server, global.timeout.unwrap_or(ANSWER));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let done = runtime.block_on(run(&client, global, command));
    // Somebody may wait for a keystroke, or for a pipe to take something: we do not.
    runtime.shutdown_background();
    done
}

async fn run(client: &Client, global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::Apply(args) => apply::apply(client, &args).await,
        Command::Diff(args) => apply::diff(client, &args).await,
        Command::Delete(args) => apply::delete(client, &args).await,
        Command::Get(args) => get::get(client, &args).await,
        Command::Events(args) => get::events(client, &args, true).await,
        Command::Describe(args) => describe::describe(client, &args).await,
        Command::Explain(args) => describe::explain(client, &args).await,
        Command::Chain(args) => chain::chain(client, global, &args.command).await,
        Command::Capture(args) => capture::capture(client, &args).await,
        Command::Doctor(args) => doctor::doctor(client, global.timeout, &args).await,
        Command::Logs(args) => logs::logs(client, &args).await,
        Command::Exec(args) => exec::exec(client, &args).await,
        Command::Cp(args) => copy::copy(client, &args).await,
        Command::Top(args) => top::top(client, &args).await,
        Command::Cordon(args) => node::set(client, &args.node, "cordon").await,
        Command::Uncordon(args) => node::set(client, &args.node, "uncordon").await,
        Command::Trust(args) => node::set(client, &args.node, "trust").await,
        Command::Drain(args) => drain::drain(client, &args, global.timeout.unwrap_or(DRAIN)).await,
        Command::Update(args) => update::update(client, global.timeout, &args).await,
        Command::Record(args) => record::record(client, &args).await,
        Command::Version(_) => node::version(client).await,
        Command::Playground(_)
        | Command::Completions(_)
        | Command::Convert(_)
        | Command::Simulate(_) => Err(Failure::Usage("this needs no controller".to_owned())),
    }
}

/// What flags, environment and this machine say of the controller.
fn given(global: &Global) -> Given {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let home = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")));
    let own = home.map(|config| config.join("kcluster/kc.toml"));
    Given {
        server_flag: global.server.clone(),
        token_flag: global.token.clone(),
        server_env: variable("KC_SERVER"),
        token_env: variable("KC_TOKEN"),
        config: variable("KC_CONFIG").map(PathBuf::from),
        files: own.into_iter().chain([server::PLAYGROUND.into()]).collect(),
    }
}
