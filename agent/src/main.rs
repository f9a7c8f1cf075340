//! `kc-agent`: arguments in, exit code out.

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use kc_agent::config::{Broker, DEFAULT_FILE, DockerSocket, Label, Overrides, Settings};
use kc_agent::readings::config::{HomeAssistant, Listen, Prometheus, TopicPrefix};
use kc_agent_api::{DomainName, NodeName};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Makes this box match its desired document: containers, wiring, forwarder. Reports over MQTT.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Every setting of `run` can stand in the file; flags and KC_AGENT_* win over it.\n\
        Ended by SIGTERM it leaves containers and forwarder as they are.\n\
        Exit codes: 0 ended as told, 1 failed, 2 wrong usage or configuration."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run until SIGTERM or SIGINT.
    Run(Box<Run>),
}

#[derive(Debug, Args)]
struct Run {
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
    /// MQTT keep-alive: after 1.5 times this the broker says that the box has gone [default: 5].
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
    /// The kc-forwarder program [default: beside kc-agent, else from PATH].
    #[arg(long, env = "KC_AGENT_FORWARDER", value_name = "FILE")]
    forwarder: Option<PathBuf>,
    /// Image of the containers that hold network namespaces [default: kcluster/function:latest].
    #[arg(long, env = "KC_AGENT_PAUSE_IMAGE", value_name = "IMAGE")]
    pause_image: Option<String>,
    /// Show the box in Home Assistant, by MQTT discovery below this prefix [default: not at all].
    #[arg(long, env = "KC_AGENT_HOME_ASSISTANT", value_name = "PREFIX")]
    home_assistant: Option<TopicPrefix>,
    /// Serve Prometheus at http://ADDRESS:PORT/metrics [default: not at all].
    #[arg(long, env = "KC_AGENT_PROMETHEUS", value_name = "ADDRESS:PORT")]
    prometheus: Option<Listen>,
    /// A label of this box; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<Label>,
    /// What is logged, such as `info` or `kc_agent=debug`.
    #[arg(
        long,
        env = "KC_AGENT_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    log: String,
}

fn node(text: &str) -> Result<NodeName, kc_agent_api::NameError> {
    NodeName::new(text)
}

fn domain(text: &str) -> Result<DomainName, kc_agent_api::NameError> {
    DomainName::new(text)
}

fn main() -> ExitCode {
    let Verb::Run(run) = Cli::parse().verb;
    let outcome = log_to_stderr(&run.log).and_then(|()| settings(*run));
    let settings = match outcome {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("kc-agent: {error:#}");
            return ExitCode::from(2);
        }
    };
    match serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kc-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .with_context(|| format!("--log {filter:?} is no filter"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
    Ok(())
}

fn settings(run: Run) -> anyhow::Result<Settings> {
    let asked = run.config.is_some();
    let path = run
        .config
        .unwrap_or_else(|| Path::new(DEFAULT_FILE).to_owned());
    let file = Overrides::read(&path, asked)?;
    let flags = Overrides {
        node: run.node,
        domain: run.domain,
        broker: run.broker,
        mqtt_user: run.mqtt_user,
        mqtt_password_file: run.mqtt_password_file,
        keep_alive_s: run.keep_alive,
        docker: run.docker,
        vtep: run.vtep,
        underlay_mtu: run.underlay_mtu,
        state_dir: run.state_dir,
        run_dir: run.run_dir,
        forwarder: run.forwarder,
        pause_image: run.pause_image,
        labels: run
            .labels
            .into_iter()
            .map(|Label(key, value)| (key, value))
            .collect(),
        home_assistant: run.home_assistant.map(|prefix| HomeAssistant { prefix }),
        prometheus: run.prometheus.map(|listen| Prometheus { listen }),
    };
    Ok(Settings::complete(flags.over(file))?)
}

fn serve(settings: Settings) -> anyhow::Result<()> {
    // One thread does it all; packets are the forwarder's business.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .context("cannot start")?;
    let outcome = runtime.block_on(kc_agent::agent::run(settings));
    runtime.shutdown_background();
    outcome.context("cannot run")
}
