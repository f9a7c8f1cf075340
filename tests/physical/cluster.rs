//! A cluster of two firewalls, one of which stands by: the active one stops where it stands, and its
//! forwarder hands its flows on long before the controller has heard of it. Their hook hands state from the
//! active one to the other, over the leg that members have for that.

use anyhow::{Context, Result, ensure};
use kc_tests::playground::docker;
use kc_tests::story::Story;
use kc_tests::traffic::{self, Download, SERVER, all_passed, requests};
use kc_tests::{daemon, kc, process, wait};
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
  files:
    - {path: /etc/kc/rules, content: default allow}
    - path: /etc/kc/sync
      content: |
        exec >/dev/null 2>&1
        b=/bin/busybox
        $b echo $CHAIN $ROLE >> /state/told
        case $ROLE in
        active)
          [ -f /state/state ] || $b echo state of $SELF > /state/state
          $b nc -ll -p 9000 -e $b cat /state/state & ;;
        standby)
          for peer in $PEERS; do
            case $peer in
            */active)
              address=${peer#*/}
              $b nc -w 2 ${address%/*} 9000 </dev/null >/state/got || exit 1
              $b mv /state/got /state/state ;;
            esac
          done ;;
        esac
  replicas: 3
  cluster: {mode: active-standby, hook: {command: [/bin/busybox, sh, /etc/kc/sync]}}
  mounts: [{source: /usr/bin/busybox, target: /bin/busybox, readOnly: true}]
  tmpfs: [{target: /state}]
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
    let members = chain["members"].as_array().cloned().unwrap_or_default();
    let others = members.iter().filter(|one| one["role"] == "standby");
    let others = others.filter_map(|one| one["name"].as_str());
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

/// A file of a member's state.
fn state(name: &str, file: &str) -> Result<String> {
    let path = format!("/state/{file}");
    kc::good(&["exec", name, "--", "/bin/busybox", "cat", &path])
}

/// Waits until a member has this state.
fn has_state(name: &str, wanted: &str) -> Result<Duration> {
    let there = || {
        let found = state(name, "state").unwrap_or_default();
        Ok((found.trim() == wanted).then_some(()))
    };
    let what = format!("{name} to have {wanted}");
    Ok(wait::until(&what, Duration::from_secs(20), there)?.1)
}

/// The only one that stands by.
fn standby() -> Result<String> {
    let (_, others) = members()?;
    others.into_iter().next().context("nobody stands by")
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
            let ((name, node), standby) = (active.clone(), standby()?);
            let described = kc::good(&["describe", "chain", "web"])?;
            for line in [
                format!("{name}@{node} is active in wall"),
                format!("{standby}@"),
                "is standby in wall".to_owned(),
                "(standby)".to_owned(),
            ] {
                ensure!(described.contains(&line), "no {line}: {described}");
            }
            let listed = kc::good(&["get", "chains"])?;
            let both = format!("{name}@{node}+{standby}@");
            ensure!(listed.contains(&both), "no {both}: {listed}");
            Ok(described)
        },
    )?;
    let (name, node) = active;
    let mut synchronised = String::new();
    story.step("its hook has handed its state to the other", || {
        let there = || Ok(state(&name, "state").ok());
        let (own, _) = wait::until("its state", Duration::from_secs(10), there)?;
        own.trim().clone_into(&mut synchronised);
        let begin = format!("state of {name}@{node}/");
        ensure!(synchronised.starts_with(&begin), "{synchronised}");
        let took = has_state(&standby()?, &synchronised)?;
        Ok(format!("{synchronised}, after {} ms", took.as_millis()))
    })?;
    story.step("agents restart, and nobody is told what it knows", || {
        let told = || Ok::<_, anyhow::Error>((state(&name, "told")?, state(&standby()?, "told")?));
        let before = told()?;
        for node in ["box1", "box2", "box3"] {
            daemon::restart(&format!("{node}/agent"))?;
        }
        // Longer than an agent takes to look at what runs.
        all_passed(&traffic::Probe::start("kcpg-client", SERVER, 150, 20)?.report()?)?;
        let after = told()?;
        ensure!(after == before, "{before:?}, then {after:?}");
        Ok(format!("{:?}", after.0.trim()))
    })?;
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
    story.step(
        "the other goes on with its state, and a third has it",
        || {
            let (now, _) = whole(&name)?;
            ensure!(state(&now, "state")?.trim() == synchronised);
            let third = standby()?;
            let took = has_state(&third, &synchronised)?;
            Ok(format!("{now} and {third}, after {} ms", took.as_millis()))
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
