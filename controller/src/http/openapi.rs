//! The API's own description.

use super::{capture, change, doctor, inside, look, read, stream, talk, update};
use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "K-Cluster controller",
        description = "Everything but /healthz and /openapi.json needs the header \
                       `Authorization: Bearer TOKEN`. Errors are \
                       `{\"error\": {\"code\", \"message\", \"details\"}}`. Sizes are bytes, times \
                       milliseconds since 1970, loads percent."
    ),
    paths(
        talk::healthz,
        serve,
        talk::version,
        change::apply,
        change::delete_named,
        read::resources,
        read::resource,
        change::delete,
        read::nodes,
        read::node,
        read::spec,
        inside::logs,
        inside::exec,
        inside::copy,
        update::update,
        change::cordon,
        change::uncordon,
        change::trust,
        change::drain,
        read::functions,
        read::function,
        read::instances,
        read::instance,
        read::chains,
        read::chain,
        read::explain,
        look::echo,
        look::trace,
        look::probe,
        capture::capture,
        read::services,
        read::service,
        read::secrets,
        read::secret,
        read::stacks,
        read::stack,
        read::alarms,
        read::alarm,
        read::paths,
        read::path,
        read::plan,
        read::top,
        doctor::doctor,
        stream::events,
        stream::watch,
    ),
    modifiers(&Bearer),
    security(("bearer" = []))
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This document. Needs no token.
#[utoipa::path(get, path = "/openapi.json", tag = "controller",
    responses((status = 200, body = Object, description = "OpenAPI 3.1")))]
pub(super) async fn serve() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ROUTES;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_described_and_nothing_else_is() {
        let document = serde_json::to_value(document()).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, about) in methods.as_object().unwrap() {
                let words = [&about["summary"], &about["description"]];
                assert!(
                    words
                        .iter()
                        .any(|w| w.as_str().is_some_and(|w| !w.is_empty())),
                    "{method} {path} says nothing"
                );
                described.insert((method.clone(), path.clone()));
            }
        }
        let routed: BTreeSet<_> = ROUTES
            .iter()
            .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
            .collect();
        assert_eq!(described, routed);
    }
}
