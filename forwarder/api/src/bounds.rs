//! How many entries each list of the tables may have. Beyond them nothing is refused half: tables
//! are taken whole or not at all, and the error names the list and its bound. What the tables
//! cost in memory grows with these numbers and with nothing a packet does.

/// [`Tables::ports`](crate::Tables::ports): each holds sockets and their buffers.
pub const PORTS: usize = 4096;

/// [`Port::addresses`](crate::Port::addresses).
pub const ADDRESSES: usize = 64;

/// [`Tables::tunnels`](crate::Tables::tunnels).
pub const TUNNELS: usize = 16_384;

/// [`Tables::functions`](crate::Tables::functions): each has a memory of its flows.
pub const FUNCTIONS: usize = 4096;

/// [`Tables::groups`](crate::Tables::groups): each has 32 KiB of buckets.
pub const GROUPS: usize = 1024;

/// [`Group::members`](crate::Group::members).
pub const GROUP_MEMBERS: usize = 64;

/// [`Tables::rules`](crate::Tables::rules).
pub const RULES: usize = 131_072;

/// [`Tables::paths`](crate::Tables::paths).
pub const PATHS: usize = 131_072;

/// [`Path::hops`](crate::Path::hops): as many as a service index has values.
pub const HOPS: usize = 256;

/// Hops of all paths together.
pub const ALL_HOPS: usize = 524_288;

/// [`Tables::segments`](crate::Tables::segments): each has a table of the addresses it learned.
pub const SEGMENTS: usize = 1024;

/// [`Segment::ports`](crate::Segment::ports).
pub const MEMBERS: usize = 1024;

/// [`Segment::peers`](crate::Segment::peers): a frame to everybody is sent to each.
pub const PEERS: usize = 1024;

/// [`Segment::entries`](crate::Segment::entries).
pub const ENTRIES: usize = 65_536;

/// [`Segment::virtuals`](crate::Segment::virtuals).
pub const VIRTUALS: usize = 1024;

/// [`VirtualAddress::members`](crate::VirtualAddress::members): each new flow asks all of them.
pub const VIRTUAL_MEMBERS: usize = 1024;
