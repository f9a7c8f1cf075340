//! Answers that go on: one JSON value a line, or server-sent events when the client accepts them.

use super::error::ApiError;
use super::params::Params;
use super::routes::App;
use crate::store::{EventQuery, StoredEvent};
use crate::views::{ErrorReply, WatchMark};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::Duration;

/// Marks come no faster than this.
const PACE: Duration = Duration::from_millis(200);
/// A silent stream says so, so that a dead client is noticed.
const SILENCE: Duration = Duration::from_secs(15);
/// Events fetched at once.
const BATCH: u32 = 1_000;

/// Which events.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "kebab-case")]
pub(super) struct EventsQuery {
    /// Only events with a greater id.
    since: u64,
    /// Only what concerns these nodes, instances or resources, separated by commas.
    about: Option<String>,
    /// At most so many, the newest; 1000 when absent.
    limit: Option<u32>,
    /// Go on: one event a line as application/x-ndjson, or as server-sent events.
    watch: bool,
}

/// What happened, oldest first.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventsQuery),
    responses((status = 200, body = Vec<StoredEvent>, description = "with watch: one event a line, without end"),
        (status = 500, body = ErrorReply)))]
pub(super) async fn events(
    State(app): State<App>,
    Params(query): Params<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let about: Vec<String> = query
        .about
        .iter()
        .flat_map(|names| names.split(','))
        .map(str::to_owned)
        .collect();
    if !query.watch {
        let wanted = EventQuery {
            after: query.since,
            about,
            limit: query.limit.unwrap_or(BATCH),
        };
        return Ok(Json(app.handle().events(wanted).await?).into_response());
    }
    let style = Style::of(&headers);
    let state = (app, query.since, about);
    let stream = stream::unfold(state, move |(app, mut after, about)| async move {
        let mut moments = app.handle().watch();
        loop {
            let newest = moments.borrow_and_update().last_event;
            if newest > after {
                let wanted = EventQuery {
                    after,
                    about: about.clone(),
                    limit: u32::MAX,
                };
                let events = app.handle().events(wanted).await.ok()?;
                after = newest.max(events.last().map_or(0, |event| event.id));
                if !events.is_empty() {
                    let text: String = events.iter().map(|event| style.frame(event)).collect();
                    return Some((text, (app, after, about)));
                }
            }
            match tokio::time::timeout(SILENCE, moments.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some((style.silence(), (app, after, about))),
            }
        }
    });
    Ok(style.answer(stream))
}

/// A line whenever something may look different.
#[utoipa::path(get, path = "/api/v1/watch", tag = "events",
    responses((status = 200, body = WatchMark, description = "one mark a line, without end")))]
pub(super) async fn watch(State(app): State<App>, headers: HeaderMap) -> Response {
    let style = Style::of(&headers);
    let moments = app.handle().watch();
    let stream = stream::unfold((moments, true), move |(mut moments, first)| async move {
        if !first {
            tokio::time::sleep(PACE).await;
            match tokio::time::timeout(SILENCE, moments.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some((style.silence(), (moments, false))),
            }
        }
        let mark = {
            let moment = moments.borrow_and_update();
            WatchMark {
                revision: moment.revision,
                last_event: moment.last_event,
            }
        };
        Some((style.frame(&mark), (moments, false)))
    });
    style.answer(stream)
}

/// How values are set apart.
#[derive(Debug, Clone, Copy)]
enum Style {
    Lines,
    ServerSent,
}

impl Style {
    fn of(headers: &HeaderMap) -> Self {
        let accepts = |value: &header::HeaderValue| {
            let text = value.to_str().unwrap_or_default();
            text.contains("text/event-stream")
        };
        if headers.get(header::ACCEPT).is_some_and(accepts) {
            Self::ServerSent
        } else {
            Self::Lines
        }
    }

    fn frame<T: Serialize>(self, value: &T) -> String {
        let json = serde_json::to_string(value).unwrap_or_default();
        match self {
            Self::Lines => format!("{json}\n"),
            Self::ServerSent => format!("data: {json}\n\n"),
        }
    }

    /// Says nothing, visibly to TCP only.
    fn silence(self) -> String {
        match self {
            Self::Lines => "\n".to_owned(),
            Self::ServerSent => ": still here\n\n".to_owned(),
        }
    }

    fn answer(self, stream: impl stream::Stream<Item = String> + Send + 'static) -> Response {
        use futures_util::StreamExt as _;
        let kind = match self {
            Self::Lines => "application/x-ndjson",
            Self::ServerSent => "text/event-stream",
        };
        let body = Body::from_stream(stream.map(|text| Ok::<_, Infallible>(Bytes::from(text))));
        let headers = [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-store"),
        ];
        (headers, body).into_response()
    }
}
