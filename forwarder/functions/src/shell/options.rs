//! How a function is wired, as told on the command line.

use crate::duration;
use kc_forwarder_api::Backend;
use std::time::Duration;

/// Options that all functions share.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Leg towards the clients; with --outside, a bump in the wire.
    #[arg(
        long,
        value_name = "IFACE",
        requires = "outside",
        conflicts_with = "port",
        required_unless_present = "port"
    )]
    pub inside: Option<String>,
    /// Leg towards the servers.
    #[arg(
        long,
        value_name = "IFACE",
        requires = "inside",
        conflicts_with = "port"
    )]
    pub outside: Option<String>,
    /// The only leg; frames come addressed to it and go back by it.
    #[arg(long, value_name = "IFACE")]
    pub port: Option<String>,
    /// The only leg carries NSH (EtherType 0x894F) with Ethernet inside.
    #[arg(long, requires = "port")]
    pub nsh: bool,
    /// Packet I/O: auto, pnet, packet or xdp.
    #[arg(long, value_name = "BACKEND", default_value_t = Backend::Auto)]
    pub io_backend: Backend,
    /// Longest wait for the legs to appear and be up.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = wait)]
    pub wait: Duration,
    /// Leave the legs alone for this long first, as a function does that starts slowly; for tests.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub open_after: Option<Duration>,
    /// Print the counters this often; else on SIGUSR1 and at the end only.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub stats_interval: Option<Duration>,
}

/// A time, or a bare number of seconds.
fn wait(text: &str) -> Result<Duration, duration::DurationError> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => duration::parse(text),
    }
}

/// How frames come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wiring {
    /// What enters by one leg leaves by the other.
    TwoLeg,
    /// What enters leaves by the same leg, addressed to where it came from.
    OneLeg,
    /// The same, in NSH.
    Nsh,
}

impl Options {
    pub(super) fn wiring(&self) -> Wiring {
        match (&self.port, self.nsh) {
            (None, _) => Wiring::TwoLeg,
            (Some(_), false) => Wiring::OneLeg,
            (Some(_), true) => Wiring::Nsh,
        }
    }

    /// Interfaces to open, in the order of the legs.
    pub(super) fn interfaces(&self) -> Vec<&str> {
        let all = [&self.port, &self.inside, &self.outside];
        all.into_iter().flatten().map(String::as_str).collect()
    }
}
