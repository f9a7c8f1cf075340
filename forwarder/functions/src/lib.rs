//! Service functions for chains: each is a pure core that takes frames and `now` and returns
//! verdicts, and one shell that moves frames between the core and its network interfaces.
//! Beside them stand what a chain's container and a test need: `pause`, `serve` and `probe`.

pub mod duration;
pub mod pause;
pub mod probe;
pub mod serve;
pub mod signals;
