//! The route that captures along a chain: every box concerned captures, and what they see goes out
//! as one stream of pcapng.

use super::error::ApiError;
use super::look::carrying;
use super::params::{Params, Segments};
use super::routes::App;
use crate::manifest::hint;
use crate::mqtt::{CallError, Conversation};
use crate::pcapng::Merger;
use crate::plan::PathRecord;
use crate::views::ErrorReply;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::try_join_all;
use futures_util::stream;
use kc_agent_api::{NodeName, ReplyBody, octets};
use kc_forwarder_api::{Capture, CapturePoint, Request, Response as Answer};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a box may take to begin.
const PATIENCE: Duration = Duration::from_secs(8);
/// Pieces of captures that may wait for the reader.
const WAITING: usize = 16;

/// What to capture.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "kebab-case")]
pub(super) struct CaptureQuery {
    /// Boxes, functions, `ingress` or `egress`, separated by commas; everywhere when absent.
    at: Option<String>,
    /// End after so many packets.
    packets: Option<u64>,
    /// End after so many seconds; 600 at most, and when absent.
    seconds: Option<u64>,
    /// Octets kept of each packet; all of it when absent.
    snaplen: Option<u32>,
}

/// One capture on one box.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    node: NodeName,
    capture: Capture,
}

/// What to ask of which box, so that every place in `at` is seen.
fn wanted(chain: &str, path: &PathRecord, query: &CaptureQuery) -> Result<Vec<Wanted>, ApiError> {
    let base = Capture {
        spis: [path.forward].into_iter().chain(path.reverse).collect(),
        packets: query.packets,
        seconds: query.seconds,
        ..Capture::default()
    };
    let base = Capture {
        snaplen: query.snaplen.unwrap_or(base.snaplen),
        ..base
    };
    let on = |node: &NodeName, capture: Capture| Wanted {
        node: node.clone(),
        capture,
    };
    let nodes = path.nodes();
    let places: BTreeSet<&str> = query.at.iter().flat_map(|at| at.split(',')).collect();
    if places.is_empty() {
        let all = nodes.into_iter().map(|node| on(node, base.clone()));
        return Ok(all.collect());
    }
    let mut all = Vec::new();
    for place in places {
        let points = |points: &[CapturePoint]| Capture {
            points: points.to_vec(),
            ..base.clone()
        };
        let instance = path.instances.iter().find(|one| one.name == place);
        let node = nodes.iter().find(|node| node.as_str() == place);
        all.push(match (place, instance, node) {
            ("ingress", ..) => on(&path.spec.from.node, points(&[CapturePoint::Ingress])),
            ("egress", ..) => on(&path.spec.to.node, points(&[CapturePoint::Egress])),
            (_, Some(instance), _) => {
                let functions = instance.entry().into_iter().collect();
                let capture = Capture {
                    functions,
                    ..base.clone()
                };
                on(&instance.node, capture)
            }
            (_, None, Some(node)) => on(node, base.clone()),
            (_, None, None) => return Err(nowhere(chain, path, place)),
        });
    }
    Ok(all)
}

fn nowhere(chain: &str, path: &PathRecord, place: &str) -> ApiError {
    let nodes = path.nodes().into_iter().map(NodeName::to_string);
    let instances = path.instances.iter().map(|one| one.name.clone());
    let ends = ["ingress", "egress"].map(str::to_owned);
    let names: Vec<String> = nodes.chain(instances).chain(ends).collect();
    let hint = hint(place, "it passes", names.iter().map(String::as_str));
    let hint = hint.unwrap_or_default();
    ApiError::not_found(format!("chain {chain} does not pass {place}; {hint}"))
}

/// Captures along a chain's path, both ways, as pcapng.
#[utoipa::path(post, path = "/api/v1/chains/{name}/capture", tag = "look",
    params(("name" = String, Path, description = "chain"), CaptureQuery),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-pcapng",
            description = "one section; interfaces are called box/port; packets of a box are in its order"),
        (status = 404, body = ErrorReply, description = "no such chain, or it does not pass there"),
        (status = 409, body = ErrorReply, description = "the chain is on no path, or a box refuses"),
        (status = 503, body = ErrorReply), (status = 504, body = ErrorReply)))]
pub(super) async fn capture(
    State(app): State<App>,
    Segments(name): Segments<String>,
    Params(query): Params<CaptureQuery>,
) -> Result<Response, ApiError> {
    let moment = app.handle().snapshot();
    let wanted = wanted(&name, carrying(&moment, &name)?, &query)?;
    let merger = Merger::new(wanted.iter().map(|one| one.node.to_string()), query.packets);
    let calls = app.handle().calls();
    let begun = wanted.into_iter().map(|one| async move {
        let Wanted { node, capture } = one;
        let request = Request::Capture { capture };
        match calls.stream(&node, request, PATIENCE).await? {
            (Answer::Capturing, conversation) => Ok(conversation),
            (Answer::Error { error }, _) => Err(CallError::Refused {
                node,
                message: error.to_string(),
            }),
            _ => Err(CallError::Incomplete { node }),
        }
    });
    let conversations = try_join_all(begun).await?;
    let (sender, pieces) = mpsc::channel(WAITING);
    for (place, conversation) in conversations.into_iter().enumerate() {
        tokio::spawn(hand_on(place, conversation, sender.clone()));
    }
    drop(sender);
    let stream = stream::unfold((merger, pieces), |(mut merger, mut pieces)| async move {
        let mut out = Vec::new();
        while out.is_empty() {
            if merger.is_full() {
                return None;
            }
            let (place, piece): (usize, Vec<u8>) = pieces.recv().await?;
            if let Err(error) = merger.push(place, &piece, &mut out) {
                tracing::warn!(%error, "a capture cannot be read");
            }
        }
        Some((Ok::<_, Infallible>(Bytes::from(out)), (merger, pieces)))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-pcapng"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// Hands on what a box captures, until it ends or nobody reads any more.
async fn hand_on(
    place: usize,
    mut conversation: Conversation,
    pieces: mpsc::Sender<(usize, Vec<u8>)>,
) {
    loop {
        let part = tokio::select! {
            part = conversation.next() => part,
            () = pieces.closed() => return,
        };
        let base64 = match part {
            Ok(Some(ReplyBody::Data { base64, .. })) => base64,
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "a capture ends early");
                return;
            }
        };
        let Ok(piece) = octets(&base64) else {
            tracing::warn!("a capture ends early: its data are no base64");
            return;
        };
        if pieces.send((place, piece)).await.is_err() {
            return;
        }
    }
}
