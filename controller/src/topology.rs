//! SFFs, the service functions behind them and the links between them, as one graph.

/// The graph.
#[derive(Debug, Clone, Default)]
pub struct Topology {}
