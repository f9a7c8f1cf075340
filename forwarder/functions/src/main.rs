//! `kc-function`: the command line of the service functions.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use ipnet::IpNet;
use kc_function::dpi::{Block, Dpi};
use kc_function::echo::Echo;
use kc_function::firewall::{self, Firewall};
use kc_function::loadbalancer::{LoadBalancer, Policy, Setup};
use kc_function::nat::Nat;
use kc_function::{burn, duration, pause, probe, serve, shell};
use std::io::{IsTerminal as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Service functions for chains, and what a chain's ends need.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Pass what the rules allow, and what belongs to it.
    Firewall(FirewallArgs),
    /// Show everybody inside as one address (IPv4: TCP, UDP, ICMP).
    Nat(NatArgs),
    /// Name protocols and hosts, and block by name.
    Dpi(DpiArgs),
    /// Spread connections to one address and port over backends that are up.
    Loadbalancer(LoadBalancerArgs),
    /// Send every packet back to where it came from.
    Echo(EchoArgs),
    /// Hold a container's namespaces open until told to end.
    Pause,
    /// Answer HTTP requests with who asked.
    Serve(serve::Options),
    /// Send HTTP requests and report what got through.
    Probe(probe::Options),
    /// Use the processor for a while, to try alarms and limits out.
    Burn(burn::Options),
}

#[derive(Debug, clap::Args)]
struct FirewallArgs {
    /// Rule file: lines such as "allow tcp from 10.0.0.0/8 to any port 80", "default deny".
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// One more rule, behind those of the file; repeatable.
    #[arg(long = "rule", value_name = "RULE")]
    more: Vec<String>,
    /// Let TCP connections begin with a SYN only, not in the middle.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    wiring: shell::Options,
}

#[derive(Debug, clap::Args)]
struct NatArgs {
    /// Address shown outside; ARP requests for it are answered.
    #[arg(long)]
    address: Ipv4Addr,
    #[command(flatten)]
    wiring: shell::Options,
}

#[derive(Debug, clap::Args)]
struct DpiArgs {
    /// Protocol (http, tls, dns, ssh, mqtt, quic, icmp, arp, unknown) or host name with all names
    /// below it; repeatable.
    #[arg(long, value_name = "NAME")]
    block: Vec<Block>,
    #[command(flatten)]
    wiring: shell::Options,
}

#[derive(Debug, clap::Args)]
struct LoadBalancerArgs {
    /// Address and port that clients know; ARP requests and pings for it are answered.
    #[arg(long, value_name = "ADDRESS:PORT")]
    vip: SocketAddr,
    /// Where connections go; repeatable.
    #[arg(long = "backend", value_name = "ADDRESS:PORT", required = true)]
    backends: Vec<SocketAddr>,
    /// Own address and network; the VIP in a /24 (/64) when absent.
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    address: Option<IpNet>,
    /// The way to backends outside that network.
    #[arg(long)]
    gateway: Option<IpAddr>,
    /// Time between health checks, which are TCP connections; 0s for none.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    health_interval: Duration,
    /// Longest time for such a connection to be made.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    health_timeout: Duration,
    /// Good checks in a row after which a backend is up again.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    rise: u32,
    /// Bad checks in a row after which a backend is down.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    fall: u32,
    #[command(flatten)]
    wiring: shell::Options,
}

impl LoadBalancerArgs {
    fn build(&self) -> anyhow::Result<LoadBalancer> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // Behind NSH there is no way to a backend but a service path.
        let checked = !self.health_interval.is_zero() && !self.wiring.nsh;
        let network = if self.vip.is_ipv4() { 24 } else { 64 };
        let address = match self.address {
            Some(address) => address,
            None => IpNet::new(self.vip.ip(), network)?,
        };
        let balancer = LoadBalancer::new(Setup {
            vip: self.vip,
            backends: self.backends.clone(),
            address,
            gateway: self.gateway,
            health: checked.then(|| Policy {
                interval_ms: milliseconds(self.health_interval),
                timeout_ms: milliseconds(self.health_timeout),
                rise: self.rise,
                fall: self.fall,
            }),
        })?;
        Ok(balancer)
    }
}

#[derive(Debug, clap::Args)]
struct EchoArgs {
    /// Address for which ARP requests and neighbour solicitations are answered; repeatable.
    #[arg(long)]
    address: Vec<IpAddr>,
    #[command(flatten)]
    wiring: shell::Options,
}

impl FirewallArgs {
    fn build(&self) -> anyhow::Result<Firewall> {
        let mut text = String::new();
        let mut name = "--rule".to_owned();
        if let Some(file) = &self.rules {
            text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the rule file {}", file.display()))?;
            name = file.display().to_string();
        }
        let mut rules = firewall::parse(&name, &text)?;
        if !self.more.is_empty() {
            rules.extend(firewall::parse("--rule", &self.more.join("\n"))?);
        }
        Ok(Firewall::new(rules, self.strict))
    }
}

/// Prints a line; a reader that has gone is no error.
fn say(line: &str) -> std::io::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let asked = std::env::var("KC_LOG")
        .ok()
        .and_then(|text| text.parse().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .finish()
        .with(filter)
        .init();
    match Cli::parse().verb {
        Verb::Firewall(args) => shell::run(&mut args.build()?, &args.wiring)?,
        Verb::Nat(args) => shell::run(&mut Nat::new(args.address), &args.wiring)?,
        Verb::Dpi(args) => shell::run(&mut Dpi::new(args.block), &args.wiring)?,
        Verb::Loadbalancer(args) => shell::run(&mut args.build()?, &args.wiring)?,
        Verb::Echo(args) => shell::run(&mut Echo::new(args.address), &args.wiring)?,
        Verb::Burn(options) => burn::run(&options),
        Verb::Pause => pause::run().context("cannot wait for signals")?,
        Verb::Serve(options) => {
            let served = serve::run(&options)?;
            say(&serde_json::json!({"function": "serve", "served": served}).to_string())?;
        }
        Verb::Probe(options) => {
            let report = probe::run(&options);
            match options.output {
                probe::Output::Text => say(&report.to_string())?,
                probe::Output::Json => say(&serde_json::to_string(&report)?)?,
            }
            if report.failed > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
