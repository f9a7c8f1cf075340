//! What must not notice: containers and flows, while agents, controller and paths change.

use anyhow::{Context, Result, ensure};
use kc_tests::story::Story;
use kc_tests::traffic::{Download, Probe, SERVER, all_passed, requests};
use kc_tests::{daemon, kc, process, wait};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::time::Duration;

pub(crate) fn steps(story: &mut Story, scratch: &Path) -> Result<()> {
    story.step(
        "agents and controller restart under a download, containers stay",
        || {
            let before = kc::containers()?;
            let path = kc::good(&["get", "paths", "-o", "name"])?;
            ensure!(before.values().all(|id| !id.is_empty()), "{before:?}");
            let download = Download::start(6_000_000, 500_000)?;
            download.progress(300_000)?;
            for node in ["box1", "box2", "box3"] {
                daemon::restart(&format!("{node}/agent"))?;
            }
            download
                .progress(500_000)
                .context("after the agents' restart")?;
            daemon::restart("hub/controller")?;
            download
                .progress(500_000)
                .context("after the controller's restart")?;
            let ready = || {
                let nodes = kc::run(&["get", "nodes", "-o", "json"])?;
                Ok((nodes.out.matches("\"ready\"").count() == 3).then_some(()))
            };
            let ((), took) = wait::until("three ready boxes", Duration::from_secs(30), ready)?;
            let (got, silence) = download.end()?;
            ensure!(got > 6_000_000, "{got} octets of 6,000,000");
            let after = kc::containers()?;
            let after_path = kc::good(&["get", "paths", "-o", "name"])?;
            ensure!(after_path == path, "paths changed:\n{path}\n{after_path}");
            ensure!(after == before, "before {before:#?}\nafter {after:#?}");
            Ok(format!(
                "{got} octets, longest silence {} ms, boxes ready {} ms after the last restart",
                silence.as_millis(),
                took.as_millis()
            ))
        },
    )?;
    story.step("a killed forwarder is back with its tables at once", || {
        let path = kc::path("web")?;
        let (_, node) = path.first().context("the chain has no path")?;
        let probe = Probe::start("kcpg-client", SERVER, 200, 10)?;
        let pid = process::named(&format!("kcpg-{node}"), "kc-forwarder")?;
        process::signal(pid, Signal::SIGKILL)?;
        let report = probe.report()?;
        ensure!(kc::path("web")? == path, "the path moved");
        all_passed(&requests("kcpg-client", SERVER, 20)?)?;
        Ok(format!(
            "{} of {} requests, longest gap {} ms",
            report["ok"], report["sent"], report["max-gap-ms"]
        ))
    })?;
    story.step(
        "without a broker requests pass; a new one changes nothing",
        || {
            let (containers, path) = (kc::containers()?, kc::path("web")?);
            let broker = process::how(process::of("hub/broker")?)?;
            daemon::kill("hub/broker")?;
            all_passed(&requests("kcpg-client", SERVER, 50)?)?;
            daemon::start("hub/broker", &broker)?;
            let connected = || {
                let said = kc::good(&["version"])?;
                Ok((!said.contains("not connected")).then_some(()))
            };
            let ((), took) = wait::until("the new broker", Duration::from_secs(30), connected)?;
            // Longer than a silent box is believed in.
            let later = Probe::start("kcpg-client", SERVER, 250, 20)?.report()?;
            all_passed(&later)?;
            ensure!(
                kc::containers()? == containers && kc::path("web")? == path,
                "something moved"
            );
            Ok(format!("connected again after {} ms", took.as_millis()))
        },
    )?;
    story.step(
        "a path changes under continuous requests and none is lost",
        || {
            let manifest = fs::read_to_string(WEB)?;
            let other = manifest.replace("algorithm: round-robin", "algorithm: shortest-path");
            ensure!(
                other != manifest,
                "{WEB} names another scheduler:\n{manifest}"
            );
            let there = change(scratch, &other)?;
            let back = change(scratch, &manifest)?;
            Ok(format!("{there}; {back}"))
        },
    )
}

/// Where the playground keeps the manifest of its chain.
const WEB: &str = "/run/kcluster-playground/manifests/web.yaml";

/// Applies a manifest that moves the chain, all its instances, in the middle of continuous
/// requests.
fn change(scratch: &Path, manifest: &str) -> Result<String> {
    let before = kc::path("web")?;
    let probe = Probe::start("kcpg-client", SERVER, 300, 10)?;
    kc::apply(scratch, "web.yaml", manifest)?;
    let ready = || {
        let moved = kc::path("web")? != before;
        Ok((moved && kc::chain("web")?["state"] == "Ready").then_some(()))
    };
    let ((), took) = wait::until("another path", Duration::from_secs(20), ready)?;
    let report = probe.report()?;
    let after = kc::path("web")?;
    all_passed(&report).with_context(|| format!("from {before:?} to {after:?}"))?;
    Ok(format!(
        "{} of {} requests, longest gap {} ms, switched in {} ms to {after:?}",
        report["ok"],
        report["sent"],
        report["max-gap-ms"],
        took.as_millis()
    ))
}
