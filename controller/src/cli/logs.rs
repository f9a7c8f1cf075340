//! `kc logs`: the output of an instance, wherever it runs.

use super::args::LogsArgs;
use super::client::Client;
use super::exec::print;
use super::failure::Failure;
use super::get::{escape, missing};
use super::human::Since;
use super::kind::Kind;
use crate::frame::Frame;
use crate::views::InstanceView;

/// Prints the output of an instance, and goes on when asked to, as fast as it is read.
pub(super) async fn logs(client: &Client, args: &LogsArgs) -> Result<(), Failure> {
    let node = place(client, &args.instance).await?;
    let mut filters = vec![
        format!("follow={}", args.follow),
        format!("timestamps={}", args.timestamps),
        format!("previous={}", args.previous),
    ];
    if let Some(tail) = args.tail {
        filters.push(format!("tail={tail}"));
    }
    match args.since {
        Some(Since::Ago(ago)) => filters.push(format!("since={}", ago.as_secs().max(1))),
        Some(Since::Time(second)) => filters.push(format!("since-time={second}")),
        None => {}
    }
    let instance = escape(&args.instance);
    let (node, filters) = (escape(&node), filters.join("&"));
    let path = format!("/api/v1/nodes/{node}/logs/{instance}?{filters}");
    let mut reader = client.frames(&path).await?;
    loop {
        match reader.next().await? {
            Frame::Octets(octets) => print(std::io::stdout, octets).await?,
            Frame::Errors(octets) => print(std::io::stderr, octets).await?,
            Frame::Exit(_) => return Ok(()),
            Frame::Failure(text) => return Err(Failure::Other(anyhow::anyhow!(text))),
            _ => {}
        }
    }
}

/// The node that an instance runs on.
pub(super) async fn place(client: &Client, instance: &str) -> Result<String, Failure> {
    let all: Vec<InstanceView> = client.get("/api/v1/instances").await?;
    let Some(found) = all.iter().find(|i| i.name == instance) else {
        let names: Vec<String> = all.into_iter().map(|i| i.name).collect();
        return Err(missing(Kind::Instances, instance, &names));
    };
    found.node.clone().ok_or_else(|| {
        let why = found.reason.as_deref().unwrap_or("it waits for a place");
        Failure::NotFound(format!("{instance} runs nowhere: {why}"))
    })
}
