//! Routes that reach into a container on its box: logs, exec, copies. What may change a container
//! is a POST, like every change.

use super::error::ApiError;
use super::params::{Params, Segments};
use super::routes::App;
use super::session::{self, Upgrade};
use crate::frame::PROTOCOL;
use crate::mqtt::CREDIT;
use crate::views::{CopyRequest, ErrorReply, ExecRequest};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use kc_agent_api::{CallBody, NodeName, Window};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// How long a box may take to begin.
const PATIENCE: Duration = Duration::from_secs(8);

/// Which lines.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "kebab-case")]
pub(super) struct LogsQuery {
    /// Only the last lines.
    tail: Option<u32>,
    /// Only what is younger than this many seconds.
    since: Option<u64>,
    /// Only what was said from then on: seconds since 1970 by the box's clock.
    since_time: Option<u64>,
    /// Go on until the container ends.
    follow: bool,
    /// Each line with its time.
    timestamps: bool,
    /// What ran before: the container before its present start, or the one it took the place of.
    previous: bool,
}

pub(super) fn known(app: &App, name: &str) -> Result<NodeName, ApiError> {
    let moment = app.handle().snapshot();
    let node = NodeName::new(name).ok();
    let known = node.filter(|node| moment.state.nodes.contains_key(node));
    known.ok_or_else(|| ApiError::not_found(format!("node {name} does not exist")))
}

/// A node that exists, and no hardware where a container is meant.
fn place_of(app: &App, node: &str, container: &str) -> Result<NodeName, ApiError> {
    let moment = app.handle().snapshot();
    let instance = moment.state.instances.get(container);
    if instance.is_some_and(|instance| instance.hardware.is_some()) {
        let message = format!("{container} is physical: nothing in it can be reached from here");
        return Err(ApiError::bad_request(message));
    }
    known(app, node)
}

pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// Begins a call, and carries it over the connection once its box has said yes.
pub(super) async fn carry(
    app: &App,
    node: &NodeName,
    body: CallBody,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    let calls = app.handle().calls();
    let (entry, conversation) = calls.begin(node, body, PATIENCE).await?;
    Ok(upgrade.carry(entry, conversation))
}

/// Output of a container, asked of its box: as text, both outputs in one, or in frames when the
/// client accepts application/vnd.kcluster.frames.
#[utoipa::path(get, path = "/api/v1/nodes/{name}/logs/{container}", tag = "nodes",
    params(("name" = String, Path, description = "node"),
        ("container" = String, Path, description = "instance, such as firewall-1"), LogsQuery),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404, body = ErrorReply),
        (status = 409, body = ErrorReply, description = "the box refuses"),
        (status = 503, body = ErrorReply, description = "the broker is not connected"),
        (status = 504, body = ErrorReply, description = "the box does not answer")))]
pub(super) async fn logs(
    State(app): State<App>,
    Segments((name, container)): Segments<(String, String)>,
    Params(query): Params<LogsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let node = place_of(&app, &name, &container)?;
    let body = CallBody::Logs {
        container,
        tail: query.tail,
        since_s: query.since,
        since_wall_s: query.since_time,
        follow: query.follow,
        timestamps: query.timestamps,
        previous: query.previous,
        credit: CREDIT,
    };
    let framed = headers.get(header::ACCEPT);
    let framed = framed.is_some_and(|value| value.as_bytes() == PROTOCOL.as_bytes());
    let (_, conversation) = app.handle().calls().begin(&node, body, PATIENCE).await?;
    Ok(session::body(conversation, framed))
}

/// A command in a container. The connection is upgraded, and carries frames both ways.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/exec/{container}", tag = "nodes",
    params(("name" = String, Path, description = "node"),
        ("container" = String, Path, description = "instance, such as firewall-1")),
    request_body = ExecRequest,
    responses((status = 101, description = "the command runs"), (status = 400, body = ErrorReply),
        (status = 404, body = ErrorReply), (status = 409, body = ErrorReply, description = "the box refuses"),
        (status = 426, body = ErrorReply, description = "no upgrade to application/vnd.kcluster.frames was asked for"),
        (status = 503, body = ErrorReply), (status = 504, body = ErrorReply)))]
pub(super) async fn exec(
    State(app): State<App>,
    Segments((name, container)): Segments<(String, String)>,
    upgrade: Upgrade,
    body: Bytes,
) -> Result<Response, ApiError> {
    let node = place_of(&app, &name, &container)?;
    let wanted: ExecRequest = read(&body)?;
    if wanted.command.is_empty() {
        return Err(ApiError::bad_request("command must name a program"));
    }
    let tty = wanted.tty.map(|(rows, columns)| Window { rows, columns });
    let body = CallBody::Exec {
        container,
        command: wanted.command,
        stdin: wanted.stdin,
        tty,
        credit: CREDIT,
    };
    carry(&app, &node, body, upgrade).await
}

/// Files into or out of a container. The connection is upgraded, and carries frames both ways.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/copy/{container}", tag = "nodes",
    params(("name" = String, Path, description = "node"),
        ("container" = String, Path, description = "instance, such as firewall-1")),
    request_body = CopyRequest,
    responses((status = 101, description = "what is at the path, then the archive"), (status = 400, body = ErrorReply),
        (status = 404, body = ErrorReply), (status = 409, body = ErrorReply, description = "the box refuses"),
        (status = 426, body = ErrorReply, description = "no upgrade to application/vnd.kcluster.frames was asked for"),
        (status = 503, body = ErrorReply), (status = 504, body = ErrorReply)))]
pub(super) async fn copy(
    State(app): State<App>,
    Segments((name, container)): Segments<(String, String)>,
    upgrade: Upgrade,
    body: Bytes,
) -> Result<Response, ApiError> {
    let node = place_of(&app, &name, &container)?;
    let CopyRequest { path, upload } = read(&body)?;
    let credit = CREDIT;
    let body = match upload {
        true => CallBody::Upload {
            container,
            path,
            credit,
        },
        false => CallBody::Download {
            container,
            path,
            credit,
        },
    };
    carry(&app, &node, body, upgrade).await
}
