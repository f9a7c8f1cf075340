//! Who is where on a LAN: MAC addresses of next hops, asked for by ARP (RFC 826) and IPv6
//! neighbour discovery (RFC 4861), and answers for our own. Pure: octets and the time in, octets
//! and verdicts out.
//!
//! Only stations that the tables name have an entry. Whatever else is said on a LAN can neither
//! fill this memory nor push anything out of it.

mod entry;
mod message;
mod table;

pub(crate) use entry::{Question, Way};
pub(crate) use message::{Said, Station, announce, answer, ask, nearest};
pub(crate) use table::{Neighbours, Overdue};
