//! Routes that change what is wanted.

use super::error::ApiError;
use super::params::{Params, Segments};
use super::routes::App;
use crate::execute::{Mutation, Outcome, Shown};
use crate::manifest::Parameters;
use crate::resource::{Kind, Name, ResourceId};
use crate::views::{
    ApplyResult, Change, ErrorReply, ManifestFile, ManifestFiles, ResourceChange, StepView, unified,
};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use kc_agent_api::NodeName;
use serde::Deserialize;

/// What a change may be told.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "kebab-case")]
pub(super) struct ChangeQuery {
    /// Check and plan, change nothing.
    dry_run: bool,
    /// Name of the manifest for error messages.
    file: Option<String>,
    /// What does not exist is no error; for deletions.
    ignore_not_found: bool,
}

type Answer = Result<Json<ApplyResult>, ApiError>;

/// Takes up manifests: all of them, or none.
#[utoipa::path(post, path = "/api/v1/apply", tag = "changes", params(ChangeQuery),
    request_body(description = "YAML of one file, or as application/json several files",
        content((String = "application/yaml"), (ManifestFiles = "application/json"))),
    responses((status = 200, body = ApplyResult, description = "what changed, or would"),
        (status = 413, body = ErrorReply, description = "too long"),
        (status = 422, body = ErrorReply, description = "refused; every mistake with its place; nothing changed")))]
pub(super) async fn apply(
    State(app): State<App>,
    Params(query): Params<ChangeQuery>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let sent = files(&query, &headers, body)?;
    let files = sent.parameter_files.into_iter();
    let mutation = Mutation::Apply {
        files: sent.files,
        parameters: Parameters {
            single: sent.parameters,
            files: files.map(|file| (file.name, file.content)).collect(),
        },
        adopt: sent.adopt,
    };
    change(&app, mutation, query.dry_run).await
}

/// Takes back what manifests name: all of it, or nothing.
#[utoipa::path(post, path = "/api/v1/delete", tag = "changes", params(ChangeQuery),
    request_body(description = "as for apply",
        content((String = "application/yaml"), (ManifestFiles = "application/json"))),
    responses((status = 200, body = ApplyResult, description = "what changed, or would"),
        (status = 404, body = ErrorReply, description = "one of them does not exist; nothing changed"),
        (status = 409, body = ErrorReply, description = "one of them is needed; nothing changed"),
        (status = 422, body = ErrorReply, description = "refused; nothing changed")))]
pub(super) async fn delete_named(
    State(app): State<App>,
    Params(query): Params<ChangeQuery>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let mutation = Mutation::DeleteNamed {
        files: files(&query, &headers, body)?.files,
        ignore_missing: query.ignore_not_found,
    };
    change(&app, mutation, query.dry_run).await
}

/// Takes one resource back.
#[utoipa::path(delete, path = "/api/v1/resources/{kind}/{name}", tag = "changes",
    params(("kind" = String, Path, description = "node, servicefunction, chain, service, secret or stack"),
        ("name" = String, Path, description = "its name"), ChangeQuery),
    responses((status = 200, body = ApplyResult, description = "what changed, or would"),
        (status = 404, body = ErrorReply, description = "it does not exist"),
        (status = 409, body = ErrorReply, description = "it is needed")))]
pub(super) async fn delete(
    State(app): State<App>,
    Segments((kind, name)): Segments<(String, String)>,
    Params(query): Params<ChangeQuery>,
) -> Answer {
    let id = id(&kind, &name)?;
    change(&app, Mutation::Delete(id), query.dry_run).await
}

/// Places nothing new on a node.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/cordon", tag = "nodes",
    params(("name" = String, Path, description = "node")),
    responses((status = 200, body = ApplyResult), (status = 404, body = ErrorReply)))]
pub(super) async fn cordon(State(app): State<App>, Segments(name): Segments<String>) -> Answer {
    set(&app, &name, true).await
}

/// Places on a node again.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/uncordon", tag = "nodes",
    params(("name" = String, Path, description = "node")),
    responses((status = 200, body = ApplyResult), (status = 404, body = ErrorReply)))]
pub(super) async fn uncordon(State(app): State<App>, Segments(name): Segments<String>) -> Answer {
    set(&app, &name, false).await
}

/// Seals secrets to the key that a node tells now.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/trust", tag = "nodes",
    params(("name" = String, Path, description = "node")),
    responses((status = 200, body = ApplyResult), (status = 404, body = ErrorReply)))]
pub(super) async fn trust(State(app): State<App>, Segments(name): Segments<String>) -> Answer {
    change(&app, Mutation::Trust(node(&name)?), false).await
}

/// Moves what can run elsewhere away from a node. Returns at once; instances tell when it is done.
#[utoipa::path(post, path = "/api/v1/nodes/{name}/drain", tag = "nodes",
    params(("name" = String, Path, description = "node"), ChangeQuery),
    responses((status = 200, body = ApplyResult), (status = 404, body = ErrorReply)))]
pub(super) async fn drain(
    State(app): State<App>,
    Segments(name): Segments<String>,
    Params(query): Params<ChangeQuery>,
) -> Answer {
    let mutation = Mutation::Cordon {
        node: node(&name)?,
        cordon: true,
        drain: true,
    };
    change(&app, mutation, query.dry_run).await
}

/// A node's name from a path; what cannot exist does not exist.
fn node(name: &str) -> Result<NodeName, ApiError> {
    NodeName::new(name).map_err(|_| ApiError::not_found(format!("node {name} does not exist")))
}

async fn set(app: &App, name: &str, cordon: bool) -> Answer {
    let mutation = Mutation::Cordon {
        node: node(name)?,
        cordon,
        drain: false,
    };
    change(app, mutation, false).await
}

/// A resource's identity from a path; what cannot exist does not exist.
pub(super) fn id(kind: &str, name: &str) -> Result<ResourceId, ApiError> {
    let kind: Kind = kind
        .parse()
        .map_err(|error: crate::resource::KindError| ApiError::not_found(error.to_string()))?;
    let missing = || ApiError::not_found(format!("{kind}/{name} does not exist"));
    Ok(ResourceId::new(
        kind,
        Name::new(name).map_err(|_| missing())?,
    ))
}

fn files(
    query: &ChangeQuery,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<ManifestFiles, ApiError> {
    let body = body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            ApiError::too_large()
        } else {
            ApiError::bad_request(rejection.body_text())
        }
    })?;
    let json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if json {
        return serde_json::from_slice(&body)
            .map_err(|error| ApiError::bad_request(format!("not {{files: […]}}: {error}")));
    }
    let name = query.file.clone().unwrap_or_else(|| "manifest".to_owned());
    match std::str::from_utf8(&body) {
        Ok(content) => Ok(ManifestFiles {
            files: vec![ManifestFile {
                name,
                content: content.to_owned(),
            }],
            ..ManifestFiles::default()
        }),
        Err(error) => {
            let good = body.get(..error.valid_up_to()).unwrap_or_default();
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid-manifest",
                format!("{name}:{line}: not UTF-8 text; a manifest is YAML"),
            ))
        }
    }
}

async fn change(app: &App, mutation: Mutation, dry_run: bool) -> Answer {
    let outcome = app.handle().mutate(mutation, dry_run).await?;
    Ok(Json(told(outcome, dry_run)))
}

fn told(outcome: Outcome, dry_run: bool) -> ApplyResult {
    let resources = outcome.changed.into_iter().map(|changed| ResourceChange {
        kind: crate::execute::word(changed.id.kind).to_owned(),
        name: changed.id.name.to_string(),
        change: match changed.change {
            Some(crate::plan::Change::Created) => Change::Created,
            Some(crate::plan::Change::Configured) => Change::Configured,
            Some(crate::plan::Change::Unchanged) => Change::Unchanged,
            None => Change::Deleted,
        },
        diff: unified(
            &yaml(changed.before.as_ref()),
            &yaml(changed.after.as_ref()),
        ),
    });
    ApplyResult {
        dry_run,
        revision: outcome.revision,
        resources: resources.collect(),
        warnings: outcome.warnings.into_iter().map(Into::into).collect(),
        steps: outcome
            .steps
            .iter()
            .map(|step| StepView {
                text: step.to_string(),
            })
            .collect(),
        evacuation: outcome.evacuation,
    }
}

/// A resource as a manifest; nothing for nothing.
fn yaml(resource: Option<&Shown>) -> String {
    resource
        .and_then(|resource| serde_saphyr::to_string(resource).ok())
        .unwrap_or_default()
}
