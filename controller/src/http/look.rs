//! Routes that look into a chain: echoes, traces and probes along its path, asked of the boxes.

use super::error::ApiError;
use super::params::{Params, Segments};
use super::routes::App;
use crate::execute::Snapshot;
use crate::mqtt::CallError;
use crate::plan::PathRecord;
use crate::resource::Name;
use crate::trace::{Trace, stations};
use crate::views::{self, EchoAnswer, EchoView, ErrorReply, PathView, ProbeView, TraceView};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ipnet::IpNet;
use kc_agent_api::NodeName;
use kc_forwarder_api::{
    Echo, EchoCode, EchoReply, Probe, ProbeTarget, Request, Responder, Response, Spi, Ttl,
};
use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;

/// What an answer may take beyond what was asked for.
const PATIENCE: Duration = Duration::from_secs(6);
/// Echoes sent for each hop of a trace before it counts as silent.
const TRIES: usize = 2;

/// Which echo.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "kebab-case")]
pub(super) struct EchoQuery {
    /// Along the return path.
    #[serde(rename = "return")]
    back: bool,
    /// Milliseconds to wait for each answer.
    timeout: u32,
    /// Length of the request in octets, for finding out what fits.
    size: u16,
}

impl Default for EchoQuery {
    fn default() -> Self {
        Self {
            back: false,
            timeout: 1_000,
            size: 0,
        }
    }
}

/// A chain's path in one direction.
pub(super) struct Way {
    pub(super) view: PathView,
    spi: Spi,
    /// Where it begins.
    start: NodeName,
}

/// The path in use of the chain `name`.
pub(super) fn carrying<'a>(moment: &'a Snapshot, name: &str) -> Result<&'a PathRecord, ApiError> {
    let missing = || ApiError::not_found(format!("chain {name} does not exist"));
    let chain = Name::new(name).map_err(|_| missing())?;
    let view = views::chains(moment)
        .into_iter()
        .find(|view| view.name == name)
        .ok_or_else(missing)?;
    let record = moment.state.chains.get(&chain);
    record.and_then(|record| record.carrying()).ok_or_else(|| {
        let reason = view.reason.unwrap_or(view.state);
        let message = format!("chain {name} is on no path: {reason}");
        ApiError::new(StatusCode::CONFLICT, "no-path", message)
    })
}

fn way(moment: &Snapshot, name: &str, back: bool) -> Result<Way, ApiError> {
    let path = carrying(moment, name)?;
    let (spi, start) = if back {
        let message = format!("chain {name} has no return path");
        let none = || ApiError::new(StatusCode::CONFLICT, "no-path", message);
        (path.reverse.ok_or_else(none)?, &path.spec.to.node)
    } else {
        (path.forward, &path.spec.from.node)
    };
    let mut all = views::paths(moment).into_iter();
    let view = all.find(|view| view.spi == spi.get());
    let view = view.ok_or_else(|| ApiError::not_found(format!("path {spi} does not exist")))?;
    Ok(Way {
        view,
        spi,
        start: start.clone(),
    })
}

impl Way {
    async fn echo(
        &self,
        app: &App,
        query: &EchoQuery,
        ttl: Option<Ttl>,
    ) -> Result<Option<EchoReply>, ApiError> {
        let echo = Echo {
            spi: self.spi,
            si: None,
            ttl,
            timeout_ms: query.timeout,
            size: query.size,
        };
        let limit = PATIENCE + Duration::from_millis(query.timeout.into());
        let calls = app.handle().calls();
        let asked = calls.forwarder(&self.start, Request::Echo { echo }, limit);
        match asked.await? {
            Response::Echo { reply } => Ok(reply),
            other => Err(unwanted(&self.start, other)),
        }
    }
}

fn unwanted(node: &NodeName, response: Response) -> ApiError {
    let node = node.clone();
    match response {
        Response::Error { error } => CallError::Refused {
            node,
            message: error.to_string(),
        },
        _ => CallError::Incomplete { node },
    }
    .into()
}

/// The name by which users know whoever answered.
fn answerer(moment: &Snapshot, reply: &EchoReply) -> Option<String> {
    match reply.from.as_ref()? {
        Responder::Name(name) => Some(name.to_string()),
        Responder::Address(address) => {
            let mut nodes = moment.state.nodes.iter();
            let node = nodes.find(|(_, record)| record.vtep == Some(*address));
            node.map(|(name, _)| name.to_string())
        }
    }
}

/// Sends one echo along a chain's path, to its end.
#[utoipa::path(post, path = "/api/v1/chains/{name}/echo", tag = "look",
    params(("name" = String, Path, description = "chain"), EchoQuery),
    responses((status = 200, body = EchoView, description = "what came of it; no answer within the time is one too"),
        (status = 404, body = ErrorReply), (status = 409, body = ErrorReply, description = "the chain is on no path, or a box refuses"),
        (status = 503, body = ErrorReply), (status = 504, body = ErrorReply, description = "a box does not answer the controller")))]
pub(super) async fn echo(
    State(app): State<App>,
    Segments(name): Segments<String>,
    Params(query): Params<EchoQuery>,
) -> Result<Json<EchoView>, ApiError> {
    let moment = app.handle().snapshot();
    let way = way(&moment, &name, query.back)?;
    let reply = way.echo(&app, &query, None).await?;
    let last = stations(&way.view).pop();
    Ok(Json(EchoView {
        chain: name,
        direction: way.view.direction,
        spi: way.spi.get(),
        expected: last.map_or_else(|| way.start.to_string(), |last| last.node),
        answer: reply.map(|reply| EchoAnswer {
            node: answerer(&moment, &reply).unwrap_or_else(|| "?".to_owned()),
            code: reply.code.to_string(),
            end: reply.code == EchoCode::EndOfPath,
            rtt_us: reply.rtt_us,
            mtu: reply.mtu,
        }),
    }))
}

/// Asks a chain's path hop by hop.
#[utoipa::path(post, path = "/api/v1/chains/{name}/trace", tag = "look",
    params(("name" = String, Path, description = "chain"), EchoQuery),
    responses((status = 200, body = TraceView, description = "every SFF and function, and what is broken"),
        (status = 404, body = ErrorReply), (status = 409, body = ErrorReply, description = "the chain is on no path, or a box refuses"),
        (status = 503, body = ErrorReply), (status = 504, body = ErrorReply, description = "a box does not answer the controller")))]
pub(super) async fn trace(
    State(app): State<App>,
    Segments(name): Segments<String>,
    Params(query): Params<EchoQuery>,
) -> Result<Json<TraceView>, ApiError> {
    let moment = app.handle().snapshot();
    let way = way(&moment, &name, query.back)?;
    let mut trace = Trace::new(&way.view);
    for ttl in (0..).map_while(|ttl| Ttl::new(ttl).ok()) {
        let mut reply = None;
        for _ in 0..TRIES {
            reply = way.echo(&app, &query, Some(ttl)).await?;
            if reply.is_some() {
                break;
            }
        }
        let node = reply.as_ref().and_then(|reply| answerer(&moment, reply));
        if !trace.heard(reply.as_ref(), node) {
            break;
        }
    }
    Ok(Json(trace.view()))
}

/// Which probe.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "kebab-case")]
pub(super) struct ProbeQuery {
    /// `tcp://10.0.0.2:80`, `udp://10.0.0.2:7` or `icmp://10.0.0.2`.
    target: String,
    /// Address and network to send from, such as `10.0.0.250/24`; nobody else may use the address.
    #[param(value_type = String)]
    source: IpNet,
    /// Router to a target outside of that network.
    #[param(value_type = Option<String>)]
    gateway: Option<IpAddr>,
    /// How many; 10 when absent.
    count: Option<u32>,
    /// Milliseconds from one to the next; 200 when absent.
    interval: Option<u32>,
    /// Milliseconds to wait for each answer; 1000 when absent.
    timeout: Option<u32>,
    /// Octets of payload; for TCP, octets that are to be echoed.
    size: Option<u16>,
}

/// Sends real traffic into a chain, by the port where it begins, and measures what comes back.
#[utoipa::path(post, path = "/api/v1/chains/{name}/probe", tag = "look",
    params(("name" = String, Path, description = "chain"), ProbeQuery),
    responses((status = 200, body = ProbeView), (status = 400, body = ErrorReply),
        (status = 404, body = ErrorReply), (status = 409, body = ErrorReply, description = "the chain is on no path, or the box refuses"),
        (status = 503, body = ErrorReply), (status = 504, body = ErrorReply, description = "the box does not answer the controller")))]
pub(super) async fn probe(
    State(app): State<App>,
    Segments(name): Segments<String>,
    Params(query): Params<ProbeQuery>,
) -> Result<Json<ProbeView>, ApiError> {
    let moment = app.handle().snapshot();
    let from = &carrying(&moment, &name)?.spec.from;
    let target: ProbeTarget =
        query
            .target
            .parse()
            .map_err(|error: kc_forwarder_api::ProbeTargetError| {
                ApiError::bad_request(error.to_string())
            })?;
    let probe = Probe {
        port: from.interface.clone(),
        source: query.source,
        gateway: query.gateway,
        target,
        count: query.count.unwrap_or(10),
        interval_ms: query.interval.unwrap_or(200),
        timeout_ms: query.timeout.unwrap_or(1_000),
        size: query.size.unwrap_or(0),
    };
    let limit = PATIENCE + Duration::from_millis(probe.longest_ms());
    let calls = app.handle().calls();
    let asked = calls.forwarder(&from.node, Request::Probe { probe }, limit);
    match asked.await? {
        Response::Probe { report } => Ok(Json(ProbeView {
            chain: name,
            node: from.node.to_string(),
            port: from.interface.to_string(),
            target: target.to_string(),
            report,
        })),
        other => Err(unwanted(&from.node, other)),
    }
}
