//! Every route, written once: the router, the list that tests and documentation go by.

use super::auth::{self, Token};
use super::error::ApiError;
use super::{MAX_BODY, capture, change, doctor, inside, look, openapi, read, stream, talk, update};
use crate::execute::Handle;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use std::sync::Arc;

/// What handlers share.
#[derive(Debug, Clone)]
pub struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    handle: Handle,
    token: Token,
    broker: String,
}

impl App {
    /// An API over `handle`, opened by `token`.
    pub fn new(handle: Handle, token: Token, broker: String) -> Self {
        Self {
            inner: Arc::new(Inner {
                handle,
                token,
                broker,
            }),
        }
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.inner.handle
    }

    pub(super) fn token(&self) -> &Token {
        &self.inner.token
    }

    pub(super) fn broker(&self) -> &str {
        &self.inner.broker
    }
}

macro_rules! routes {
    ($($method:ident $path:literal => $handler:path,)*) => {
        /// Every route: method and path.
        pub const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path),)*];

        fn bare() -> Router<App> {
            Router::new()$(.route($path, $method($handler)))*
        }
    };
}

routes! {
    get "/healthz" => talk::healthz,
    get "/openapi.json" => openapi::serve,
    get "/api/v1/version" => talk::version,
    post "/api/v1/apply" => change::apply,
    post "/api/v1/delete" => change::delete_named,
    get "/api/v1/resources" => read::resources,
    get "/api/v1/resources/{kind}/{name}" => read::resource,
    delete "/api/v1/resources/{kind}/{name}" => change::delete,
    get "/api/v1/nodes" => read::nodes,
    get "/api/v1/nodes/{name}" => read::node,
    get "/api/v1/nodes/{name}/spec" => read::spec,
    get "/api/v1/nodes/{name}/logs/{container}" => inside::logs,
    post "/api/v1/nodes/{name}/exec/{container}" => inside::exec,
    post "/api/v1/nodes/{name}/copy/{container}" => inside::copy,
    post "/api/v1/nodes/{name}/update" => update::update,
    post "/api/v1/nodes/{name}/cordon" => change::cordon,
    post "/api/v1/nodes/{name}/uncordon" => change::uncordon,
    post "/api/v1/nodes/{name}/trust" => change::trust,
    post "/api/v1/nodes/{name}/drain" => change::drain,
    get "/api/v1/functions" => read::functions,
    get "/api/v1/functions/{name}" => read::function,
    get "/api/v1/instances" => read::instances,
    get "/api/v1/instances/{name}" => read::instance,
    get "/api/v1/chains" => read::chains,
    get "/api/v1/chains/{name}" => read::chain,
    get "/api/v1/chains/{name}/explain" => read::explain,
    post "/api/v1/chains/{name}/echo" => look::echo,
    post "/api/v1/chains/{name}/trace" => look::trace,
    post "/api/v1/chains/{name}/probe" => look::probe,
    post "/api/v1/chains/{name}/capture" => capture::capture,
    get "/api/v1/services" => read::services,
    get "/api/v1/services/{name}" => read::service,
    get "/api/v1/secrets" => read::secrets,
    get "/api/v1/secrets/{name}" => read::secret,
    get "/api/v1/stacks" => read::stacks,
    get "/api/v1/stacks/{name}" => read::stack,
    get "/api/v1/alarms" => read::alarms,
    get "/api/v1/alarms/{name}" => read::alarm,
    get "/api/v1/paths" => read::paths,
    get "/api/v1/paths/{spi}" => read::path,
    get "/api/v1/plan" => read::plan,
    get "/api/v1/top" => read::top,
    get "/api/v1/doctor" => doctor::doctor,
    get "/api/v1/events" => stream::events,
    get "/api/v1/watch" => stream::watch,
}

/// The whole API.
pub fn router(app: App) -> Router {
    bare()
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(announced))
        .layer(middleware::from_fn_with_state(app.clone(), auth::guard))
        .with_state(app)
}

/// Refuses a body by its announced length, before any of it is read.
async fn announced(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length.map(usize::try_from) {
        Some(Ok(length)) if length <= MAX_BODY => next.run(request).await,
        Some(_) => ApiError::too_large().into_response(),
        None => next.run(request).await,
    }
}

async fn nowhere(uri: axum::http::Uri) -> Response {
    let message = format!(
        "there is no {}; /openapi.json lists what there is",
        uri.path()
    );
    ApiError::new(StatusCode::NOT_FOUND, "no-such-route", message).into_response()
}

async fn wrong_method(method: axum::http::Method, uri: axum::http::Uri) -> Response {
    let message = format!("{} does not take {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", message).into_response()
}
