//! The command line.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use kc_forwarder::control::DEFAULT_SOCKET;
use std::path::PathBuf;

/// Service function forwarder: NSH, VXLAN-GPE and VXLAN in user space.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a verb it runs.\n\
        Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the forwarder, 4 no forwarder answers."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: Run,
}

impl Args {
    /// What to do.
    pub(crate) fn verb(self) -> Verb {
        self.verb.unwrap_or(Verb::Run(self.run))
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Forward packets until SIGTERM or SIGINT; SIGHUP reads the file again.
    Run(Run),
    /// Check a file of tables without using it.
    Check {
        /// Tables, .toml or .json.
        file: PathBuf,
    },
    /// Replace the tables of a running forwarder. Without a generation the file gets the next one.
    Apply {
        /// Tables, .toml or .json.
        file: PathBuf,
        #[command(flatten)]
        socket: Socket,
    },
    /// Show what a running forwarder has counted.
    Counters {
        #[command(flatten)]
        socket: Socket,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show version, generation and ports of a running forwarder.
    Status {
        #[command(flatten)]
        socket: Socket,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show the tables in force, as TOML or JSON.
    Tables {
        #[command(flatten)]
        socket: Socket,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Send known frames through the data plane in memory; needs no rights.
    SelfTest,
}

/// How to run.
#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// Tables to start with, .toml or .json.
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
    /// Control socket.
    #[arg(short, long, env = "KC_FORWARDER_SOCKET", default_value = DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
    /// What to log: error, warn, info, debug, trace.
    #[arg(long, env = "KC_LOG", default_value = "info")]
    pub(crate) log: String,
}

/// Where a forwarder listens.
#[derive(Debug, ClapArgs)]
pub(crate) struct Socket {
    /// Control socket.
    #[arg(short, long, env = "KC_FORWARDER_SOCKET", default_value = DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Output {
    /// For people: one record a line.
    #[default]
    Table,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn without_a_verb_it_runs() {
        let args = Args::parse_from(["kc-forwarder", "--config", "x.toml"]);
        match args.verb() {
            Verb::Run(run) => assert_eq!(run.config, Some("x.toml".into())),
            other => panic!("{other:?}"),
        }
    }
}
