//! What functions see in a frame, and how they change it: a reading of its headers, rewritten
//! ends, packets quoted in ICMP errors, answers, and the neighbour protocols.

mod answer;
mod neighbour;
mod quoted;
mod reading;
mod rewrite;

pub(crate) use answer::{may_answer_error, reset_back, reset_onward, unreachable};
pub(crate) use neighbour::{answer_neighbour, asked};
pub(crate) use quoted::Quoted;
pub(crate) use reading::{FragmentId, Kind, Reading};
pub(crate) use rewrite::{End, retag, rewrite, set_macs};

/// IP protocol numbers.
pub(crate) mod protocol {
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ICMPV6: u8 = 58;
}
