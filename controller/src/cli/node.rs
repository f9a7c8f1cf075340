//! `kc cordon`, `uncordon`, `drain` and `version`.

use super::client::Client;
use super::failure::Failure;
use super::get::{escape, missing};
use super::kind::Kind;
use super::print;
use crate::views::{
    ApplyResult, ChainView, Change, InstanceView, NodeView, VersionView, WatchMark,
};
use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// Cordons or frees a node.
pub(super) async fn set(client: &Client, node: &str, verb: &str) -> Result<(), Failure> {
    let result = ask(client, node, verb).await?;
    let same = result
        .resources
        .iter()
        .all(|r| r.change == Change::Unchanged);
    let already = if same { "already " } else { "" };
    print::line(&format!("node/{node} {already}{verb}ed"))
}

async fn ask(client: &Client, node: &str, verb: &str) -> Result<ApplyResult, Failure> {
    let path = format!("/api/v1/nodes/{}/{verb}", escape(node));
    let asked: Result<ApplyResult, Failure> =
        client.post(&path, Vec::new()).await.map_err(Failure::from);
    match asked {
        Err(Failure::NotFound(_)) => {
            let nodes: Vec<NodeView> = client.get("/api/v1/nodes").await?;
            let names: Vec<String> = nodes.into_iter().map(|node| node.name).collect();
            Err(missing(Kind::Nodes, node, &names))
        }
        other => other,
    }
}

/// Moves everything away from a node and waits until it is done.
pub(super) async fn drain(client: &Client, node: &str, limit: Duration) -> Result<(), Failure> {
    let began = Instant::now();
    ask(client, node, "drain").await?;
    print::line(&format!("node/{node} draining"))?;
    let mut marks = client.lines("/api/v1/watch").await?;
    let mut before: Option<BTreeSet<String>> = None;
    loop {
        let left = remaining(client, node).await?;
        if let Some(before) = &before {
            for gone in before.difference(&left) {
                print::line(&format!("{gone} has left"))?;
            }
        }
        if left.is_empty() {
            stays(client, node).await?;
            return print::line(&format!(
                "node/{node} drained in {:.1} s",
                began.elapsed().as_secs_f32()
            ));
        }
        if std::io::stderr().is_terminal() && before.as_ref() != Some(&left) {
            eprintln!("waiting for {}", list(&left));
        }
        let late = Failure::Timeout(format!(
            "after {} s these are still on {node}: {}; it stays cordoned and goes on draining",
            limit.as_secs(),
            list(&left)
        ));
        before = Some(left);
        let Some(rest) = limit.checked_sub(began.elapsed()) else {
            return Err(late);
        };
        match tokio::time::timeout(rest, marks.next::<WatchMark>()).await {
            Err(_) => return Err(late),
            Ok(mark) => {
                if mark?.is_none() {
                    return Err(anyhow::anyhow!("the controller has ended the watch").into());
                }
            }
        }
    }
}

/// Says what cannot go.
async fn stays(client: &Client, node: &str) -> Result<(), Failure> {
    let instances: Vec<InstanceView> = client.get("/api/v1/instances").await?;
    let here = |i: &&InstanceView| i.physical && i.node.as_deref() == Some(node);
    for instance in instances.iter().filter(here) {
        let name = &instance.name;
        print::line(&format!(
            "instance/{name} is physical and stays; no chain uses it"
        ))?;
    }
    Ok(())
}

/// What is still on the node: containers, and paths that run through it.
async fn remaining(client: &Client, node: &str) -> Result<BTreeSet<String>, Failure> {
    let instances: Vec<InstanceView> = client.get("/api/v1/instances").await?;
    let chains: Vec<ChainView> = client.get("/api/v1/chains").await?;
    let here = |place: &String| place.rsplit_once('@').is_some_and(|(_, at)| at == node);
    let containers = instances
        .into_iter()
        .filter(|instance| instance.node.as_deref() == Some(node) && !instance.physical)
        .map(|instance| format!("instance/{}", instance.name));
    let paths = chains
        .into_iter()
        .filter(|chain| chain.path.iter().any(here))
        .map(|chain| format!("chain/{}", chain.name));
    Ok(containers.chain(paths).collect())
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// Versions of both.
pub(super) async fn version(client: &Client) -> Result<(), Failure> {
    print::line(concat!("kc ", env!("CARGO_PKG_VERSION")))?;
    let server: VersionView = client.get("/api/v1/version").await?;
    let broker = if server.connected {
        "connected"
    } else {
        "not connected"
    };
    print::line(&format!(
        "kc-controller {} domain {} revision {} broker {} ({broker}) at {}",
        server.version,
        server.domain,
        server.revision,
        server.broker,
        client.server().address
    ))
}
