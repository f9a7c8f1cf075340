//! `kc-agent`: arguments in, exit code out.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use kc_agent::agent::Ending;
use kc_agent::config::{
    Broker, ConfigError, DEFAULT_FILE, DockerSocket, Label, Overrides, Settings, UpdateSaid,
};
use kc_agent::doctor::{self, Vantage};
use kc_agent::readings::config::{HomeAssistant, Listen, Prometheus, TopicPrefix};
use kc_agent::update::launch::{self, Starts};
use kc_agent::update::{Shelf, guard};
use kc_agent_api::{DomainName, Finding, Listing, NodeName};
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Makes this box match its desired document: containers, wiring, forwarder. Reports over MQTT.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Every setting can stand in the file; flags and KC_AGENT_* win over it.\n\
        Ended by SIGTERM it leaves containers and forwarder as they are.\n\
        Exit codes: 0 ended as told, 1 failed, 2 wrong usage or configuration, 3 doctor found a problem."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run until SIGTERM or SIGINT.
    Run(Box<Run>),
    /// Look for what is wrong with this box, and say how it is put right (exit code 3 when a
    /// problem was found; warnings are none).
    Doctor(Box<Doctor>),
    /// What a version on trial starts as; only another agent asks for it.
    #[command(name = guard::ON_TRIAL, hide = true)]
    OnTrial {
        guard: u32,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    flags: Flags,
    /// What is logged, such as `info` or `kc_agent=debug`.
    #[arg(
        long,
        env = "KC_AGENT_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    log: String,
}

#[derive(Debug, Args)]
struct Doctor {
    #[command(flatten)]
    flags: Flags,
    /// A line for each check, or JSON.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Args)]
struct Flags {
    /// Configuration file [default: /etc/kcluster/agent.toml, if it exists].
    #[arg(long, env = "KC_AGENT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of this box [default: the host's name].
    #[arg(long, env = "KC_AGENT_NODE", value_name = "NAME", value_parser = node)]
    node: Option<NodeName>,
    /// Domain of the controller [default: lab].
    #[arg(long, env = "KC_AGENT_DOMAIN", value_name = "NAME", value_parser = domain)]
    domain: Option<DomainName>,
    /// MQTT broker [default: 127.0.0.1:1883].
    #[arg(long, env = "KC_AGENT_BROKER", value_name = "HOST:PORT")]
    broker: Option<Broker>,
    /// MQTT user name.
    #[arg(long, env = "KC_AGENT_MQTT_USER", value_name = "NAME")]
    mqtt_user: Option<String>,
    /// File whose first line is the MQTT password.
    #[arg(long, env = "KC_AGENT_MQTT_PASSWORD_FILE", value_name = "FILE")]
    mqtt_password_file: Option<PathBuf>,
    /// MQTT keep-alive: after 1.5 times this the broker says that the box has gone [default: 2].
    #[arg(long, env = "KC_AGENT_KEEP_ALIVE", value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..=3600))]
    keep_alive: Option<u16>,
    /// Docker engine [default: unix:///var/run/docker.sock].
    #[arg(long, env = "KC_AGENT_DOCKER", value_name = "unix://PATH")]
    docker: Option<DockerSocket>,
    /// Our tunnel end [default: the address of the default route].
    #[arg(long, env = "KC_AGENT_VTEP", value_name = "ADDRESS")]
    vtep: Option<IpAddr>,
    /// MTU under the tunnels [default: that of the interface with the tunnel end].
    #[arg(long, env = "KC_AGENT_UNDERLAY_MTU", value_name = "BYTES", value_parser = clap::value_parser!(u16).range(576..))]
    underlay_mtu: Option<u16>,
    /// What is kept over reboots [default: /var/lib/kcluster].
    #[arg(long, env = "KC_AGENT_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Sockets and logs [default: /run/kcluster].
    #[arg(long, env = "KC_AGENT_RUN_DIR", value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Where events wait until the controller has stored them [default: the run directory, so that
    /// nothing is written to flash and a reboot erases them].
    #[arg(long, env = "KC_AGENT_EVENT_DIR", value_name = "DIR")]
    event_dir: Option<PathBuf>,
    /// The kc-forwarder program [default: beside kc-agent, else from PATH].
    #[arg(long, env = "KC_AGENT_FORWARDER", value_name = "FILE")]
    forwarder: Option<PathBuf>,
    /// Image of the containers that hold network namespaces [default: kcluster/function:latest].
    #[arg(long, env = "KC_AGENT_PAUSE_IMAGE", value_name = "IMAGE")]
    pause_image: Option<String>,
    /// Whether kc exec and kc cp may enter containers [default: true].
    #[arg(long, env = "KC_AGENT_ALLOW_EXEC", value_name = "BOOL")]
    allow_exec: Option<bool>,
    /// How full the engine's disk may be before images that nobody needs go; 100 is never [default: 85].
    #[arg(long, env = "KC_AGENT_IMAGE_GC_PERCENT", value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    image_gc_percent: Option<u8>,
    /// Show the box in Home Assistant, by MQTT discovery below this prefix [default: not at all].
    #[arg(long, env = "KC_AGENT_HOME_ASSISTANT", value_name = "PREFIX")]
    home_assistant: Option<TopicPrefix>,
    /// Serve Prometheus at http://ADDRESS:PORT/metrics [default: not at all].
    #[arg(long, env = "KC_AGENT_PROMETHEUS", value_name = "ADDRESS:PORT")]
    prometheus: Option<Listen>,
    /// Directory with the public keys of those who may update the agent [default: /etc/kcluster/trust.d].
    #[arg(long, env = "KC_AGENT_TRUSTED_KEYS", value_name = "DIR")]
    trusted_keys: Option<PathBuf>,
    /// A label of this box; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Label>,
}

fn node(text: &str) -> Result<NodeName, kc_agent_api::NameError> {
    NodeName::new(text)
}

fn domain(text: &str) -> Result<DomainName, kc_agent_api::NameError> {
    DomainName::new(text)
}

/// How long what still runs at the end may take to end.
const LEFTOVERS: Duration = Duration::from_millis(500);

/// A problem was found.
const SICK: u8 = 3;

/// Why the program ends, and its exit code.
type Failure = (u8, anyhow::Error);

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Run(run) => serve(*run),
        Verb::Doctor(doctor) => look(*doctor),
        Verb::OnTrial {
            guard,
            program,
            arguments,
        } => {
            let error = guard::enter(guard, &program, &arguments);
            let error = anyhow::Error::from(error);
            Err((
                126,
                error.context(format!("cannot start {}", program.display())),
            ))
        }
    };
    outcome.unwrap_or_else(|(code, error)| {
        eprintln!("kc-agent: {error:#}");
        ExitCode::from(code)
    })
}

fn usage(error: impl Into<anyhow::Error>) -> Failure {
    (2, error.into())
}

fn failed(error: anyhow::Error) -> Failure {
    (1, error)
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    let filter: Targets = filter
        .parse()
        .with_context(|| format!("--log {filter:?} is no filter"))?;
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .finish()
        .with(filter)
        .init();
    Ok(())
}

impl Flags {
    /// The file's name, whether somebody asked for it, and what wins over it.
    fn split(self) -> (PathBuf, bool, Overrides) {
        let asked = self.config.is_some();
        let path = self.config;
        let path = path.unwrap_or_else(|| Path::new(DEFAULT_FILE).to_owned());
        let flags = Overrides {
            node: self.node,
            domain: self.domain,
            broker: self.broker,
            mqtt_user: self.mqtt_user,
            mqtt_password_file: self.mqtt_password_file,
            keep_alive_s: self.keep_alive,
            docker: self.docker,
            vtep: self.vtep,
            underlay_mtu: self.underlay_mtu,
            state_dir: self.state_dir,
            run_dir: self.run_dir,
            event_dir: self.event_dir,
            forwarder: self.forwarder,
            pause_image: self.pause_image,
            allow_exec: self.allow_exec,
            image_gc_percent: self.image_gc_percent,
            labels: self
                .labels
                .into_iter()
                .map(|Label(key, value)| (key, value))
                .collect(),
            update: UpdateSaid {
                trusted_keys: self.trusted_keys,
                trial_s: None,
            },
            home_assistant: self.home_assistant.map(|prefix| HomeAssistant { prefix }),
            prometheus: self.prometheus.map(|listen| Prometheus { listen }),
        };
        (path, asked, flags)
    }
}

fn settings(path: &Path, asked: bool, flags: Overrides) -> Result<Settings, ConfigError> {
    Settings::complete(flags.over(Overrides::read(path, asked)?))
}

fn serve(run: Run) -> Result<ExitCode, Failure> {
    log_to_stderr(&run.log).map_err(usage)?;
    let (path, asked, flags) = run.flags.split();
    let (state_dir, run_dir) = (flags.state_dir.as_deref(), flags.run_dir.as_deref());
    let (state_dir, run_dir) = launch::places(&path, state_dir, run_dir);
    // Before settings are read, since they may be those of a later version.
    launch::launch(&Shelf::below(&state_dir), &Starts::in_dir(&run_dir));
    let settings = settings(&path, asked, flags).map_err(usage)?;
    let trial = std::env::var(launch::TRIAL).ok();
    let trial = trial.map(|expected| serde_json::from_str(&expected).unwrap_or_default());
    let runtime = runtime().map_err(failed)?;
    let outcome = runtime.block_on(kc_agent::agent::run(settings, trial));
    // Whatever is left of it ends here: nobody but one agent minds the box.
    runtime.shutdown_timeout(LEFTOVERS);
    match outcome.context("cannot run").map_err(failed)? {
        Ending::Told => {}
        Ending::Swap(swap) => guard::hold(&swap)
            .context("no agent to go on with")
            .map_err(failed)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Settings that only root may read are no reason to say nothing of the box.
fn look(doctor: Doctor) -> Result<ExitCode, Failure> {
    let (path, asked, mut flags) = doctor.flags.split();
    let (settings, unread) = match settings(&path, asked, flags.clone()) {
        Err(error) if error.is_forbidden() => {
            let unread = format!("{:#}", anyhow::Error::from(error));
            flags.mqtt_password_file = None;
            (Settings::complete(flags).map_err(usage)?, Some(unread))
        }
        settings => (settings.map_err(usage)?, None),
    };
    let runtime = runtime().map_err(failed)?;
    let findings = runtime.block_on(doctor::examine(&settings, Vantage::Command { unread }));
    runtime.shutdown_background();
    print(&settings, &findings, doctor.output).map_err(failed)?;
    Ok(match doctor::sick(&findings) {
        true => ExitCode::from(SICK),
        false => ExitCode::SUCCESS,
    })
}

/// What `-o json` prints.
#[derive(Debug, serde::Serialize)]
struct Report<'a> {
    node: &'a NodeName,
    version: &'static str,
    findings: &'a [Finding],
}

fn print(settings: &Settings, findings: &[Finding], output: Output) -> anyhow::Result<()> {
    let text = match output {
        Output::Text => Listing(findings).to_string(),
        Output::Json => {
            let report = Report {
                node: &settings.node,
                version: env!("CARGO_PKG_VERSION"),
                findings,
            };
            serde_json::to_string_pretty(&report)? + "\n"
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// One thread does it all; packets are the forwarder's business.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .context("cannot start")
}
