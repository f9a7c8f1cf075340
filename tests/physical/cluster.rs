//! A cluster of two firewalls, one of which stands by: the active one stops where it stands, and its
//! forwarder hands its flows on long before the controller has heard of it.

use anyhow::{Context, Result, ensure};
use kc_tests::playground::docker;
use kc_tests::story::Story;
use kc_tests::traffic::{self, Download, SERVER, all_passed, requests};
use kc_tests::{kc, process, wait};
use nix::sys::signal::Signal;
use std::path::Path;
use std::time::Duration;

const MANIFEST: &str = "
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: wall}
spec:
  image: kcluster/function:latest
  args: [firewall, --inside, inside, --outside, outside, --rules, /etc/kc/rules]
  files: [{path: /etc/kc/rules, content: default allow}]
  replicas: 3
  cluster: {mode: active-standby, hook: {command: [/kc-function, --version]}}
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [wall, nat]
  scheduler: {algorithm: shortest-path}
  from: {node: box1, interface: client0}
  to: {node: box3, interface: server0}
";

/// The active member and its box, and those that stand by.
fn members() -> Result<((String, String), Vec<String>)> {
    let path = kc::path("web")?;
    let first = path.into_iter().next().context("the chain has no path")?;
    let chain = kc::chain("web")?;
    let others = chain["others"].as_array().cloned().unwrap_or_default();
    let others = others.iter().filter_map(|other| other.as_str());
    Ok((first, others.map(str::to_owned).collect()))
}

/// Waits until the set is whole and somebody other than `not` is active.
fn whole(not: &str) -> Result<(String, String)> {
    let there = || {
        let ((active, node), others) = members()?;
        let ready = kc::chain("web")?["state"] == "Ready";
        let good = ready && active.starts_with("wall") && active != not && others.len() == 1;
        Ok(good.then_some((active, node)))
    };
    Ok(wait::until("a whole cluster", Duration::from_secs(40), there)?.0)
}

/// Waits until hooks have told all of this.
fn hooks(wanted: &[&str]) -> Result<()> {
    let told = || {
        let events = kc::good(&["events"])?;
        Ok(wanted
            .iter()
            .all(|words| events.contains(words))
            .then_some(()))
    };
    wait::until("hooks", Duration::from_secs(10), told)?;
    Ok(())
}

pub(crate) fn steps(story: &mut Story, scratch: &Path) -> Result<()> {
    let mut active = Default::default();
    story.step(
        "a chain gets an active firewall, and one that stands by",
        || {
            kc::apply(scratch, "wall.yaml", MANIFEST)?;
            active = whole("")?;
            traffic::first("kcpg-client", Duration::from_secs(10))?;
            all_passed(&requests("kcpg-client", SERVER, 20)?)?;
            Ok(format!("{:?}", members()?))
        },
    )?;
    let (name, node) = active;
    let container = format!("kc-{name}");
    let pid = docker(&node, &["inspect", "-f", "{{.State.Pid}}", &container])?;
    let pid: i32 = pid.trim().parse()?;
    story.step(
        "the active one stops where it stands: flows go on by the other",
        || {
            let download = Download::start(6_000_000, 1_000_000)?;
            download.progress(1_000_000)?;
            process::signal(pid, Signal::SIGSTOP)?;
            let resumed = download.progress(300_000)?;
            let (next, _) = whole(&name)?;
            let (got, silence) = download.end()?;
            ensure!(got > 6_000_000, "{got} octets of 6,000,000");
            ensure!(
                silence < Duration::from_millis(1_500),
                "silent for {silence:?}"
            );
            all_passed(&requests("kcpg-client", SERVER, 20)?)?;
            Ok(format!(
                "300 kB more within {} ms, longest silence {} ms, then {next} was active",
                resumed.as_millis(),
                silence.as_millis()
            ))
        },
    )?;
    story.step("it goes on, and the other stays active", || {
        let (now, _) = whole(&name)?;
        process::signal(pid, Signal::SIGCONT)?;
        let runs = || {
            let instance = kc::json(&["get", "instances", &name])?;
            Ok((instance["phase"] == "Running").then_some(()))
        };
        let ((), took) = wait::until("the former one", Duration::from_secs(20), runs)?;
        all_passed(&traffic::Probe::start("kcpg-client", SERVER, 100, 20)?.report()?)?;
        ensure!(whole(&name)?.0 == now, "{:?}", members()?);
        Ok(format!("it runs again after {} ms", took.as_millis()))
    })?;
    kc::good(&["apply", "-f", "/run/kcluster-playground/manifests"])?;
    kc::good(&["delete", "function", "wall"])?;
    Ok(())
}
