//! `kc update node`: another version of the agent, onto one box after the other. The first that does
//! not take it ends it: what is wrong with one may be wrong with all.

use super::args::{Format, UpdateArgs};
use super::client::{Client, ClientError};
use super::failure::Failure;
use super::get::{escape, missing};
use super::kind::Kind;
use super::package::{Package, for_arch};
use super::print;
use super::session::SILENCE;
use crate::frame::Frame;
use crate::views::{NodeCondition, NodeView, UpdateRequest, UpdateStateView, WatchMark};
use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};

/// How long a box may take, from its archive's first octet to its word what became of it.
const PATIENCE: Duration = Duration::from_secs(300);
/// Octets in one frame.
const PIECE: usize = 32 << 10;

/// What became of one box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Updated,
    /// It ran that version already.
    Unchanged,
    /// It runs what it ran before.
    Failed,
    /// One before it failed.
    NotTried,
}

/// One box's line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    node: String,
    from: String,
    version: String,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    milliseconds: u64,
}

/// A box, and what it shall get.
#[derive(Debug, PartialEq)]
struct Step<'a> {
    node: &'a NodeView,
    package: &'a Package,
}

impl Step<'_> {
    fn line(&self, outcome: Outcome, reason: Option<String>, took: Duration) -> Line {
        Line {
            node: self.node.name.clone(),
            from: self.node.version.clone().unwrap_or_default(),
            version: self.package.manifest.version.clone(),
            outcome,
            reason,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Updates boxes.
pub(super) async fn update(
    client: &Client,
    limit: Option<Duration>,
    args: &UpdateArgs,
) -> Result<(), Failure> {
    if args.kind != Kind::Nodes {
        return Err(Failure::Usage(
            "only nodes have agents to update: kc update node NAME --package FILE".to_owned(),
        ));
    }
    if args.nodes.is_empty() && !args.all {
        return Err(Failure::Usage(
            "which boxes? Name them, or say --all".to_owned(),
        ));
    }
    let packages = args.packages.iter().map(|path| Package::open(path));
    let packages: Vec<Package> = packages.collect::<Result<_, _>>()?;
    let nodes: Vec<NodeView> = client.get("/api/v1/nodes").await?;
    let steps = steps(&nodes, &args.nodes, &packages)?;
    let structured = matches!(args.output, Some(Format::Json | Format::Yaml));
    let (mut lines, mut failure) = (Vec::new(), None);
    for step in &steps {
        if failure.is_some() {
            lines.push(step.line(Outcome::NotTried, None, Duration::ZERO));
            continue;
        }
        let began = Instant::now();
        let line = if step.node.version.as_ref() == Some(&step.package.manifest.version) {
            step.line(Outcome::Unchanged, None, Duration::ZERO)
        } else {
            match one(
                client,
                step,
                args.allow_downgrade,
                limit.unwrap_or(PATIENCE),
            )
            .await
            {
                Ok(()) => step.line(Outcome::Updated, None, began.elapsed()),
                Err(error) => {
                    let line = step.line(Outcome::Failed, Some(error.to_string()), began.elapsed());
                    failure = Some(error);
                    line
                }
            }
        };
        if !structured {
            tell(&line)?;
        }
        lines.push(line);
    }
    if let (true, Some(format)) = (structured, args.output) {
        print::value(&lines, format)?;
    }
    let left: Vec<&str> = lines
        .iter()
        .filter(|line| line.outcome == Outcome::NotTried)
        .map(|line| line.node.as_str())
        .collect();
    match failure {
        None => Ok(()),
        Some(Failure::NotUpdated(why)) if !left.is_empty() => Err(Failure::NotUpdated(format!(
            "{why}; not tried: {}",
            left.join(", ")
        ))),
        Some(failure) => Err(failure),
    }
}

/// One line for those that went well; of a failure stderr tells.
fn tell(line: &Line) -> Result<(), Failure> {
    let Line {
        node,
        from,
        version,
        ..
    } = line;
    let took = Duration::from_millis(line.milliseconds).as_secs_f32();
    match line.outcome {
        Outcome::Updated => print::line(&format!(
            "node/{node} updated from {from} to {version} in {took:.1} s"
        )),
        Outcome::Unchanged => print::line(&format!("node/{node} runs {version} already")),
        Outcome::Failed | Outcome::NotTried => Ok(()),
    }
}

/// What is to be done, in the order of the words, or of all names. Nothing is begun unless all of it
/// can be.
fn steps<'a>(
    nodes: &'a [NodeView],
    wanted: &[String],
    packages: &'a [Package],
) -> Result<Vec<Step<'a>>, Failure> {
    let find = |name: &String| {
        let names = || {
            nodes
                .iter()
                .map(|node| node.name.clone())
                .collect::<Vec<_>>()
        };
        let found = nodes.iter().find(|node| node.name == *name);
        found.ok_or_else(|| missing(Kind::Nodes, name, &names()))
    };
    let mut chosen: Vec<&NodeView> = match wanted {
        [] => nodes.iter().collect(),
        names => names.iter().map(find).collect::<Result<_, _>>()?,
    };
    let mut seen = std::collections::BTreeSet::new();
    chosen.retain(|node| seen.insert(&node.name));
    let step = |node: &'a NodeView| {
        let name = &node.name;
        if node.condition != NodeCondition::Ready {
            return Err(Failure::NotUpdated(format!(
                "{name} is {}; nothing was begun: name the others, or bring it back",
                node.condition
            )));
        }
        let arch = node.arch.as_deref().unwrap_or_default();
        let package = for_arch(packages, arch).ok_or_else(|| {
            let all = packages.iter().map(|one| one.manifest.arch.as_str());
            let all: Vec<&str> = all.collect();
            Failure::NotUpdated(format!(
                "{name} is {arch}, and the package is for {}; nothing was begun: another --package brings its own",
                all.join(", ")
            ))
        })?;
        Ok(Step { node, package })
    };
    chosen.into_iter().map(step).collect()
}

/// Updates one box, and waits until it says what became of it.
async fn one(
    client: &Client,
    step: &Step<'_>,
    allow_downgrade: bool,
    limit: Duration,
) -> Result<(), Failure> {
    let name = &step.node.name;
    let attempt = fastrand::u32(1..);
    let request = UpdateRequest {
        attempt,
        size: step.package.size,
        signature: step.package.signature.clone(),
        allow_downgrade,
    };
    let late = || {
        Failure::Timeout(format!(
            "{name} has not said within {} s what became of it; kc describe node {name} tells when it does",
            limit.as_secs()
        ))
    };
    let work = async {
        let bar = bar(step);
        let sent = send(client, step, &request, &bar).await;
        bar.finish_and_clear();
        sent?;
        if std::io::stderr().is_terminal() {
            eprintln!("{name} tries version {}", step.package.manifest.version);
        }
        decided(client, name, attempt).await
    };
    timeout(limit, work).await.map_err(|_| late())?
}

fn bar(step: &Step<'_>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes}");
    let bar = ProgressBar::new(step.package.size).with_message(step.node.name.clone());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Sends the archive; returns when the box has found it good.
async fn send(
    client: &Client,
    step: &Step<'_>,
    request: &UpdateRequest,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let (name, path) = (&step.node.name, &step.package.path);
    let opened = tokio::fs::File::open(path).await;
    let mut file = opened.with_context(|| format!("cannot read {}", path.display()))?;
    let route = format!("/api/v1/nodes/{}/update", escape(name));
    let session = client.session(&route, request).await;
    let (mut reader, mut writer) = session.map_err(|error| match error {
        ClientError::Refused { status: 409, body } => Failure::NotUpdated(body.message),
        error => error.into(),
    })?;
    let sending = async {
        let mut piece = vec![0; PIECE];
        loop {
            let count = file.read(&mut piece).await?;
            if count == 0 {
                break;
            }
            let octets = piece.get(..count).unwrap_or_default().to_vec();
            writer.write(&Frame::Octets(octets)).await?;
            bar.inc(count as u64);
        }
        writer.write(&Frame::End).await?;
        loop {
            sleep(SILENCE).await;
            writer.write(&Frame::Silence).await?;
        }
    };
    let answer = async {
        loop {
            match reader.next().await? {
                Frame::Entry(_) => {}
                Frame::Exit(_) => return Ok(()),
                Frame::Failure(text) => return Err(Failure::NotUpdated(text)),
                other => return Err(anyhow::anyhow!("the controller answered {other:?}").into()),
            }
        }
    };
    tokio::select! {
        // What the other side says counts more than that it has stopped listening.
        biased;
        answer = answer => answer,
        sent = sending => sent,
    }
}

/// Waits until the box says what became of its update.
async fn decided(client: &Client, name: &str, attempt: u32) -> Result<(), Failure> {
    let mut marks = client.lines("/api/v1/watch").await?;
    loop {
        let node: NodeView = client
            .get(&format!("/api/v1/nodes/{}", escape(name)))
            .await?;
        let ready = node.condition == NodeCondition::Ready;
        let update = node
            .update
            .filter(|update| ready && update.attempt == attempt);
        if let Some(update) = update {
            match update.state {
                UpdateStateView::Trying => {}
                UpdateStateView::Updated => return Ok(()),
                UpdateStateView::Failed | UpdateStateView::Unknown => {
                    return Err(Failure::NotUpdated(format!(
                        "{name} is back at {}: version {} was tried, and {}",
                        node.version.unwrap_or_default(),
                        update.version,
                        update.reason.unwrap_or_else(|| "did not stay".to_owned())
                    )));
                }
            }
        }
        if marks.next::<WatchMark>().await?.is_none() {
            return Err(anyhow::anyhow!("the controller has ended the watch").into());
        }
    }
}
