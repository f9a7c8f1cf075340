//! `kc record`: what `kc simulate` replays, as the controller sees it over a while.

use super::args::RecordArgs;
use super::client::Client;
use super::failure::Failure;
use super::print;
use crate::resource::{Name, Resource};
use crate::simulate::{RecordedChain, Recording, Sample, WrittenInstance, WrittenLink};
use crate::views::{FunctionView, InstanceView, NodeView};
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// Most samples in one recording.
const MAX_SAMPLES: u32 = 10_000;

/// Looks again and again, and writes it all down in the end; an interrupt ends it early.
pub(super) async fn record(client: &Client, args: &RecordArgs) -> Result<(), Failure> {
    let every = args.every.max(Duration::from_millis(100));
    if args.period.as_secs_f64() / every.as_secs_f64() > f64::from(MAX_SAMPLES) {
        let message =
            format!("that would be more than {MAX_SAMPLES} samples; take a longer --every");
        return Err(Failure::Usage(message));
    }
    let mut recording = Recording {
        mesh: true,
        ..Recording::default()
    };
    let began = Instant::now();
    let mut due = began;
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        look(client, began.elapsed(), &mut recording).await?;
        if std::io::stderr().is_terminal() {
            eprintln!("{} samples", recording.samples.len());
        }
        due += every;
        if due.duration_since(began) > args.period {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            _ = &mut interrupt => break,
        }
    }
    let text = serde_saphyr::to_string(&recording).context("cannot write YAML")?;
    print::line("# kc simulate -f FILE; schedulers: and margins: may be added")?;
    print::raw(&text)
}

/// Takes one sample. What shows up later is in the lists from then on, and was unknown before.
async fn look(client: &Client, at: Duration, recording: &mut Recording) -> Result<(), Failure> {
    let nodes: Vec<NodeView> = client.get("/api/v1/nodes").await?;
    let functions: Vec<FunctionView> = client.get("/api/v1/functions").await?;
    let instances: Vec<InstanceView> = client.get("/api/v1/instances").await?;
    let resources: Vec<Resource> = client.get("/api/v1/resources").await?;
    let at = (at.as_secs_f64() * 10.0).round() / 10.0;
    let mut sample = Sample {
        at,
        loads: BTreeMap::new(),
        barred: BTreeMap::new(),
    };
    for node in &nodes {
        if !recording.sffs.contains(&node.name) {
            recording.sffs.push(node.name.clone());
        }
    }
    for instance in instances
        .iter()
        .filter(|instance| instance.role == "function")
    {
        let function = functions.iter().find(|f| f.name == instance.owner);
        let kind = function.and_then(|f| Name::new(f.kind.as_str()).ok());
        let (Some(node), Some(function)) = (&instance.node, kind) else {
            continue;
        };
        let name = instance.name.clone();
        let known = recording
            .instances
            .iter_mut()
            .find(|known| known.name == name);
        match known {
            Some(known) => known.sff.clone_from(node),
            None => recording.instances.push(WrittenInstance {
                name: name.clone(),
                function,
                sff: node.clone(),
                load: None,
                stale: false,
                barred: None,
            }),
        }
        if let Some(load) = instance.cpu_percent {
            sample
                .loads
                .insert(name.clone(), (load * 10.0).round() / 10.0);
        }
        let cordoned = nodes.iter().any(|n| n.name == *node && n.cordoned);
        if instance.phase != "Running" {
            sample
                .barred
                .insert(name, format!("is {}", instance.phase.to_lowercase()));
        } else if cordoned {
            sample
                .barred
                .insert(name, format!("is on {node}, which is cordoned"));
        }
    }
    // Who is not there any more cannot be taken.
    let here = |name: &String| instances.iter().any(|instance| instance.name == *name);
    for gone in recording
        .instances
        .iter()
        .filter(|known| !here(&known.name))
    {
        sample
            .barred
            .insert(gone.name.clone(), "is not there".to_owned());
    }
    if recording.samples.is_empty() {
        for resource in &resources {
            asked(resource, recording);
        }
    }
    recording.samples.push(sample);
    Ok(())
}

/// Chains and links, as users asked for them.
fn asked(resource: &Resource, recording: &mut Recording) {
    match resource {
        Resource::Chain(chain) => recording.chains.push(RecordedChain {
            name: chain.metadata.name.clone(),
            functions: chain.spec.functions.clone(),
            ingress: Some(chain.spec.from.node.to_string()),
            egress: Some(chain.spec.to.node.to_string()),
        }),
        Resource::Node(node) => {
            let links = node.spec.links.iter().map(|link| WrittenLink {
                from: node.metadata.name.to_string(),
                to: link.to.to_string(),
                hops: link.hops,
                latency: None,
            });
            recording.links.extend(links);
        }
        _ => {}
    }
}
