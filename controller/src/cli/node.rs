//! `kc cordon`, `uncordon`, `trust` and `version`.

use super::client::Client;
use super::failure::Failure;
use super::get::{escape, missing};
use super::kind::Kind;
use super::print;
use crate::views::{ApplyResult, Change, NodeView, VersionView};

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

/// Asks for a change of a node; another name is answered with the nearest.
pub(super) async fn ask(client: &Client, node: &str, verb: &str) -> Result<ApplyResult, Failure> {
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
