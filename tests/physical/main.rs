//! A firewall that nobody manages, the kernel's own in a namespace of its own, is plugged into a box
//! of the playground and stands in a chain with containers: it dies, by its rules and by its cable,
//! and the chain goes over a container; it returns, and the chain's policy decides. Then a cluster of
//! containers, of which the active one stops.
//!
//! Root is needed; without it this fails, it does not skip.

mod cluster;
mod hardware;

use anyhow::{Context, Result, ensure};
use hardware::Hardware;
use kc_tests::playground::Playground;
use kc_tests::story::{Story, wants};
use kc_tests::traffic::{self, Download, Probe, SERVER, all_passed, requests};
use kc_tests::{kc, wait};
use std::path::Path;
use std::time::Duration;

const MANIFEST: &str = "
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: guard-rack}
spec:
  type: guard
  liveness: {interval: 200ms, misses: 3}
  physical:
    - {name: guard-hw, node: box2, inside: pnf-i, outside: pnf-o, capacity: {traffic: 100Mbit/s}}
---
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: guard}
spec:
  image: kcluster/function:latest
  args: [firewall, --inside, inside, --outside, outside, --rules, /etc/kc/rules]
  files: [{path: /etc/kc/rules, content: default allow}]
  attachment: two-leg
  placement: {nodes: [box2]}
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [guard, dpi, nat]
  scheduler: {algorithm: shortest-path, physical: prefer}
  from: {node: box1, interface: client0}
  to: {node: box3, interface: server0}
";

#[test]
fn hardware_is_left_when_it_dies_and_gone_back_to_when_the_chain_prefers_it() {
    assert!(nix::unistd::geteuid().is_root(), "needs root: make e2e");
    let mut story = Story::default();
    let result = tell(&mut story);
    eprintln!("\nwhat ran:\n{}", story.told());
    if let Err(error) = result {
        panic!("{error:#}");
    }
}

fn tell(story: &mut Story) -> Result<()> {
    Playground::verb("down")?;
    let scratch = tempfile::tempdir()?;
    let mut made = None;
    story.step("a playground of three boxes", || {
        let (playground, said) = Playground::up(&["--boxes", "3"])?;
        made = Some(playground);
        ensure!(said.contains("20 of 20 requests passed"), "{said}");
        Ok(String::new())
    })?;
    let playground = made.context("up made nothing")?;
    if wants("hardware") {
        plugged(story, scratch.path())?;
    }
    if wants("cluster") {
        cluster::steps(story, scratch.path())?;
    }
    playground.down()?;
    Ok(())
}

fn plugged(story: &mut Story, scratch: &Path) -> Result<()> {
    let hardware = Hardware::plug("kcpg-box2", ["pnf-i", "pnf-o"])?;
    let before = hardware.interfaces()?;
    taken(story, scratch, &hardware)?;
    deaths(story, &hardware)?;
    policy(story, scratch, &hardware)?;
    story.step("deleted, it leaves its interfaces as they were", || {
        kc::good(&["apply", "-f", "/run/kcluster-playground/manifests"])?;
        kc::good(&["delete", "function", "guard-rack"])?;
        let gone = || {
            let left = kc::good(&["get", "instances", "-o", "name"])?;
            Ok((!left.contains("guard-hw")).then_some(()))
        };
        wait::until(
            "the hardware to be forgotten",
            Duration::from_secs(40),
            gone,
        )?;
        let same = || Ok((hardware.interfaces()? == before).then_some(()));
        let shown = wait::until("the interfaces", Duration::from_secs(10), same);
        shown
            .with_context(|| format!("{before}\n{}", hardware.interfaces().unwrap_or_default()))?;
        Ok(before.clone())
    })?;
    Ok(())
}

/// Waits until the chain runs over this guard, and returns how long that took.
fn over(guard: &str, within: u64) -> Result<Duration> {
    let there = || {
        let path = kc::path("web")?;
        let first = path.first().is_some_and(|(name, _)| name == guard);
        Ok((first && kc::chain("web")?["state"] == "Ready").then_some(()))
    };
    let what = format!("the chain over {guard}");
    Ok(wait::until(&what, Duration::from_secs(within), there)?.1)
}

fn taken(story: &mut Story, scratch: &Path, hardware: &Hardware) -> Result<()> {
    story.step("a chain that prefers hardware goes through it", || {
        kc::apply(scratch, "guard.yaml", MANIFEST)?;
        let took = over("guard-hw", 60)?;
        traffic::first("kcpg-client", Duration::from_secs(10))?;
        all_passed(&requests("kcpg-client", SERVER, 20)?)?;
        let passed = hardware.passed()?;
        ensure!(passed >= 20, "only {passed} packets through the hardware");
        let instance = kc::json(&["get", "instances", "guard-hw"])?;
        ensure!(
            instance["phase"] == "Running" && instance["physical"] == true,
            "{instance}"
        );
        let refused = kc::run(&["exec", "guard-hw", "--", "true"])?;
        ensure!(
            refused.code != 0 && refused.err.contains("is physical"),
            "{refused:?}"
        );
        Ok(format!("after {} ms, {passed} packets", took.as_millis()))
    })?;
    story.step("its load is what passes, of what it can", || {
        let download = Download::start(8_000_000, 2_000_000)?;
        let loaded = || {
            let instance = kc::json(&["get", "instances", "guard-hw"])?;
            let load = instance["cpuPercent"].as_f64().unwrap_or_default();
            Ok((load > 10.0).then_some(load))
        };
        let (load, _) = wait::until("a load of 16 %", Duration::from_secs(5), loaded)?;
        let (got, _) = download.end()?;
        ensure!(got > 8_000_000, "{got} octets");
        Ok(format!("{load:.0} % of 100 Mbit/s"))
    })
}

/// The connection that is there goes on over the container, and none is refused after that.
fn dies(hardware: &Hardware, how: impl FnOnce(&Hardware) -> Result<()>) -> Result<String> {
    let download = Download::start(12_000_000, 1_000_000)?;
    download.progress(500_000)?;
    how(hardware)?;
    let took = over("guard-1", 20)?;
    let resumed = download.progress(500_000)?;
    all_passed(&requests("kcpg-client", SERVER, 20)?)?;
    let (got, silence) = download.end()?;
    ensure!(got > 12_000_000, "{got} octets of 12,000,000");
    // A dead path stays for longer; nothing may wait for its end.
    ensure!(silence < Duration::from_secs(3), "silent for {silence:?}");
    Ok(format!(
        "over guard-1 after {} ms, the download went on {} ms later, its longest silence {} ms",
        took.as_millis(),
        resumed.as_millis(),
        silence.as_millis()
    ))
}

/// Nothing is lost when the chain goes back.
fn returns() -> Result<String> {
    let probe = Probe::start("kcpg-client", SERVER, 1_500, 10)?;
    let took = over("guard-hw", 60)?;
    all_passed(&requests("kcpg-client", SERVER, 20)?)?;
    let report = probe.report()?;
    all_passed(&report)?;
    Ok(format!(
        "after {} ms, {} of {} requests, longest gap {} ms",
        took.as_millis(),
        report["ok"],
        report["sent"],
        report["max-gap-ms"]
    ))
}

fn deaths(story: &mut Story, hardware: &Hardware) -> Result<()> {
    story.step("its rules drop everything: a container takes over", || {
        dies(hardware, Hardware::freeze)
    })?;
    story.step("it answers again, and the chain goes back", || {
        hardware.thaw()?;
        returns()
    })?;
    story.step("its cable is pulled: a container takes over", || {
        dies(hardware, |hardware| hardware.cable(false))
    })
}

fn policy(story: &mut Story, scratch: &Path, hardware: &Hardware) -> Result<()> {
    story.step("a chain that prefers nothing stays where it is", || {
        let indifferent = MANIFEST.replace("physical: prefer", "physical: any");
        kc::apply(scratch, "guard.yaml", &indifferent)?;
        over("guard-1", 20)?;
        hardware.cable(true)?;
        let back = || {
            let instance = kc::json(&["get", "instances", "guard-hw"])?;
            Ok((instance["phase"] == "Running").then_some(()))
        };
        let ((), took) = wait::until("the hardware", Duration::from_secs(20), back)?;
        // Longer than a chain that prefers it would wait.
        let report = Probe::start("kcpg-client", SERVER, 250, 50)?.report()?;
        all_passed(&report)?;
        over("guard-1", 1)?;
        Ok(format!("usable again after {} ms", took.as_millis()))
    })
}
