//! Plain VXLAN segments (RFC 7348): which member a frame of a segment goes to. Knows MAC
//! addresses and members; encapsulation is the pipeline's.

mod fdb;
mod flows;

pub(crate) use fdb::Fdb;
pub(crate) use flows::{Flows, Sign, TCP};
