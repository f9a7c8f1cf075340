//! `kc-forwarder`: runs the data plane, or asks a running one. Arguments in, exit code out.

mod args;
mod aside;
mod daemon;
mod follow;
mod ping;
mod show;
mod trace;

use anyhow::Context;
use args::{Args, Output, Verb};
use clap::Parser;
use kc_forwarder::config;
use kc_forwarder::control::{Client, ClientError};
use kc_forwarder::selftest;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Time for a running forwarder to answer.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kc-forwarder: {error:#}");
            match error.downcast_ref::<ClientError>() {
                Some(ClientError::Connect { .. }) => ExitCode::from(4),
                Some(ClientError::Refused(_)) => ExitCode::from(3),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    let done = match args.verb() {
        Verb::Ping(ping) => {
            let reached = ping::run(&ping)?;
            return Ok(ExitCode::from(u8::from(!reached)));
        }
        Verb::Trace(args) => {
            let reached = trace::run(&args)?;
            return Ok(ExitCode::from(u8::from(!reached)));
        }
        Verb::Probe(probe) => {
            let report = connect(&probe.socket.socket)?.probe(probe.request())?;
            print(probe.output, &report, || format!("{report}\n"))?;
            return Ok(ExitCode::from(u8::from(report.lost > 0)));
        }
        Verb::Capture(capture) => {
            let client = connect(&capture.socket.socket)?;
            return follow::follow(client, &capture);
        }
        Verb::Run(run) => {
            log_to_stderr(&run.log)?;
            daemon::run(run.config.as_deref(), &run.socket, run.threads)
        }
        Verb::Check { file, output } => {
            let tables = config::read(&file)?;
            match output {
                // In one line: what reads it is mostly a program.
                Output::Json => say(&format!("{}\n", serde_json::to_string(&tables)?)),
                Output::Table => say(&format!(
                    "{}: ok: {} ports, {} functions, {} rules, {} paths, {} segments\n",
                    file.display(),
                    tables.ports.len(),
                    tables.functions.len(),
                    tables.rules.len(),
                    tables.paths.len(),
                    tables.segments.len(),
                )),
            }
        }
        Verb::Apply { file, socket } => {
            let mut tables = config::read(&file)?;
            let mut client = connect(&socket.socket)?;
            if tables.generation == 0 {
                tables.generation = client.status()?.generation.saturating_add(1);
            }
            say(&format!(
                "generation {} is in force\n",
                client.apply(tables)?
            ))
        }
        Verb::Counters { socket, output } => {
            let counters = connect(&socket.socket)?.counters()?;
            print(output, &counters, || show::counters(&counters))
        }
        Verb::Status { socket, output } => {
            let status = connect(&socket.socket)?.status()?;
            print(output, &status, || show::status(&status))
        }
        Verb::Tables { socket, output } => {
            let tables = connect(&socket.socket)?.tables()?;
            let text = toml::to_string(&tables).context("write the tables as TOML")?;
            print(output, &tables, || text)
        }
        Verb::SelfTest => {
            let lines = selftest::run()?;
            say(&lines
                .iter()
                .map(|line| format!("ok  {line}\n"))
                .collect::<String>())
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn connect(socket: &Path) -> Result<Client, ClientError> {
    Client::connect(socket, PATIENCE)
}

/// Prints `value` the way the user wants it.
fn print<T: serde::Serialize>(
    output: Output,
    value: &T,
    table: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    match output {
        Output::Json => say(&format!("{}\n", serde_json::to_string_pretty(value)?)),
        Output::Table => say(&table()),
    }
}

/// Writes to standard output. A reader that has seen enough, such as `head`, is no failure.
fn say(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    let filter: Targets = filter
        .parse()
        .with_context(|| format!("log filter {filter:?} must be a level or target=level,.."))?;
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .finish()
        .with(filter)
        .init();
    Ok(())
}
