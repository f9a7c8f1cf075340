//! Routes about the controller itself, and those that ask a box.

use super::error::ApiError;
use super::params::{Params, Segments};
use super::routes::App;
use crate::views::{ErrorReply, LogText, VersionView};
use axum::Json;
use axum::extract::State;
use kc_agent_api::NodeName;
use serde::Deserialize;
use std::time::Duration;

/// How long a box may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// Whether the controller runs. Needs no token.
#[utoipa::path(get, path = "/healthz", tag = "controller",
    responses((status = 200, body = String, description = "ok", content_type = "text/plain")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Who answers.
#[utoipa::path(get, path = "/api/v1/version", tag = "controller", responses((status = 200, body = VersionView)))]
pub(super) async fn version(State(app): State<App>) -> Json<VersionView> {
    let handle = app.handle();
    Json(VersionView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        domain: handle.domain().to_string(),
        broker: app.broker().to_owned(),
        connected: handle.connected(),
        revision: handle.snapshot().revision,
    })
}

/// Which lines.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "kebab-case")]
pub(super) struct LogsQuery {
    /// Only the last lines.
    tail: Option<u32>,
    /// Only what is younger than this many seconds.
    since: Option<u64>,
}

/// Output of a container, asked of its box.
#[utoipa::path(get, path = "/api/v1/nodes/{name}/logs/{container}", tag = "nodes",
    params(("name" = String, Path, description = "node"),
        ("container" = String, Path, description = "instance, such as firewall-1"), LogsQuery),
    responses((status = 200, body = LogText), (status = 404, body = ErrorReply),
        (status = 409, body = ErrorReply, description = "the box refuses"),
        (status = 503, body = ErrorReply, description = "the broker is not connected"),
        (status = 504, body = ErrorReply, description = "the box does not answer")))]
pub(super) async fn logs(
    State(app): State<App>,
    Segments((name, container)): Segments<(String, String)>,
    Params(query): Params<LogsQuery>,
) -> Result<Json<LogText>, ApiError> {
    let moment = app.handle().snapshot();
    let known = NodeName::new(name.as_str())
        .ok()
        .filter(|node| moment.state.nodes.contains_key(node));
    let Some(node) = known else {
        return Err(ApiError::not_found(format!("node {name} does not exist")));
    };
    let calls = app.handle().calls();
    let text = calls
        .logs(&node, &container, query.tail, query.since, PATIENCE)
        .await?;
    Ok(Json(LogText {
        node: name,
        container,
        text,
    }))
}
