//! Routes about the controller itself.

use super::routes::App;
use crate::views::VersionView;
use axum::Json;
use axum::extract::State;

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
