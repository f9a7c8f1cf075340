//! `kc doctor`: what is wrong with controller and boxes, and how it is put right.

use super::args::{DoctorArgs, Format};
use super::client::Client;
use super::failure::Failure;
use super::get::{escape, missing};
use super::kind::Kind;
use super::print;
use crate::views::{DoctorView, NodeView};
use kc_agent_api::{Finding, Listing, Severity};
use std::time::Duration;

/// What boxes may take to look at themselves, and the controller to collect it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Prints every finding; fails when one of them is a problem.
pub(super) async fn doctor(
    client: &Client,
    timeout: Option<Duration>,
    args: &DoctorArgs,
) -> Result<(), Failure> {
    let client = client.waiting(timeout.unwrap_or(PATIENCE));
    let view = ask(&client, &args.nodes).await?;
    match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => print::value(&view, format)?,
        _ => print::raw(&text(&view))?,
    }
    match problems(&view) {
        0 => Ok(()),
        1 => Err(Failure::Sick("1 problem".to_owned())),
        count => Err(Failure::Sick(format!("{count} problems"))),
    }
}

async fn ask(client: &Client, nodes: &[String]) -> Result<DoctorView, Failure> {
    let mut path = "/api/v1/doctor".to_owned();
    if !nodes.is_empty() {
        let all: Vec<NodeView> = client.get("/api/v1/nodes").await?;
        let names: Vec<String> = all.into_iter().map(|node| node.name).collect();
        if let Some(wrong) = nodes.iter().find(|node| !names.contains(node)) {
            return Err(missing(Kind::Nodes, wrong, &names));
        }
        path = format!("{path}?nodes={}", escape(&nodes.join(",")));
    }
    Ok(client.get(&path).await?)
}

/// One block after the other, the controller's first.
fn text(view: &DoctorView) -> String {
    let mut text = format!("controller\n{}", Listing(&view.controller));
    for node in &view.nodes {
        text.push_str(&format!("\n{}\n{}", node.node, Listing(&node.findings)));
    }
    text
}

fn problems(view: &DoctorView) -> usize {
    let of_nodes = view.nodes.iter().flat_map(|node| &node.findings);
    let all = view.controller.iter().chain(of_nodes);
    all.filter(|finding: &&Finding| finding.severity == Severity::Problem)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::NodeFindings;

    #[test]
    fn each_box_has_its_block_and_every_problem_counts() {
        let view = DoctorView {
            controller: vec![Finding::ok("broker", "connected")],
            nodes: vec![NodeFindings {
                node: "pi-1".into(),
                findings: vec![
                    Finding::warning("throttling", "now", "a fan"),
                    Finding::problem("clock", "it says 1970", "chrony"),
                ],
            }],
        };
        assert_eq!(problems(&view), 1);
        let text = text(&view);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "controller");
        assert_eq!(lines[3], "pi-1");
        assert_eq!(lines[6], "problem  clock       it says 1970");
        assert_eq!(lines[7], "         fix:        chrony");
    }
}
