//! The fast path, as far as it decides: what of the tables the kernel may do by itself, what its
//! program needs to know, and what its counters mean. No socket, no map; see `port::fast`.

pub(crate) mod layout;
pub(crate) mod netlink;
pub(crate) mod plan;
pub(crate) mod scene;
pub(crate) mod slots;
pub(crate) mod tally;
