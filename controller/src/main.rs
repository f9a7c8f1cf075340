//! `kc-controller`: opens the store, starts the run loop, serves the API.

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use kc_agent_api::DomainName;
use kc_controller::execute::Engine;
use kc_controller::http::{self, App, Listen, Listener, Token};
use kc_controller::mqtt;
use kc_controller::store::Store;
use kc_mqtt::Link;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How long answers under way and unacknowledged documents may take at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Controller of a K-Cluster domain.
#[derive(Debug, Parser)]
#[command(name = "kc-controller", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controller
    Run(RunArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Administrative domain: which boxes are ours
    #[arg(long, default_value = "lab", env = "KC_CONTROLLER_DOMAIN")]
    domain: DomainName,
    /// MQTT broker
    #[arg(
        long,
        default_value = "127.0.0.1:1883",
        env = "KC_CONTROLLER_BROKER",
        value_name = "HOST:PORT"
    )]
    broker: String,
    /// User name at the broker
    #[arg(
        long,
        env = "KC_CONTROLLER_BROKER_USER",
        requires = "broker_password_file"
    )]
    broker_user: Option<String>,
    /// File that holds the password at the broker
    #[arg(
        long,
        env = "KC_CONTROLLER_BROKER_PASSWORD_FILE",
        requires = "broker_user"
    )]
    broker_password_file: Option<PathBuf>,
    /// Where to serve the API: ADDRESS:PORT or unix:/PATH; repeatable
    #[arg(
        long,
        default_value = "127.0.0.1:7070",
        env = "KC_CONTROLLER_LISTEN",
        value_delimiter = ','
    )]
    listen: Vec<Listen>,
    /// A box that says nothing for this long is gone: boxes speak every second
    #[arg(
        long,
        default_value = "3",
        env = "KC_CONTROLLER_HEARTBEAT_TIMEOUT",
        value_name = "SECONDS",
        value_parser = seconds
    )]
    heartbeat_timeout: Duration,
    /// Webhook that is told of every alarm, http or https; repeatable. Alarms may name others
    #[arg(
        long,
        env = "KC_CONTROLLER_ALARM_WEBHOOK",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = webhook
    )]
    alarm_webhook: Vec<String>,
    /// Where state, history and token are kept
    #[arg(
        long,
        default_value = "/var/lib/kcluster-controller",
        env = "KC_CONTROLLER_DATA_DIR"
    )]
    data_dir: PathBuf,
}

/// Seconds, fractions too; a box that speaks every second must have a chance.
fn seconds(text: &str) -> Result<Duration, String> {
    let wanted = || format!("{text:?} must be seconds from 1.5 to 3600, such as 3 or 2.5");
    let seconds: f64 = text.parse().map_err(|_| wanted())?;
    if !(1.5..=3600.0).contains(&seconds) {
        return Err(wanted());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wanted())
}

fn webhook(text: &str) -> Result<String, String> {
    kc_controller::alarm::webhook(text).map(|()| text.to_owned())
}

fn main() -> ExitCode {
    let Command::Run(args) = Cli::parse().command;
    let asked = std::env::var("KC_LOG")
        .ok()
        .and_then(|text| text.parse().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .finish()
        .with(filter)
        .init();
    let done = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(run(args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: RunArgs) -> Result<()> {
    // Before anybody can know that we are here, so that whoever stops us at once sees a good end.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let Some((host, port)) = args
        .broker
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.to_owned(), port.parse::<u16>().ok()?)))
    else {
        bail!("--broker {:?} must be HOST:PORT", args.broker);
    };
    let credentials = match (args.broker_user, args.broker_password_file) {
        (Some(user), Some(file)) => {
            let password = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            Some((user, password.trim().to_owned()))
        }
        _ => None,
    };
    let (store, loaded) = Store::open(&args.data_dir.join("controller.db"))?;
    let token_file = args.data_dir.join("token");
    let (token, made) = Token::load(&token_file)?;
    let mut listeners = Vec::new();
    for listen in &args.listen {
        listeners.push(Listener::bind(listen).await?);
    }
    if made {
        println!("token {}", token.as_str());
        println!("it is kept in {}", token_file.display());
    }
    let presence = mqtt::OurPresence::drawn();
    let domain = args.domain.clone();
    let config = mqtt::config(&domain, host.clone(), port, credentials.clone(), presence);
    let (link, incoming) = Link::start(config);
    let config = mqtt::event_config(&args.domain, host, port, credentials);
    let (event_link, events) = Link::start(config);
    let engine = Engine {
        domain: args.domain,
        store,
        loaded,
        link: link.clone(),
        incoming: mqtt::merged(incoming, events),
        presence,
        heartbeat_timeout: args.heartbeat_timeout,
        webhooks: args.alarm_webhook,
    };
    let (handle, owner) = engine.start()?;
    let router = http::router(App::new(handle, token, args.broker));
    let (stop, stopped) = watch::channel(false);
    let mut servers = tokio::task::JoinSet::new();
    for listener in listeners {
        println!("listening on {}", listener.address()?);
        let mut stopped = stopped.clone();
        servers.spawn(listener.serve(router.clone(), async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
    }
    drop(router);
    let mut result = Ok(());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        Some(ended) = servers.join_next() => {
            result = Err(match ended {
                Ok(Ok(())) => anyhow::anyhow!("a listener has ended"),
                Ok(Err(error)) => anyhow::Error::from(error).context("a listener has failed"),
                Err(error) => anyhow::Error::from(error).context("a listener has failed"),
            });
        }
    }
    tracing::info!("shutting down");
    stop.send_replace(true);
    // Watches have no end of their own: what is still open after a while is cut.
    let all = async { while servers.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, all).await;
    servers.shutdown().await;
    // With the last handle the run loop ends; what it has decided is stored and handed over.
    let _ = tokio::time::timeout(FAREWELL, owner).await;
    if link.connected() && link.publish(presence.farewell(&domain, &link)).is_ok() {
        link.drained(FAREWELL).await;
    }
    link.close().await;
    event_link.close().await;
    result
}
