//! `kc drain`: leaves a box without a gap, tells how far it is, and what stays.

use super::args::{DrainArgs, Format};
use super::client::Client;
use super::describe::find;
use super::failure::Failure;
use super::node::ask;
use super::print;
use crate::views::{EvacuationView, NodeView, WatchMark};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// What came of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Drained<'a> {
    node: &'a str,
    dry_run: bool,
    /// What has left, or nothing in a rehearsal.
    left: BTreeSet<String>,
    #[serde(flatten)]
    view: EvacuationView,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f32>,
}

impl Drained<'_> {
    fn told(&self, format: Option<Format>) -> Result<(), Failure> {
        if let Some(format @ (Format::Json | Format::Yaml)) = format {
            print::value(self, format)?;
        } else {
            for leaving in self.view.leaving.iter().filter(|_| self.dry_run) {
                print::line(&format!("{leaving} leaves (dry run)"))?;
            }
            let rehearsal = if self.dry_run { " (dry run)" } else { "" };
            for stay in &self.view.stays {
                print::line(&format!("{} stays{rehearsal}: {}", stay.object, stay.why))?;
            }
            if let Some(seconds) = self.seconds.filter(|_| self.view.stays.is_empty()) {
                print::line(&format!("node/{} drained in {seconds:.1} s", self.node))?;
            }
        }
        match self.view.stays.len() {
            0 => Ok(()),
            1 => Err(Failure::Stays(format!("one thing stays on {}", self.node))),
            many => Err(Failure::Stays(format!(
                "{many} things stay on {}",
                self.node
            ))),
        }
    }
}

/// Moves everything away from a node and waits until it is done.
pub(super) async fn drain(
    client: &Client,
    args: &DrainArgs,
    limit: Duration,
) -> Result<(), Failure> {
    let (began, node) = (Instant::now(), args.node.as_str());
    let talks = !matches!(args.output, Some(Format::Json | Format::Yaml));
    if args.dry_run {
        let result = ask(client, node, "drain?dry-run=true").await?;
        let drained = Drained {
            node,
            dry_run: true,
            left: BTreeSet::new(),
            view: result.evacuation.unwrap_or_default(),
            seconds: None,
        };
        return drained.told(args.output);
    }
    ask(client, node, "drain").await?;
    if talks {
        print::line(&format!("node/{node} draining"))?;
    }
    let mut marks = client.lines("/api/v1/watch").await?;
    let (mut before, mut left) = (None::<BTreeSet<String>>, BTreeSet::new());
    loop {
        let view: NodeView = find(client, node).await?;
        let Some(view) = view.evacuation else {
            let message = format!("node {node} is drained no more: somebody has freed it");
            return Err(anyhow::anyhow!(message).into());
        };
        let leaving: BTreeSet<String> = view.leaving.iter().cloned().collect();
        let stays: BTreeSet<&String> = view.stays.iter().map(|stay| &stay.object).collect();
        for gone in before.iter().flat_map(|before| before.difference(&leaving)) {
            if !stays.contains(gone) && left.insert(gone.clone()) && talks {
                print::line(&format!("{gone} has left"))?;
            }
        }
        if leaving.is_empty() {
            let drained = Drained {
                node,
                dry_run: false,
                left,
                view,
                seconds: Some(began.elapsed().as_secs_f32()),
            };
            return drained.told(args.output);
        }
        if talks && std::io::stderr().is_terminal() && before.as_ref() != Some(&leaving) {
            eprintln!("waiting for {}", list(&leaving));
        }
        let late = Failure::Timeout(format!(
            "after {} s these are still on {node}: {}; it stays cordoned and goes on draining",
            limit.as_secs(),
            list(&leaving)
        ));
        before = Some(leaving);
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

fn list(names: &BTreeSet<String>) -> String {
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}
