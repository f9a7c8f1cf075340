//! What is too long for the next link: clamped before it is sent, cut where that is allowed,
//! answered where it is not; and what others have cut, which stays together. Works on bytes and a [`Packet`]; knows neither paths nor ports.
//!
//! [`Packet`]: crate::pipeline::Packet

mod bucket;
mod bytes;
pub(crate) mod datagrams;
pub(crate) mod fragment;
pub(crate) mod icmp;
pub(crate) mod mss;
pub(crate) mod segment;
pub(crate) mod sums;

pub(crate) use bucket::Bucket;
