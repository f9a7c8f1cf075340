//! Load decides: a DPI that burns its CPU is relieved by one that is made for it, and when the load is
//! gone there is one again. All the while requests run through the chain.

use anyhow::{Context, Result, ensure};
use kc_tests::story::Story;
use kc_tests::traffic::{Probe, SERVER, all_passed, first, requests};
use kc_tests::{kc, wait, watch};
use serde_json::Value;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// As patient as any client: a SYN that is lost is sent again after a second, and shows in the longest gap.
const TIMEOUT: &str = "4s";

/// Less than the function that comes late takes to open its legs, and more than a SYN that is sent again.
const TOO_EARLY_MS: f64 = 1_400.0;

/// One DPI that may become three. The windows are as short as a test wants them.
const MANIFEST: &str = r#"
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: scan}
spec:
  image: kcluster/function:latest
  args: [dpi, --inside, inside, --outside, outside]
  replicas: 1
  resources: {cpu: 500m, memory: 32Mi}
  alarms:
    - {name: hot, when: cpu > 60% for 5s, clear: 40%, severity: critical, replace: true}
    - {name: idle, when: cpu < 20% for 5s, of: average, severity: info}
  autoscale:
    max: 3
    steps: [{alarm: idle, remove: 1}]
    scaleIn: {cooldown: 5s}
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [scan]
  from: {node: box1, interface: client0}
  to: {node: box3, interface: server0}
"#;

/// A function that runs long before it passes anything, and the chain that shall lead there.
const LATE: &str = r#"
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: late}
spec:
  image: kcluster/function:latest
  args: [dpi, --inside, inside, --outside, outside, --open-after, 1500ms]
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [late]
  from: {node: box1, interface: client0}
  to: {node: box3, interface: server0}
"#;

/// One replica that may become three, behind a virtual address.
const SHOP: &str = r#"
apiVersion: kcluster/v1
kind: Service
metadata: {name: shop}
spec:
  image: kcluster/function:latest
  args: [serve, --listen, "0.0.0.0:80"]
  ports: [{port: 80}]
  drain: 3s
  resources: {cpu: 400m, memory: 32Mi}
  autoscale:
    min: 1
    max: 3
    target: {cpu: 50%}
    scaleOut: {cooldown: 3s, stabilization: 2s}
    scaleIn: {cooldown: 3s, stabilization: 5s}
"#;

pub(crate) fn steps(story: &mut Story, scratch: &Path) -> Result<()> {
    story.step(
        "an overloaded DPI is relieved by a new one, and load off, it goes again",
        || {
            kc::apply(scratch, "scan.yaml", MANIFEST)?;
            until("the chain over scan-1", || carried_by("scan-1"))?;
            first("kcpg-client", Duration::from_secs(10))?;
            let probes: Vec<_> = (0..4)
                .map(|_| Probe::patient("kcpg-client", SERVER, 3_000, 15, TIMEOUT))
                .collect::<Result<_>>()?;
            let watch = watch::Legs::start(&["kcpg-box1", "kcpg-box2", "kcpg-box3"])?;
            let mut burning = burn("scan-1", "15s")?;
            until("the chain over scan-2", || carried_by("scan-2"))?;
            let on = |name: &str| Ok::<_, anyhow::Error>(kc::instance(name)?["node"].clone());
            ensure!(on("scan-1")? != on("scan-2")?, "both are on one box");
            let first_packet_ms = watch.first_packet("a packet through scan-2", PATIENCE)?;
            until("the end of the change", || {
                Ok(kc::chain("web")?["state"] == "Ready")
            })?;
            let story = timeline(first_packet_ms)?;
            burning.wait()?;
            until("one DPI again", || {
                let all = kc::containers()?;
                let scans = all.keys().filter(|name| name.starts_with("scan-"));
                Ok(scans.count() == 1 && kc::chain("web")?["state"] == "Ready")
            })?;
            ensure!(carried_by("scan-2")?, "the one that carried the chain went");
            let (mut sent, mut longest) = (0, 0.0_f64);
            for probe in probes {
                let report = probe.report()?;
                all_passed(&report)?;
                sent += report["sent"].as_u64().context("no count")?;
                longest = longest.max(report["max-gap-ms"].as_f64().context("no gap")?);
            }
            ensure!(sent >= 10_000, "only {sent} requests");
            Ok(format!(
                "{story}; {sent} requests, none failed, longest gap {longest:.0} ms"
            ))
        },
    )?;
    story.step(
        "traffic goes to a function when its legs are open, and not when it runs",
        || {
            let probe = Probe::patient("kcpg-client", SERVER, 500, 8, TIMEOUT)?;
            kc::apply(scratch, "late.yaml", LATE)?;
            until("the chain over late-1", || {
                Ok(carried_by("late-1")? && kc::chain("web")?["state"] == "Ready")
            })?;
            let events = kc::json(&["events", "--tail", "200"])?;
            let events = events.as_array().context("events are no list")?;
            let [runs, active] = [
                at(events, "running", "late-1")?,
                at(events, "path-active", "late-1")?,
            ];
            let waited = active.saturating_sub(runs);
            ensure!(
                waited < 3_000,
                "it took {waited} ms, so no answer was heard"
            );
            let report = probe.report()?;
            all_passed(&report)?;
            let longest = report["max-gap-ms"].as_f64().context("no gap")?;
            ensure!(longest < TOO_EARLY_MS, "nothing passed for {longest:.0} ms");
            Ok(format!(
                "turned to {waited} ms after it ran; longest gap {longest:.0} ms"
            ))
        },
    )?;
    story.step(
        "replicas join their address under load and leave it, and no request fails",
        || {
            kc::apply(scratch, "shop.yaml", SHOP)?;
            until("one replica", || replicas(1))?;
            let shop = kc::json(&["get", "services", "shop"])?;
            let address = shop["address"].as_str().context("no virtual address")?;
            let url = format!("http://{address}/");
            until("an answer", || {
                Ok(requests("kcpg-box2", &url, 1)?["ok"] == 1)
            })?;
            let probes: Vec<_> = ["kcpg-box1", "kcpg-box2", "kcpg-box3"]
                .iter()
                .map(|from| Probe::patient(from, &url, 3_000, 12, TIMEOUT))
                .collect::<Result<_>>()?;
            let mut burning = burn("shop-1", "12s")?;
            until("more replicas", || {
                let shop = kc::json(&["get", "services", "shop"])?;
                Ok(shop["replicas"].as_u64() > Some(1) && shop["ready"] == shop["replicas"])
            })?;
            let most = kc::json(&["get", "services", "shop"])?["replicas"].clone();
            burning.wait()?;
            until("one replica again", || replicas(1))?;
            let (mut sent, mut longest) = (0, 0.0_f64);
            for probe in probes {
                let report = probe.report()?;
                all_passed(&report)?;
                sent += report["sent"].as_u64().context("no count")?;
                longest = longest.max(report["max-gap-ms"].as_f64().context("no gap")?);
            }
            kc::good(&["delete", "service", "shop"])?;
            Ok(format!(
                "1, {most}, 1 replicas; {sent} requests, none failed, longest gap {longest:.0} ms"
            ))
        },
    )?;
    story.step("the chain has its functions again", || {
        kc::good(&["apply", "-f", "/run/kcluster-playground/manifests"])?;
        until("the chain", || {
            Ok(kc::path("web")?.len() == 3 && kc::chain("web")?["state"] == "Ready")
        })?;
        kc::good(&["delete", "function", "scan"])?;
        kc::good(&["delete", "function", "late"])?;
        all_passed(&requests("kcpg-client", SERVER, 20)?)?;
        Ok(String::new())
    })
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    wait::until(what, PATIENCE, || Ok(holds()?.then_some(()))).map(drop)
}

fn replicas(count: u64) -> Result<bool> {
    let shop = kc::json(&["get", "services", "shop"])?;
    let all = kc::containers()?;
    let there = all.keys().filter(|name| name.starts_with("shop-")).count();
    let [wanted, ready] = ["replicas", "ready"].map(|key| shop[key].as_u64());
    Ok(wanted == Some(count) && ready == Some(count) && u64::try_from(there)? == count)
}

fn carried_by(instance: &str) -> Result<bool> {
    Ok(kc::path("web")?.iter().any(|(name, _)| name == instance))
}

fn burn(instance: &str, time: &str) -> Result<Child> {
    kc::start(&[
        "exec",
        instance,
        "--",
        "/kc-function",
        "burn",
        "--for",
        time,
    ])
}

/// The times of the steps, from the end of the alarm's window on.
fn timeline(first_packet_ms: u64) -> Result<String> {
    let events = kc::json(&["events", "--tail", "200"])?;
    let events = events.as_array().context("events are no list")?;
    let at = |kind, word| at(events, kind, word);
    let alarm = at("alarm-firing", "scan-1")?;
    let since = |ms: u64| ms.saturating_sub(alarm);
    Ok(format!(
        "window over, then: new one wanted {} ms, it runs {} ms, path chosen {} ms, first packet through it {} ms, \
         all classifiers turned {} ms",
        since(at("scaled-out", "scan")?),
        since(at("running", "scan-2")?),
        since(at("path-chosen", "scan-2")?),
        since(first_packet_ms),
        since(at("path-active", "scan-2")?),
    ))
}

/// When the last event of a kind happened whose message has a word.
fn at(events: &[Value], kind: &str, word: &str) -> Result<u64> {
    let mut fitting = events.iter().rev().filter(|event| {
        let message = event["message"].as_str().unwrap_or_default();
        event["kind"] == kind && message.contains(word)
    });
    fitting
        .next()
        .and_then(|event| event["atMs"].as_u64())
        .with_context(|| format!("no event {kind} of {word}"))
}
