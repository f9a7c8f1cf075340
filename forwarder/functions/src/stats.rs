//! Counters: what came, what went, what was dropped and why.

use serde::Serialize;
use std::collections::BTreeMap;

/// Why a frame ended in a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropCause {
    /// Headers that contradict the frame's length or themselves.
    Malformed,
    /// A checksum that nobody left open, and wrong.
    BadChecksum,
    /// A rule, or the default, says deny.
    RuleDeny,
    /// A rule says reject; the sender was told.
    RuleReject,
    /// Blocked by name.
    Blocked,
    /// A later fragment whose first one was not seen or not passed.
    UnknownFragment,
    /// Belongs to no known connection and may not begin one.
    NoConnection,
    /// The table of connections is full of live ones.
    TableFull,
    /// No NAT mapping leads inside.
    NoMapping,
    /// Every port of the NAT address is taken.
    NoPort,
    /// An IP protocol this function cannot translate.
    Unsupported,
    /// No healthy backend.
    NoBackend,
    /// The backend's MAC address is not known yet.
    Unresolved,
    /// Not addressed to this function's only leg.
    NotForUs,
    /// A super-frame that cannot be cut.
    SuperFrame,
    /// On an NSH leg, a frame that is not NSH.
    NotNsh,
    /// NSH that carries neither Ethernet nor IP.
    NextProtocol,
    /// NSH with the O bit.
    Oam,
    /// NSH whose service index is used up.
    IndexExhausted,
}

/// Frames and their octets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// Octets.
    pub bytes: u64,
}

impl Tally {
    /// One more frame of `length` octets.
    pub fn add(&mut self, length: usize) {
        self.frames += 1;
        self.bytes += length as u64;
    }
}

/// What every function counts. `received = passed + consumed + dropped` holds at all times;
/// super-frames count as the segments they were cut into, and frames in NSH without it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stats {
    /// Frames that came in.
    pub received: Tally,
    /// Frames that went on or back.
    pub passed: Tally,
    /// Frames that were meant for the function itself.
    pub consumed: Tally,
    /// Frames that ended here, by cause.
    pub dropped: BTreeMap<DropCause, Tally>,
    /// Frames that the function sent of its own.
    pub answered: Tally,
    /// Own frames that could not be sent, because no service path is known that leads there.
    pub unsendable: Tally,
    /// Frames the kernel did not take, by cause.
    pub lost: BTreeMap<String, Tally>,
}

impl Stats {
    /// One frame of `length` octets ended here.
    pub fn drop(&mut self, cause: DropCause, length: usize) {
        self.dropped.entry(cause).or_default().add(length);
    }
}
