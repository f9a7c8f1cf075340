//! Plain VXLAN segments (RFC 7348): which member a frame of a segment goes to. Knows MAC
//! addresses and members; encapsulation is the pipeline's.

mod fdb;

pub(crate) use fdb::Fdb;
