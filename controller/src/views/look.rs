//! What is seen when looking into a chain: echoes, traces, probes.

use kc_forwarder_api::ProbeReport;
use serde::{Deserialize, Serialize};

/// What came of one echo along a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EchoView {
    /// The chain.
    pub chain: String,
    /// `forward` or `return`.
    pub direction: String,
    /// Service path.
    pub spi: u32,
    /// The box that should answer: the last one of the path.
    pub expected: String,
    /// The answer; absent when there was silence.
    pub answer: Option<EchoAnswer>,
}

/// The answer to an echo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EchoAnswer {
    /// The box that answered.
    pub node: String,
    /// What it says: `end of the path` when all is well.
    pub code: String,
    /// Whether the echo reached the path's end.
    pub end: bool,
    /// Round trip in microseconds.
    pub rtt_us: u64,
    /// Largest inner IP packet that fits there, bytes.
    pub mtu: Option<u16>,
}

/// A path, asked hop by hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceView {
    /// The chain.
    pub chain: String,
    /// `forward` or `return`.
    pub direction: String,
    /// Service path.
    pub spi: u32,
    /// Whether an echo reached the path's end.
    pub complete: bool,
    /// What is broken, for people; absent when nothing is.
    pub broken: Option<String>,
    /// One SFF after the other.
    pub hops: Vec<TraceHop>,
}

/// One SFF of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceHop {
    /// SFFs before it.
    pub number: usize,
    /// The box.
    pub node: String,
    /// `ok`, `end`, `silent` or `broken`.
    pub state: String,
    /// Round trip in microseconds.
    pub rtt_us: Option<u64>,
    /// Largest inner IP packet that its next hop takes, bytes.
    pub mtu: Option<u16>,
    /// Functions of the path there.
    pub functions: Vec<EchoFunctionView>,
}

/// A function as its SFF sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EchoFunctionView {
    /// Instance.
    pub name: String,
    /// `alive`, `dead` or `unknown`.
    pub state: String,
    /// Round trip of the SFF's last probe of it, microseconds.
    pub rtt_us: Option<u32>,
}

/// What came of real traffic into a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeView {
    /// The chain.
    pub chain: String,
    /// The box whose forwarder probed.
    pub node: String,
    /// The port by which it came in.
    pub port: String,
    /// Whom it asked.
    pub target: String,
    /// What the forwarder measured, in its own words: counts, and times in microseconds.
    #[schema(value_type = Object)]
    pub report: ProbeReport,
}
