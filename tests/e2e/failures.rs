//! What dies, and how soon requests pass again.

use anyhow::{Context, Result, bail, ensure};
use kc_tests::playground::{Playground, docker};
use kc_tests::story::Story;
use kc_tests::traffic::{Probe, SERVER, all_passed, first, requests};
use kc_tests::{kc, process, wait};
use nix::sys::signal::Signal;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) fn steps(story: &mut Story) -> Result<()> {
    story.step(
        "docker kill of the firewall: another instance takes over",
        killed_container,
    )?;
    story.step("a box dies: the chain leaves it", killed_box)?;
    story.step("the box of an end dies: the chain says so", killed_end)
}

fn killed_container() -> Result<String> {
    let path = kc::path("web")?;
    let (instance, node) = path.first().context("the chain has no path")?.clone();
    let probe = Probe::start("kcpg-client", SERVER, 600, 10)?;
    // Requests are under way before the kill.
    first("kcpg-client", Duration::from_secs(5))?;
    let began = Instant::now();
    docker(&node, &["kill", &format!("kc-{instance}")])?;
    let moved = || {
        Ok((kc::path("web")?
            .first()
            .is_some_and(|(other, _)| *other != instance))
        .then_some(()))
    };
    wait::until("another instance", Duration::from_secs(30), moved)?;
    let told = began.elapsed();
    first("kcpg-client", Duration::from_secs(10))?;
    let report = probe.report()?;
    all_passed(&requests("kcpg-client", SERVER, 20)?)?;
    Playground::verb("check")?;
    let events = kc::good(&["events", &instance])?;
    ensure!(events.contains("died"), "no event tells of it:\n{events}");
    Ok(format!(
        "{instance}@{node} killed; another path after {} ms; {} of {} requests passed, longest gap {} ms",
        told.as_millis(),
        report["ok"],
        report["sent"],
        report["max-gap-ms"]
    ))
}

/// Has paths drawn until one has a function on a box.
fn lead_over(node: &str) -> Result<()> {
    const DRAWS: u32 = 30;
    let scratch = tempfile::tempdir()?;
    let web = std::fs::read_to_string("/run/kcluster-playground/manifests/web.yaml")?;
    for seed in 0..DRAWS {
        if kc::path("web")?.iter().any(|(_, on)| on == node) {
            return Ok(());
        }
        let drawn = format!("{{algorithm: random, seed: {seed}}}");
        let web = web.replace("{algorithm: round-robin}", &drawn);
        kc::apply(scratch.path(), "web.yaml", &web)?;
        let ready = || Ok((kc::chain("web")?["state"] == "Ready").then_some(()));
        wait::until("the drawn path", Duration::from_secs(20), ready)?;
    }
    bail!(
        "no path over {node} in {DRAWS} draws: {:?}",
        kc::path("web")?
    )
}

fn killed_box() -> Result<String> {
    lead_over("box2")?;
    let probe = Probe::start("kcpg-client", SERVER, 1500, 10)?;
    first("kcpg-client", Duration::from_secs(5))?;
    let began = Instant::now();
    kill_box("box2")?;
    let moved = || {
        Ok(kc::path("web")?
            .iter()
            .all(|(_, node)| node != "box2")
            .then_some(()))
    };
    wait::until("a path without box2", Duration::from_secs(60), moved)?;
    let told = began.elapsed();
    first("kcpg-client", Duration::from_secs(10))?;
    let again = began.elapsed();
    let report = probe.report()?;
    all_passed(&requests("kcpg-client", SERVER, 20)?)?;
    Ok(format!(
        "another path after {} ms, requests pass after {} ms; {} of {} passed, longest gap {} ms; path {:?}",
        told.as_millis(),
        again.as_millis(),
        report["ok"],
        report["sent"],
        report["max-gap-ms"],
        kc::path("web")?
    ))
}

fn killed_end() -> Result<String> {
    kill_box("box3")?;
    let told = || {
        let chain = kc::chain("web")?;
        let reason = chain["reason"].as_str().unwrap_or_default().to_owned();
        let there = chain["state"] != "Ready" && reason.contains("box3");
        Ok(there.then(|| format!("{}: {reason}", chain["state"])))
    };
    let (said, took) = wait::until("a word about box3", Duration::from_secs(60), told)?;
    Ok(format!("{said} (after {} ms)", took.as_millis()))
}

/// Pulls the cable, then kills everything on the box, as a power cut would.
fn kill_box(node: &str) -> Result<()> {
    let status = Command::new("ip")
        .args(["-netns", "kcpg-lan", "link", "set", node, "down"])
        .status()?;
    ensure!(status.success(), "cannot pull the cable of {node}");
    for pid in process::of_box(&format!("kcpg-{node}"))? {
        // It may have ended with another one.
        let _ = process::signal(pid, Signal::SIGKILL);
    }
    Ok(())
}
