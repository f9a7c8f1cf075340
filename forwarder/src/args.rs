//! The command line.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use kc_forwarder::control::DEFAULT_SOCKET;
use kc_forwarder_api::{
    Capture, CapturePoint, PortName, ProbeTarget, SfName, Si, Spi, Ttl, WHOLE_FRAME,
};
use std::net::IpAddr;
use std::path::PathBuf;

/// Service function forwarder: NSH, VXLAN-GPE and VXLAN in user space.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a verb it runs.\n\
        Exit codes: 0 done, 1 failed or packets lost, 2 wrong usage, 3 refused by the forwarder, 4 no forwarder answers."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: Run,
}

impl Args {
    /// What to do.
    pub(crate) fn verb(self) -> Verb {
        self.verb.unwrap_or(Verb::Run(self.run))
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Forward packets until SIGTERM or SIGINT; SIGHUP reads the file again.
    Run(Run),
    /// Check a file of tables without using it.
    Check {
        /// Tables, .toml or .json.
        file: PathBuf,
        /// How to print what is in it: how many of what, or all of it.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Replace the tables of a running forwarder. Without a generation the file gets the next one.
    Apply {
        /// Tables, .toml or .json.
        file: PathBuf,
        #[command(flatten)]
        socket: Socket,
    },
    /// Show what a running forwarder has counted.
    Counters {
        #[command(flatten)]
        socket: Socket,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show version, generation and ports of a running forwarder.
    Status {
        #[command(flatten)]
        socket: Socket,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show the tables in force, as TOML or JSON.
    Tables {
        #[command(flatten)]
        socket: Socket,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Send echoes down a service path (RFC 9516) and tell who answers, and how soon.
    ///
    /// Every SFF on the way handles them; functions do not see them. An answer comes from the end
    /// of the path, or from the SFF that cannot send the echo on, which says why. Exit code 0 only
    /// when every echo reached the end.
    Ping(Ping),
    /// Name every SFF and function of a service path, its MTUs and round trips, and what is broken.
    ///
    /// The first line is this forwarder. When nobody answers behind an SFF, that SFF is the last
    /// one named. Exit code 0 only when the end was reached and no function on the path is dead.
    Trace(TraceArgs),
    /// Send real TCP, UDP or ICMP traffic by an access port, as if a host behind it did, and
    /// measure loss, latency and jitter. Exit code 0 only without loss.
    Probe(Probe),
    /// Show frames and what became of them, as pcapng with comments that name port, path and
    /// verdict. To be piped into Wireshark, or written to a file.
    Capture(CaptureArgs),
    /// Send known frames through the data plane in memory; needs no rights.
    SelfTest,
}

/// How to run.
#[derive(Debug, ClapArgs)]
pub(crate) struct Run {
    /// Tables to start with, .toml or .json.
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
    /// Control socket.
    #[arg(short, long, env = "KC_FORWARDER_SOCKET", default_value = DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
    /// Threads that move packets at most: one decides, and when that is not enough, others send.
    /// As many as there are processors, and four at most, unless given.
    #[arg(long, env = "KC_FORWARDER_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threads: Option<u16>,
    /// What to log: error, warn, info, debug, trace.
    #[arg(long, env = "KC_LOG", default_value = "info")]
    pub(crate) log: String,
}

/// What to capture, and how long. Options of one kind add up; options of different kinds narrow
/// each other.
#[derive(Debug, ClapArgs)]
pub(crate) struct CaptureArgs {
    /// Service path; may be given several times.
    #[arg(long = "spi", value_name = "SPI", value_parser = spi)]
    pub(crate) spis: Vec<Spi>,
    /// Port that a frame comes in or leaves by; may be given several times.
    #[arg(short, long = "port", value_name = "PORT")]
    pub(crate) ports: Vec<PortName>,
    /// Function that a frame goes into or comes out of; may be given several times.
    #[arg(short, long = "function", value_name = "FUNCTION")]
    pub(crate) functions: Vec<SfName>,
    /// Where to look: ingress, function, tunnel, egress or drop; may be given several times.
    #[arg(long = "at", value_name = "POINT")]
    pub(crate) points: Vec<CapturePoint>,
    /// Octets kept of each frame at most.
    #[arg(long, default_value_t = WHOLE_FRAME, value_name = "OCTETS")]
    pub(crate) snaplen: u32,
    /// End after so many packets.
    #[arg(short = 'c', long = "count", value_name = "PACKETS")]
    pub(crate) packets: Option<u64>,
    /// End after so many seconds.
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// File to write; - is standard output, which must not be a terminal.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) socket: Socket,
}

impl CaptureArgs {
    /// What is asked of the forwarder.
    pub(crate) fn request(&self) -> Capture {
        Capture {
            spis: self.spis.clone(),
            ports: self.ports.clone(),
            functions: self.functions.clone(),
            points: self.points.clone(),
            snaplen: self.snaplen,
            packets: self.packets,
            seconds: self.seconds,
        }
    }
}

/// Which path to ping, and how.
#[derive(Debug, ClapArgs)]
pub(crate) struct Ping {
    /// Service path identifier.
    #[arg(value_parser = spi)]
    pub(crate) spi: Spi,
    /// Service index to begin with; the highest that the path has here unless given.
    #[arg(long, value_parser = si)]
    pub(crate) si: Option<Si>,
    /// SFFs that an echo may reach.
    #[arg(long, value_parser = ttl)]
    pub(crate) ttl: Option<Ttl>,
    /// How many.
    #[arg(short, long, default_value_t = 4)]
    pub(crate) count: u32,
    /// Milliseconds from one to the next.
    #[arg(short, long, default_value_t = 200, value_name = "MS")]
    pub(crate) interval: u32,
    /// Milliseconds to wait for each answer.
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    pub(crate) timeout: u32,
    /// Octets of each echo, NSH included, to find out what fits.
    #[arg(long, default_value_t = 0)]
    pub(crate) size: u16,
    #[command(flatten)]
    pub(crate) socket: Socket,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// Which path to trace, and how.
#[derive(Debug, ClapArgs)]
pub(crate) struct TraceArgs {
    /// Service path identifier.
    #[arg(value_parser = spi)]
    pub(crate) spi: Spi,
    /// Service index to begin with; the highest that the path has here unless given.
    #[arg(long, value_parser = si)]
    pub(crate) si: Option<Si>,
    /// Echoes that a hop may leave unanswered.
    #[arg(long, default_value_t = 2)]
    pub(crate) tries: u32,
    /// Milliseconds to wait for each answer.
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    pub(crate) timeout: u32,
    #[command(flatten)]
    pub(crate) socket: Socket,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{text:?} must be a decimal number"))
}

fn spi(text: &str) -> Result<Spi, String> {
    Spi::try_from(number(text)?).map_err(|error| error.to_string())
}

fn si(text: &str) -> Result<Si, String> {
    Si::try_from(number(text)?).map_err(|error| error.to_string())
}

fn ttl(text: &str) -> Result<Ttl, String> {
    Ttl::try_from(number(text)?).map_err(|error| error.to_string())
}

/// What to probe, and how.
#[derive(Debug, ClapArgs)]
pub(crate) struct Probe {
    /// Whom to ask: tcp://10.0.0.2:80, udp://10.0.0.2:7 (an echo is expected) or icmp://10.0.0.2.
    pub(crate) target: ProbeTarget,
    /// Access port by which the traffic seems to come in.
    #[arg(short, long)]
    pub(crate) port: PortName,
    /// Address and network to send from; nobody else may use the address.
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    pub(crate) source: IpNet,
    /// Router to a target outside of that network.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Option<IpAddr>,
    /// How many.
    #[arg(short, long, default_value_t = 10)]
    pub(crate) count: u32,
    /// Milliseconds from one to the next.
    #[arg(short, long, default_value_t = 200, value_name = "MS")]
    pub(crate) interval: u32,
    /// Milliseconds to wait for each answer.
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    pub(crate) timeout: u32,
    /// Octets of payload; for TCP, octets that are to be echoed.
    #[arg(long, default_value_t = 0)]
    pub(crate) size: u16,
    #[command(flatten)]
    pub(crate) socket: Socket,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

impl Probe {
    /// As it is asked for.
    pub(crate) fn request(&self) -> kc_forwarder_api::Probe {
        kc_forwarder_api::Probe {
            port: self.port.clone(),
            source: self.source,
            gateway: self.gateway,
            target: self.target,
            count: self.count,
            interval_ms: self.interval,
            timeout_ms: self.timeout,
            size: self.size,
        }
    }
}

/// Where a forwarder listens.
#[derive(Debug, ClapArgs)]
pub(crate) struct Socket {
    /// Control socket.
    #[arg(short, long, env = "KC_FORWARDER_SOCKET", default_value = DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Output {
    /// For people: one record a line.
    #[default]
    Table,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn without_a_verb_it_runs() {
        let args = Args::parse_from(["kc-forwarder", "--config", "x.toml"]);
        match args.verb() {
            Verb::Run(run) => assert_eq!(run.config, Some("x.toml".into())),
            other => panic!("{other:?}"),
        }
    }
}
