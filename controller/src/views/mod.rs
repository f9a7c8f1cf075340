//! What the HTTP API answers with and `kc` prints: the cluster as people ask about it. Types
//! are in base units (bytes, milliseconds, percent); people's units are made where they are
//! printed. Building a view is pure.

mod alarm;
mod answer;
mod build_chain;
mod build_node;
mod chain;
mod diff;
mod doctor;
mod evacuation;
mod inside;
mod look;
mod node;
mod secret;
mod stack;
mod unified;
mod update;
mod workload;

pub use alarm::alarms;
pub use answer::{DocumentView, ExplainView, PlanView, TopView, VersionView, WatchMark, plan};
pub use build_chain::{chains, explain, paths};
pub use build_node::{functions, instances, nodes, services};
pub use chain::{ChainView, HopView, MemberView, PathView};
pub use diff::{
    ApplyResult, Change, ErrorBody, ErrorReply, ManifestFile, ManifestFiles, ManifestProblem,
    ResourceChange, StepView,
};
pub use doctor::{
    DoctorView, NodeFindings, clock_finding, controller_findings, no_answer, node_findings,
};
pub use evacuation::{EvacuationView, StayView, evacuation};
pub use inside::{CopyRequest, ExecRequest};
pub use look::{EchoAnswer, EchoFunctionView, EchoView, ProbeView, TraceHop, TraceView};
pub use node::{NodeCondition, NodeView, PacketIoView};
pub use secret::{SecretKeyView, SecretView, secrets};
pub use stack::{
    StackOutputView, StackParameterView, StackResourceView, StackView, attributes, stacks,
};
pub use unified::unified;
pub use update::{UpdateRequest, UpdateStateView, UpdateView};
pub use workload::{EndpointView, FunctionView, InstanceView, ServiceView};
