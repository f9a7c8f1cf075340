//! `kc`, the command line of K-Cluster. Everything is in [`kc_controller::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    kc_controller::cli::main()
}
