//! Routes that read the latest snapshot.

use super::change::id;
use super::error::ApiError;
use super::params::Segments;
use super::routes::App;
use crate::alarm::AlarmReport;
use crate::execute::Snapshot;
use crate::resource::Resource;
use crate::views::{
    self, ChainView, ErrorReply, ExplainView, FunctionView, InstanceView, NodeView, PathView,
    PlanView, SecretView, ServiceView, StackView, TopView,
};
use axum::Json;
use axum::extract::State;
use kc_agent_api::{NodeName, NodeSpec};
use std::cmp::Ordering;

type Answer<T> = Result<Json<T>, ApiError>;

fn one<T>(all: Vec<T>, kind: &str, name: &str, is: impl Fn(&T) -> bool) -> Answer<T> {
    all.into_iter()
        .find(is)
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("{kind} {name} does not exist")))
}

macro_rules! lists {
    ($($(#[$doc:meta])* $all:ident, $one:ident, $view:ident, $path:literal, $each:literal;)*) => {$(
        $(#[$doc])*
        #[utoipa::path(get, path = $path, tag = "views", responses((status = 200, body = Vec<$view>)))]
        pub(super) async fn $all(State(app): State<App>) -> Json<Vec<$view>> {
            Json(views::$all(&app.handle().snapshot()))
        }

        $(#[$doc])*
        ///
        /// Only the one of that name.
        #[utoipa::path(get, path = $each, tag = "views",
            params(("name" = String, Path, description = "its name")),
            responses((status = 200, body = $view), (status = 404, body = ErrorReply)))]
        pub(super) async fn $one(State(app): State<App>, Segments(name): Segments<String>) -> Answer<$view> {
            let all = views::$all(&app.handle().snapshot());
            one(all, stringify!($one), &name, |view| view.name == name)
        }
    )*};
}

lists! {
    /// Boxes.
    nodes, node, NodeView, "/api/v1/nodes", "/api/v1/nodes/{name}";
    /// Service functions.
    functions, function, FunctionView, "/api/v1/functions", "/api/v1/functions/{name}";
    /// Placed containers.
    instances, instance, InstanceView, "/api/v1/instances", "/api/v1/instances/{name}";
    /// Chains.
    chains, chain, ChainView, "/api/v1/chains", "/api/v1/chains/{name}";
    /// Services.
    services, service, ServiceView, "/api/v1/services", "/api/v1/services/{name}";
    /// Secrets, without their values.
    secrets, secret, SecretView, "/api/v1/secrets", "/api/v1/secrets/{name}";
    /// Stacks, without what is hidden.
    stacks, stack, StackView, "/api/v1/stacks", "/api/v1/stacks/{name}";
    /// Alarms, the worst first.
    alarms, alarm, AlarmReport, "/api/v1/alarms", "/api/v1/alarms/{name}";
}

/// Rendered service paths.
#[utoipa::path(get, path = "/api/v1/paths", tag = "views", responses((status = 200, body = Vec<PathView>)))]
pub(super) async fn paths(State(app): State<App>) -> Json<Vec<PathView>> {
    Json(views::paths(&app.handle().snapshot()))
}

/// One rendered service path.
#[utoipa::path(get, path = "/api/v1/paths/{spi}", tag = "views",
    params(("spi" = u32, Path, description = "service path identifier")),
    responses((status = 200, body = PathView), (status = 404, body = ErrorReply)))]
pub(super) async fn path(
    State(app): State<App>,
    Segments(spi): Segments<String>,
) -> Answer<PathView> {
    let all = views::paths(&app.handle().snapshot());
    one(all, "path", &spi, |view| view.spi.to_string() == spi)
}

/// Why a chain takes the path it takes.
#[utoipa::path(get, path = "/api/v1/chains/{name}/explain", tag = "views",
    params(("name" = String, Path, description = "chain")),
    responses((status = 200, body = ExplainView), (status = 404, body = ErrorReply)))]
pub(super) async fn explain(
    State(app): State<App>,
    Segments(name): Segments<String>,
) -> Answer<ExplainView> {
    views::explain(&app.handle().snapshot(), &name)
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("chain {name} does not exist")))
}

/// Resources as they were applied.
#[utoipa::path(get, path = "/api/v1/resources", tag = "resources",
    responses((status = 200, body = Vec<Object>, description = "manifests as JSON")))]
pub(super) async fn resources(State(app): State<App>) -> Json<Vec<Resource>> {
    let moment = app.handle().snapshot();
    Json(moment.state.resources.values().cloned().collect())
}

/// One resource as it was applied.
#[utoipa::path(get, path = "/api/v1/resources/{kind}/{name}", tag = "resources",
    params(("kind" = String, Path, description = "node, servicefunction, chain, service or secret"),
        ("name" = String, Path, description = "its name")),
    responses((status = 200, body = Object, description = "a manifest as JSON"), (status = 404, body = ErrorReply)))]
pub(super) async fn resource(
    State(app): State<App>,
    Segments((kind, name)): Segments<(String, String)>,
) -> Answer<Resource> {
    let id = id(&kind, &name)?;
    let found = app.handle().snapshot().state.resources.get(&id).cloned();
    found
        .map(Json)
        .ok_or_else(|| ApiError::not_found(format!("{id} does not exist")))
}

/// The document of a box, as published.
#[utoipa::path(get, path = "/api/v1/nodes/{name}/spec", tag = "nodes",
    params(("name" = String, Path, description = "node")),
    responses((status = 200, body = Object, description = "the desired document"), (status = 404, body = ErrorReply)))]
pub(super) async fn spec(
    State(app): State<App>,
    Segments(name): Segments<String>,
) -> Answer<NodeSpec> {
    let moment = app.handle().snapshot();
    let node = NodeName::new(name.as_str()).ok();
    node.and_then(|node| moment.documents.get(&node).cloned())
        .map(|document| Json(document.into_inner()))
        .ok_or_else(|| ApiError::not_found(format!("node {name} has no document")))
}

/// What is planned: documents, and what is waited for.
#[utoipa::path(get, path = "/api/v1/plan", tag = "views", responses((status = 200, body = PlanView)))]
pub(super) async fn plan(State(app): State<App>) -> Json<PlanView> {
    Json(views::plan(&app.handle().snapshot()))
}

/// Load of everything, busiest first.
#[utoipa::path(get, path = "/api/v1/top", tag = "views", responses((status = 200, body = TopView)))]
pub(super) async fn top(State(app): State<App>) -> Json<TopView> {
    Json(busiest(&app.handle().snapshot()))
}

fn busiest(moment: &Snapshot) -> TopView {
    let order = |a: Option<f32>, b: Option<f32>| {
        let (a, b) = (a.unwrap_or(-1.0), b.unwrap_or(-1.0));
        b.partial_cmp(&a).unwrap_or(Ordering::Equal)
    };
    let (mut nodes, mut containers) = (views::nodes(moment), views::instances(moment));
    nodes.sort_by(|a, b| order(a.cpu_percent, b.cpu_percent));
    containers.sort_by(|a, b| order(a.cpu_percent, b.cpu_percent));
    TopView { nodes, containers }
}
