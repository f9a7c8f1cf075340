//! `kc playground status`: what of the playground lives.

use super::examples::CHAIN;
use super::journal::{self, Entry, Journal};
use super::layout::{RUN, client_config, sites};
use super::{cluster, control};
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// Prints a line for each process and for the chain; fails unless all of it is well.
pub(super) fn run() -> Result<ExitCode> {
    let entries = Journal::read(Path::new(RUN))?;
    let Some((boxes, _)) = journal::playground(&entries) else {
        println!("no playground");
        return Ok(ExitCode::FAILURE);
    };
    let ready = entries.contains(&Entry::Ready);
    println!("boxes      {boxes}");
    println!(
        "complete   {}",
        if ready {
            "yes"
        } else {
            "no: up has not come to its end"
        }
    );
    let mut well = ready;
    let newest: BTreeMap<_, _> = journal::processes(&entries).into_iter().collect();
    for (role, process) in newest {
        let alive = process.alive();
        well &= alive;
        let state = if alive { "runs" } else { "dead" };
        println!("{role:<18} {state}  pid {}", process.pid);
    }
    for site in sites(boxes) {
        let role = format!("{}/forwarder", site.name);
        match control::snapshot(&site) {
            Ok(snapshot) => {
                let drops: u64 = snapshot.counters.drops.values().sum();
                let generation = snapshot.counters.generation;
                println!("{role:<18} runs  generation {generation}, {drops} frames dropped");
            }
            Err(error) => {
                well = false;
                println!("{role:<18} dead  {error:#}");
            }
        }
    }
    if client_config().exists() {
        let kc = std::env::current_exe()?;
        match cluster::chain(&kc, CHAIN) {
            Ok(chain) => {
                well &= chain.state == "Ready";
                println!(
                    "chain {CHAIN:<12} {}  {}",
                    chain.state,
                    chain.path.join(", ")
                );
            }
            Err(error) => {
                well = false;
                println!("chain {CHAIN:<12} unknown: {error:#}");
            }
        }
    }
    Ok(if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
