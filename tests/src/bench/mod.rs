//! What the benchmark against peers computes: frames to send, statistics of what came out, tables
//! and plots. Pure: no clock, no process, no network; those are in `benches/peers`.

pub mod frames;
pub mod judge;
pub mod plot;
pub mod record;
pub mod report;
pub mod statistics;
pub mod summary;
pub mod table;
