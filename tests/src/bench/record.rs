//! Results as they are kept: one JSON object a line, each with its `kind`.

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Line {
    /// Begins a run: where and with what.
    Run(Run),
    /// One trial of one contestant.
    Trial(Trial),
    /// Times that packets took.
    Latency(Latency),
    /// What a contestant takes while it has little or nothing to do.
    Rest(Rest),
    /// Tables replaced while packets flow.
    Swap(Swap),
    /// A contestant that could not take part.
    Skipped(Skipped),
}

/// Where and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// When, UTC, as `date` prints it.
    pub began: String,
    /// Kernel release.
    pub kernel: String,
    /// Model of the CPU.
    pub processor: String,
    /// How many CPUs there are.
    pub processors: usize,
    /// Version of `kc-forwarder`.
    pub forwarder: String,
    /// Version of Open vSwitch, if it is there.
    pub open_vswitch: String,
    /// The command line.
    pub command: String,
}

/// What identifies a measurement, apart from whose it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Case {
    /// What it was measured for: `capacity`, or `paths`, `rules`, `flows` for how it scales.
    pub measure: String,
    /// Work.
    pub work: String,
    /// Octets of inner frames, 0 for the mix.
    pub size: u16,
    /// Inner flows.
    pub flows: u32,
    /// Service paths in the tables.
    pub paths: u32,
    /// Rules in the tables.
    pub rules: u32,
    /// Outer UDP checksums complete.
    pub checksum: bool,
    /// Receiving was on the contestant's CPU, too.
    pub one_core: bool,
}

/// One trial of one contestant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// What was measured.
    #[serde(flatten)]
    pub case: Case,
    /// Whose it is.
    pub contestant: String,
    /// For whose sake: the contestant that it is the pair of, or itself.
    pub beside: String,
    /// Number of the pair.
    pub round: u32,
    /// Million frames a second that arrived at the contestant.
    pub offered: f64,
    /// Million frames a second that came out of it.
    pub forwarded: f64,
    /// CPUs that it used.
    pub cpu: f64,
    /// Share of the time that it could have run and others did.
    pub disturbed: f64,
    /// Million frames for each second of CPU time.
    pub norm: f64,
    /// Octets of a frame that came out.
    pub octets: f64,
}

impl Trial {
    /// Whether it had work all the time: otherwise the generator was measured. Then `forwarded` is
    /// no limit of the contestant; `norm` still tells what a packet costs.
    pub fn is_saturated(&self) -> bool {
        self.cpu + self.disturbed > 0.9
    }
}

/// Times that packets took from generator to sink, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Work.
    pub work: String,
    /// Whose it is.
    pub contestant: String,
    /// Octets of inner frames.
    pub size: u16,
    /// Load as a share of what the contestant forwarded at most, just before.
    pub load: f64,
    /// Million packets a second that were sent.
    pub sent: f64,
    /// Packets whose time was taken.
    pub probes: u32,
    /// Share of all packets that never came.
    pub lost: f64,
    /// Median.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1000 took no longer.
    pub p999: f64,
    /// The longest.
    pub longest: f64,
}

/// What a contestant takes while it has little or nothing to do. Its processes together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rest {
    /// Whose it is.
    pub contestant: String,
    /// Service paths in its tables.
    pub paths: u32,
    /// Memory that it alone has, and its share of what it shares, in MiB.
    pub pss: f64,
    /// Memory that it has, in MiB.
    pub rss: f64,
    /// Memory after packets have been there, PSS, in MiB.
    pub pss_after: f64,
    /// Share of a CPU without traffic; absent where it was not measured.
    pub idle_cpu: Option<f64>,
    /// Wake-ups a second without traffic.
    pub wakeups: Option<f64>,
}

/// Tables replaced while packets flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Swap {
    /// Whose it is.
    pub contestant: String,
    /// Rules in the tables that were loaded.
    pub rules: u32,
    /// Number of the load.
    pub round: u32,
    /// Seconds from asking to the answer that they are in force.
    pub seconds: f64,
    /// Packets sent meanwhile and around it.
    pub sent: u64,
    /// Packets that never came.
    pub lost: u64,
    /// The longest time that a packet took, in microseconds.
    pub longest: f64,
}

/// A contestant that could not take part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Who.
    pub contestant: String,
    /// In which work.
    pub work: String,
    /// Why.
    pub reason: String,
}
