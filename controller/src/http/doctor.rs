//! The route that asks boxes what is wrong with them.

use super::error::ApiError;
use super::params::Params;
use super::routes::App;
use crate::mqtt::Calls;
use crate::views::{
    self, DoctorView, ErrorReply, NodeCondition, NodeFindings, NodeView, clock_finding,
    controller_findings, no_answer, node_findings,
};
use axum::Json;
use axum::extract::State;
use kc_agent_api::{Finding, NodeName};
use serde::Deserialize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;

/// How long a box may take to look at itself.
const PATIENCE: Duration = Duration::from_secs(9);

/// Which boxes.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "kebab-case")]
pub(super) struct DoctorQuery {
    /// Names with commas between them; all when absent.
    nodes: Option<String>,
}

/// What is wrong, and how it is put right. Boxes that are there are asked, all at once.
#[utoipa::path(get, path = "/api/v1/doctor", tag = "look", params(DoctorQuery),
    responses((status = 200, body = DoctorView, description = "every check; a box that does not answer is a finding too"),
        (status = 404, body = ErrorReply)))]
pub(super) async fn doctor(
    State(app): State<App>,
    Params(query): Params<DoctorQuery>,
) -> Result<Json<DoctorView>, ApiError> {
    let handle = app.handle();
    let nodes = wanted(views::nodes(&handle.snapshot()), query.nodes.as_deref())?;
    let connected = handle.connected();
    let mut asked = JoinSet::new();
    for node in nodes {
        let calls = handle.calls().clone();
        asked.spawn(async move { look(&calls, &node, connected).await });
    }
    let mut nodes = asked.join_all().await;
    nodes.sort_by(|one, other| one.node.cmp(&other.node));
    Ok(Json(DoctorView {
        controller: controller_findings(app.broker(), connected),
        nodes,
    }))
}

fn wanted(all: Vec<NodeView>, names: Option<&str>) -> Result<Vec<NodeView>, ApiError> {
    let Some(names) = names else {
        return Ok(all);
    };
    let names: Vec<&str> = names.split(',').collect();
    let known = |name: &&str| all.iter().any(|node| node.name == **name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        return Err(ApiError::not_found(format!("node {name} does not exist")));
    }
    let named = all
        .into_iter()
        .filter(|node| names.contains(&node.name.as_str()));
    Ok(named.collect())
}

/// The controller's findings on a box, and the box's own.
async fn look(calls: &Calls, node: &NodeView, connected: bool) -> NodeFindings {
    let mut findings = node_findings(node, env!("CARGO_PKG_VERSION"), now_ms());
    let there = matches!(
        node.condition,
        NodeCondition::Ready | NodeCondition::Unreachable
    );
    if let (true, true, Ok(name)) = (connected, there, NodeName::new(node.name.as_str())) {
        findings.extend(ask(calls, &name).await);
    }
    NodeFindings {
        node: node.name.clone(),
        findings,
    }
}

async fn ask(calls: &Calls, node: &NodeName) -> Vec<Finding> {
    let asked_ms = now_ms();
    match calls.doctor(node, PATIENCE).await {
        Ok((own, wall_ms)) => {
            let mut findings = vec![clock_finding(wall_ms, asked_ms, now_ms())];
            findings.extend(own);
            findings
        }
        Err(error) => vec![no_answer(node.as_str(), &error.to_string())],
    }
}

/// Milliseconds since 1970, as boxes count them.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
