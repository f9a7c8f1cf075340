//! The route that hands a box another version of its agent.

use super::error::ApiError;
use super::inside::{carry, known, read};
use super::params::Segments;
use super::routes::App;
use super::session::Upgrade;
use crate::mqtt::CREDIT;
use crate::views::{ErrorReply, UpdateRequest};
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use kc_agent_api::CallBody;

/// Another version of a box's agent. The connection is upgraded, and carries the archive in frames.
/// An exit frame says that the box found it good and tries it; what comes of that is told by
/// `update` of the node.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/update", tag = "nodes",
    params(("name" = String, Path, description = "node")),
    request_body = UpdateRequest,
    responses((status = 101, description = "the box takes the archive"), (status = 400, body = ErrorReply),
        (status = 404, body = ErrorReply), (status = 409, body = ErrorReply, description = "the box refuses"),
        (status = 426, body = ErrorReply, description = "no upgrade to application/vnd.kcluster.frames was asked for"),
        (status = 503, body = ErrorReply), (status = 504, body = ErrorReply)))]
pub(super) async fn update(
    State(app): State<App>,
    Segments(name): Segments<String>,
    upgrade: Upgrade,
    body: Bytes,
) -> Result<Response, ApiError> {
    let node = known(&app, &name)?;
    let wanted: UpdateRequest = read(&body)?;
    let body = CallBody::Update {
        attempt: wanted.attempt,
        size: wanted.size,
        signature: wanted.signature,
        allow_downgrade: wanted.allow_downgrade,
        credit: CREDIT,
    };
    carry(&app, &node, body, upgrade).await
}
