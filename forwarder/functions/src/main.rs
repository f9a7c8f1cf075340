//! `kc-function`: the command line of the service functions.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use kc_function::{pause, probe, serve};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Service functions for chains, and what a chain's ends need.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Hold a container's namespaces open until told to end.
    Pause,
    /// Answer HTTP requests with who asked.
    Serve(serve::Options),
    /// Send HTTP requests and report what got through.
    Probe(probe::Options),
}

fn main() -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_env("KC_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match Cli::parse().verb {
        Verb::Pause => pause::run().context("cannot wait for signals")?,
        Verb::Serve(options) => {
            let served = serve::run(&options)?;
            println!(
                "{}",
                serde_json::json!({"function": "serve", "served": served})
            );
        }
        Verb::Probe(options) => {
            let report = probe::run(&options);
            match options.output {
                probe::Output::Text => println!("{report}"),
                probe::Output::Json => println!("{}", serde_json::to_string(&report)?),
            }
            if report.failed > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
