//! What must hold when a storm is over.

use crate::account;
use crate::plan::Machine;
use crate::site::{BOXES, Site, disk, forwarder};
use anyhow::{Context, Result, bail, ensure};
use kc_agent::docker::Labels;
use kc_agent::ledger::{Found, Ledger};
use kc_agent::reconcile::{container_hash, pause_hash};
use kc_agent_api::{Network, NodeSpec};
use kc_tests::playground::docker;
use kc_tests::traffic::{SERVER, all_passed, requests};
use kc_tests::{kc, wait};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long everything may take to be in order after the last fault was put right.
const CALM: Duration = Duration::from_secs(60);

/// How long everything mostly takes.
const SOON: Duration = Duration::from_secs(2);

/// A container as its engine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) id: String,
    pub(crate) started: String,
    hash: String,
}

/// All running containers, by box and the engine's name for them.
pub(crate) type Lives = BTreeMap<(u8, String), Life>;

/// Waits until the site is as its controller wants it, and requests pass; returns what runs then.
pub(crate) fn calm(site: &mut Site, tell: &mut impl FnMut(String)) -> Result<(Lives, Duration)> {
    let (began, mut last) = (Instant::now(), String::new());
    let probe = || {
        for role in site.daemons.revive()? {
            tell(format!("{role} had ended by itself"));
        }
        match look() {
            Ok(lives) => Ok(Some(lives)),
            Err(error) => {
                let said = format!("{error:#}");
                if said != last {
                    // What takes this long is worth a line.
                    if began.elapsed() > SOON {
                        tell(said.clone());
                    }
                    last = said;
                }
                std::thread::sleep(Duration::from_millis(100));
                Ok(None)
            }
        }
    };
    let found = wait::until("calm", CALM, probe);
    found.with_context(|| format!("it is not as it should be: {last}"))
}

fn look() -> Result<Lives> {
    let nodes = kc::json(&["get", "nodes"])?;
    let nodes = nodes.as_array().context("nodes are no list")?;
    ensure!(nodes.len() == usize::from(BOXES), "{} boxes", nodes.len());
    for node in nodes {
        let name = node["name"].as_str().unwrap_or_default();
        ensure!(
            node["condition"] == "ready",
            "{name} is {}",
            node["condition"]
        );
        ensure!(
            node["errors"] == Value::Array(vec![]),
            "{name}: {}",
            node["errors"]
        );
        ensure!(
            node["generation"] == node["acknowledged"],
            "{name} has acknowledged {} of {}",
            node["acknowledged"],
            node["generation"]
        );
    }
    let instances = kc::json(&["get", "instances"])?;
    for instance in instances.as_array().context("instances are no list")? {
        ensure!(
            instance["phase"] == "Running",
            "{} is {} ({})",
            instance["name"],
            instance["phase"],
            instance["reason"]
        );
    }
    let chain = kc::chain("web")?;
    ensure!(
        chain["state"] == "Ready",
        "chain web is {} ({})",
        chain["state"],
        chain["reason"]
    );
    let mut all = Lives::new();
    for k in 1..=BOXES {
        let spec = document(k)?;
        let node = nodes.iter().find(|node| node["name"] == format!("box{k}"));
        let wanted = node.map(|node| &node["generation"]);
        ensure!(
            wanted == Some(&Value::from(spec.generation)),
            "box{k} has generation {} in its ledger, wanted is {wanted:?}",
            spec.generation
        );
        let status = forwarder(k)?;
        ensure!(
            status["generation"] == spec.generation,
            "the forwarder of box{k} has generation {}",
            status["generation"]
        );
        let lives = containers(k)?;
        matches(k, &spec, &lives)?;
        all.extend(lives);
    }
    account::settled()?;
    all_passed(&requests("kcpg-client", SERVER, 10)?)?;
    Ok(all)
}

/// What the box's ledger holds.
fn document(k: u8) -> Result<NodeSpec> {
    let ledger = Ledger::open(disk(Machine::Box(k)).0)?;
    match ledger.load()? {
        Found::Current(spec) => Ok(spec),
        other => bail!("the ledger of box{k} has {other:?}"),
    }
}

/// Everything that belongs to us on a box must run.
fn containers(k: u8) -> Result<Lives> {
    let node = format!("box{k}");
    let filter = format!("label={}={node}", Labels::NODE);
    let list = docker(
        &node,
        &["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter],
    )?;
    let ids: Vec<&str> = list.split_whitespace().collect();
    ensure!(!ids.is_empty(), "no containers on {node}");
    let text = docker(&node, &[&["inspect"], &ids[..]].concat())?;
    let all: Value = serde_json::from_str(&text)?;
    let all = all.as_array().context("docker prints no list")?;
    all.iter()
        .map(|one| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let name = text(&one["Name"]).trim_start_matches('/').to_owned();
            let (state, labels) = (&one["State"], &one["Config"]["Labels"]);
            ensure!(
                state["Running"] == true,
                "{name} on {node} does not run: {state}"
            );
            let life = Life {
                id: text(&one["Id"]),
                started: text(&state["StartedAt"]),
                hash: text(&labels[Labels::HASH]),
            };
            Ok(((k, name), life))
        })
        .collect()
}

/// The document's containers, each as the document has it, and no others.
fn matches(k: u8, spec: &NodeSpec, lives: &Lives) -> Result<()> {
    let mut wanted = BTreeMap::new();
    for one in &spec.containers {
        wanted.insert(format!("kc-{}", one.name), container_hash(one));
        if matches!(one.network, Network::Legs(_)) {
            wanted.insert(format!("kc-{}-pause", one.name), pause_hash(one));
        }
    }
    let seen = lives
        .iter()
        .map(|((_, name), life)| (name.clone(), life.hash.clone()));
    let seen: BTreeMap<String, String> = seen.collect();
    ensure!(
        wanted == seen,
        "box{k}: wanted {wanted:#?}, there are {seen:#?}"
    );
    Ok(())
}

/// What a storm gives leave to restart.
#[derive(Debug, Default)]
pub(crate) struct Excused {
    /// Containers that were killed, by box and the engine's name.
    pub(crate) killed: BTreeSet<(u8, String)>,
}

impl Excused {
    /// A container shares the network namespace of its pause, and cannot outlive it.
    fn covers(&self, k: u8, name: &str) -> bool {
        self.killed.contains(&(k, name.to_owned()))
            || self.killed.contains(&(k, format!("{name}-pause")))
    }
}

/// Whatever ran before and was not killed still runs, the same process. What the controller has
/// placed elsewhere because its box was out of reach has another name.
pub(crate) fn untouched(before: &Lives, after: &Lives, excused: &Excused) -> Result<()> {
    for ((k, name), life) in before {
        let Some(now) = after.get(&(*k, name.clone())) else {
            continue;
        };
        if now != life && !excused.covers(*k, name) {
            bail!("{name} on box{k} was healthy and is another now: before {life:?}, now {now:?}");
        }
    }
    Ok(())
}
