//! The command line of `kc`: words and flags, nothing that acts.

use super::failure::EXIT_CODES;
use super::human::{Since, parse_duration, parse_since};
use super::kind::Kind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use kc_forwarder_api::ProbeTarget;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const ABOUT: &str = "\
kc speaks to a kc-controller: it applies manifests, shows what runs where, and explains it.

The controller is found by --server and --token, else KC_SERVER and KC_TOKEN, else the file named
by KC_CONFIG, else ~/.config/kcluster/kc.toml (server = \"http://HOST:PORT\" or \"unix:///PATH\",
token = \"…\"), else the playground's, else http://127.0.0.1:7070.

Colours and redrawing are for terminals only; in a pipe every record is one line. -o json prints
base units: bytes, milliseconds, percent.";

/// Command line of K-Cluster.
#[derive(Debug, Parser)]
#[command(name = "kc", version, about = "Command line of K-Cluster", long_about = ABOUT, after_long_help = EXIT_CODES, after_help = "kc --help lists the exit codes.")]
pub struct Cli {
    /// How to reach the controller, and how long to wait.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Controller: http://HOST:PORT or unix:///PATH [env: KC_SERVER]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub server: Option<String>,
    /// Bearer token [env: KC_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Longest wait, such as 30s or 5m; 10s for an answer, 5m for a drain
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

/// What `kc` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the cluster match manifests; all of them or none
    Apply(ApplyArgs),
    /// Show what apply would change (exit code 7 when something would)
    Diff(FileArgs),
    /// Print a Compose file as manifests, without a controller
    Convert(FileArgs),
    /// List things: nodes, functions, chains, services, stacks, instances, paths, events
    Get(GetArgs),
    /// Tell the whole story of one thing
    Describe(DescribeArgs),
    /// Delete resources by name, or all that manifests name
    Delete(DeleteArgs),
    /// Look into a chain: ping, trace, probe
    Chain(ChainArgs),
    /// Capture along a chain, as pcapng
    Capture(CaptureArgs),
    /// Look for what is wrong with boxes, and say how it is put right
    Doctor(DoctorArgs),
    /// Print the output of an instance
    Logs(LogsArgs),
    /// Run a command in an instance; exit code is the command's
    Exec(ExecArgs),
    /// Copy files into or out of an instance
    Cp(CopyArgs),
    /// Show load, busiest first
    Top(TopArgs),
    /// Show what happened
    Events(EventsArgs),
    /// Place nothing new on a node
    Cordon(NodeArgs),
    /// Place on a node again
    Uncordon(NodeArgs),
    /// Take a node's new key for right, and seal secrets to it
    Trust(NodeArgs),
    /// Move everything away from a node without a gap, and wait for it (exit code 11 when something stays)
    Drain(DrainArgs),
    /// Put another version of the agent onto boxes, one after the other
    #[command(visible_alias = "upgrade")]
    Update(UpdateArgs),
    /// Why a chain takes the path it takes
    Explain(ExplainArgs),
    /// Run schedulers on a topology in a file, or on recorded loads, without a controller
    Simulate(SimulateArgs),
    /// Write down topology, chains and loads over time, for kc simulate
    Record(RecordArgs),
    /// Try K-Cluster on this machine: boxes as network namespaces
    Playground(crate::playground::Args),
    /// Print a completion script for a shell
    Completions(CompletionArgs),
    /// Print versions of kc and of the controller
    Version(VersionArgs),
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON in base units.
    Json,
    /// YAML in base units.
    Yaml,
    /// A table with more columns.
    Wide,
    /// `kind/name`, one a line.
    Name,
}

/// Where manifests come from.
#[derive(Debug, Clone, Args)]
pub struct FileArgs {
    /// Manifest or Compose file: a file, a directory (its *.yaml and *.yml), or - for stdin; repeatable
    #[arg(short, long = "file", required = true, value_name = "FILE|DIR|-")]
    pub files: Vec<PathBuf>,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// What Compose files are read with.
    #[command(flatten)]
    pub compose: ComposeArgs,
    /// What stacks are read with.
    #[command(flatten)]
    pub stacks: StackArgs,
}

/// What Compose files are read with, as `docker compose` has it.
#[derive(Debug, Clone, Args)]
pub struct ComposeArgs {
    /// Project of a Compose file; else COMPOSE_PROJECT_NAME, its name:, or its directory's name
    #[arg(long, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Turn on a profile of a Compose file, or * for all; else those of COMPOSE_PROFILES
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Variables for a Compose file; else .env beside it
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
}

/// What stacks are read with.
#[derive(Debug, Clone, Args)]
pub struct StackArgs {
    /// A stack's parameter; repeatable. Without a = it is the project of a Compose file
    #[arg(short, long = "parameter", value_name = "NAME=VALUE")]
    pub parameters: Vec<String>,
    /// Parameters of stacks in YAML, NAME: VALUE; repeatable, and -p wins
    #[arg(long, value_name = "FILE")]
    pub parameters_file: Vec<PathBuf>,
    /// Stacks take over resources that exist and belong to no stack
    #[arg(long)]
    pub adopt: bool,
}

/// `kc apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Where manifests come from.
    #[command(flatten)]
    pub from: FileArgs,
    /// Check and plan, change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `kc get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// nodes|no, functions|sf, chains, services|svc, stacks, instances, paths, secrets, alarms, events
    pub kind: Kind,
    /// Only this one
    pub name: Option<String>,
    /// json, yaml, wide or name
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Go on, and print what changes
    #[arg(short, long)]
    pub watch: bool,
    /// Leave the heading out
    #[arg(long)]
    pub no_headers: bool,
    /// What does not exist is no error
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// `kc describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// node, function, chain, service, stack, instance, path, secret or alarm
    pub kind: Kind,
    /// Its name
    pub name: String,
}

/// `kc delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// node, function, chain, service, secret or stack
    #[arg(required_unless_present = "files", requires = "names")]
    pub kind: Option<Kind>,
    /// Names
    pub names: Vec<String>,
    /// Delete what these manifests name
    #[arg(
        short,
        long = "file",
        value_name = "FILE|DIR|-",
        conflicts_with = "kind"
    )]
    pub files: Vec<PathBuf>,
    /// What does not exist is no error
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Say what would follow, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What Compose files are read with.
    #[command(flatten)]
    pub compose: ComposeArgs,
    /// What stacks are read with; nothing of it is needed to delete them.
    #[command(flatten)]
    pub stacks: StackArgs,
}

/// `kc chain`.
#[derive(Debug, Args)]
pub struct ChainArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ChainCommand,
}

/// What can be done with a chain. Exit code 8 when something was lost or is broken.
#[derive(Debug, Subcommand)]
pub enum ChainCommand {
    /// Send echoes along a chain's path, from forwarder to forwarder (exit code 8 when one is lost)
    Ping(PingArgs),
    /// Name every box and function on a chain's path, and the hop that is broken (exit code 8)
    Trace(TraceArgs),
    /// Send real traffic into a chain and measure loss, latency and jitter (exit code 8 on loss)
    Probe(ProbeArgs),
}

/// `kc chain ping`. `--timeout` is the time to wait for each answer, 1s unless said.
#[derive(Debug, Args)]
pub struct PingArgs {
    /// Chain
    pub name: String,
    /// How many
    #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// From one to the next
    #[arg(short, long, default_value = "1s", value_name = "TIME", value_parser = parse_duration)]
    pub interval: Duration,
    /// Along the return path
    #[arg(long = "return")]
    pub back: bool,
    /// Length of each echo in octets, for finding out what fits
    #[arg(long, default_value_t = 0)]
    pub size: u16,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `kc chain trace`. `--timeout` is the time to wait for each answer, 1s unless said.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Chain
    pub name: String,
    /// Along the return path
    #[arg(long = "return")]
    pub back: bool,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `kc chain probe`. `--timeout` is the time to wait for each answer, 1s unless said.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Chain
    pub name: String,
    /// Whom to ask: tcp://10.0.0.2:80, udp://10.0.0.2:7 (an echo is expected) or icmp://10.0.0.2
    pub target: ProbeTarget,
    /// Unused address of the network where the chain begins, to send from
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    pub source: IpNet,
    /// Router to a target outside of that network
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<IpAddr>,
    /// How many
    #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: u32,
    /// From one to the next
    #[arg(short, long, default_value = "200ms", value_name = "TIME", value_parser = parse_duration)]
    pub interval: Duration,
    /// Octets of payload; for TCP, octets that are to be echoed
    #[arg(long, default_value_t = 0)]
    pub size: u16,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `kc capture`.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// chain
    pub kind: Kind,
    /// Its name
    pub name: String,
    /// Only at this box or function of its path, or at its ingress or egress; may be repeated
    #[arg(long, value_name = "BOX|FUNCTION|ingress|egress")]
    pub at: Vec<String>,
    /// End after so many packets
    #[arg(short, long)]
    pub count: Option<u64>,
    /// End after so many seconds, 600 at most
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Octets kept of each packet
    #[arg(long)]
    pub snaplen: Option<u32>,
    /// Where to write it; a pipe when absent
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// `kc doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Boxes; all when absent
    pub nodes: Vec<String>,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `kc logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Instance, such as firewall-1
    pub instance: String,
    /// Only the last lines
    #[arg(long, short = 'n', value_name = "LINES")]
    pub tail: Option<u32>,
    /// Only what is younger, such as 5m, or was said from a time on, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,
    /// Each line with the time at which the engine got it
    #[arg(short, long)]
    pub timestamps: bool,
    /// What ran before: the container before its last start, or the one that an update or a rollback
    /// removed; its last 1000 lines or 64 KiB
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
}

/// `kc exec`.
#[derive(Debug, Args)]
#[command(after_help = "kc exec -it firewall-1 -- sh")]
pub struct ExecArgs {
    /// Hand standard input to the command
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Instance, such as firewall-1
    pub instance: String,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// `kc cp`.
#[derive(Debug, Args)]
#[command(
    after_help = "kc cp rules.nft firewall-1:/etc/    kc cp firewall-1:/var/log .    \
                        kc cp firewall-1:/etc - | tar -t"
)]
pub struct CopyArgs {
    /// File or directory here, or INSTANCE:PATH; DIR/. is what a directory holds, - a tar archive on stdin
    pub from: String,
    /// File or directory here, or INSTANCE:PATH; - is a tar archive on stdout
    pub to: String,
    /// Tell no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// `kc top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// nodes or containers
    #[arg(value_enum)]
    pub what: TopKind,
    /// Only these; all when absent
    pub names: Vec<String>,
    /// Go on: every second; on a terminal in place
    #[arg(short, long)]
    pub watch: bool,
    /// cpu, memory or name
    #[arg(long, value_enum, default_value = "cpu", value_name = "COLUMN")]
    pub sort_by: TopOrder,
    /// Leave the heading out
    #[arg(long)]
    pub no_headers: bool,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// What has load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TopKind {
    /// Boxes.
    #[value(aliases = ["node", "no"])]
    Nodes,
    /// Containers.
    #[value(aliases = ["container", "instances", "instance", "pods", "pod"])]
    Containers,
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TopOrder {
    /// The busiest.
    Cpu,
    /// The largest.
    Memory,
    /// By the alphabet.
    Name,
}

/// `kc events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Only what concerns this node, instance or resource
    pub about: Option<String>,
    /// Go on
    #[arg(short, long)]
    pub watch: bool,
    /// How many, the newest
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub tail: u32,
    /// json, yaml, wide or name
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// A node.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Node
    pub node: String,
}

/// `kc drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// Node
    pub node: String,
    /// Say what would leave and what would stay, change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `kc update`.
#[derive(Debug, Args)]
#[command(after_help = "\
A box verifies the signature by the keys it trusts, tries the version beside the one that runs, and goes
back by itself unless it gets healthy. Containers and traffic are not touched.

kc update node pi-1 pi-2 --package kcluster-agent_0.2.0_arm64.update.tar
kc update node --all --package …_arm64.update.tar --package …_armhf.update.tar")]
pub struct UpdateArgs {
    /// node
    pub kind: Kind,
    /// Boxes, in this order
    #[arg(conflicts_with = "all", value_name = "NAME")]
    pub nodes: Vec<String>,
    /// All boxes
    #[arg(long)]
    pub all: bool,
    /// Update archive, with its signature FILE.minisig beside it; one for each architecture
    #[arg(short, long = "package", required = true, value_name = "FILE")]
    pub packages: Vec<PathBuf>,
    /// Take a version older than the one that runs, too
    #[arg(long)]
    pub allow_downgrade: bool,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `kc explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// chain
    pub kind: Kind,
    /// Its name
    pub name: String,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `kc simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Topology, functions and chains; - for stdin
    #[arg(short, long, value_name = "FILE|-")]
    pub file: PathBuf,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `kc record`.
#[derive(Debug, Args)]
#[command(after_help = "kc record --for 10m > load.yaml && kc simulate -f load.yaml")]
pub struct RecordArgs {
    /// How long
    #[arg(long = "for", default_value = "10m", value_name = "TIME", value_parser = parse_duration)]
    pub period: Duration,
    /// From one sample to the next
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = parse_duration)]
    pub every: Duration,
}

/// `kc completions`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// Shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `kc version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Only kc's own; asks no controller
    #[arg(long)]
    pub client: bool,
}
