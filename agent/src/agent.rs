//! The whole agent: the [`crate::keeper`] that keeps the box right, the [`crate::courier`] that
//! carries word of it, and nothing between them but channels.

use crate::calls::Calls;
use crate::config::Settings;
use crate::courier::Courier;
use crate::docker;
use crate::events::Events;
use crate::forwarder::{Forwarder, Supervision};
use crate::keeper::{Inputs, Keeper, Outputs, View, explain};
use crate::ledger::{Ledger, LedgerError};
use crate::load::Sampler;
use crate::readings::former::Former;
use crate::readings::{Discovery, scrape};
use crate::service::{self, Pulse};
use crate::status::{Boot, Identity, capacity};
use crate::update::guard::Swap;
use crate::update::launch::{self, STAYED, Starts};
use crate::update::past::Past;
use crate::update::probation::{self, Outlook};
use crate::update::{Desk, Expectation, Shelf};
use crate::vault::own_key;
use crate::wiring::{self, Underlay, WiringError};
use kc_agent_api::{EventKind, NodeState, Topic};
use kc_mqtt::{Config, Link, QoS};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// Why the agent cannot run at all. Everything else is reported and tried again.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No place for sockets, or for events.
    #[error("cannot create {}", path.display())]
    RunDir {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No place for the ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No word from the kernel about interfaces.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The kernel does not say which boot this is.
    #[error("cannot read the boot id")]
    Boot(#[source] io::Error),
    /// Signals cannot be caught.
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
}

/// Why an agent ends without an error.
#[derive(Debug)]
pub enum Ending {
    /// Somebody said so.
    Told,
    /// Another version is to be tried; nothing of this one runs any more.
    Swap(Box<Swap>),
}

/// Runs until SIGTERM, SIGINT or an update. `trial` is what is expected of a version that is on trial.
pub async fn run(settings: Settings, trial: Option<Expectation>) -> Result<Ending, AgentError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::Signals)?;
    let settings = Arc::new(settings);
    let (path, run_dir) = (settings.run_dir.clone(), &settings.run_dir);
    std::fs::create_dir_all(run_dir).map_err(|source| AgentError::RunDir { path, source })?;
    let boot = Boot::read().map_err(AgentError::Boot)?;
    let ledger = Ledger::open(&settings.state_dir)?;
    let (end, shutdown) = watch::channel(false);
    let (spec_sender, specs) = watch::channel(None);
    let (state_sender, state) = watch::channel(NodeState::default());
    let (event_sender, happened) = mpsc::unbounded_channel();
    let (view_sender, view) = watch::channel(View::default());
    tokio::spawn(crate::hook::mind(
        settings.node.clone(),
        ledger.clone(),
        view.clone(),
        event_sender.clone(),
    ));
    let (disk_sender, disk) = watch::channel(0);
    let shelf = Shelf::below(&settings.state_dir);
    let past = Past::read(&shelf, &settings, trial.is_some());
    let running = past.running;
    let Supervision { forwarder, words } = Forwarder::supervise_from(&settings, past.new_forwarder);
    let (keeps, keeper_pulse) = Pulse::new();
    let (carries, courier_pulse) = Pulse::new();
    let inputs = Inputs {
        specs,
        engine: docker::watch(settings.docker.clone(), settings.node.to_string()),
        forwarder: words,
        links: wiring::monitor()?,
        disk,
        pulse: keeper_pulse,
        shutdown: shutdown.clone(),
    };
    let outputs = Outputs {
        state: state_sender,
        events: event_sender,
        view: view_sender,
    };
    let keeper = Keeper::new(Arc::clone(&settings), ledger, forwarder.clone(), outputs);
    let last_words = keeper.last_words();
    // The box first: it needs nobody.
    let keeping = tokio::spawn(keeper.run(inputs));

    let identity = identity(&settings, boot.clone()).await;
    let identity = Arc::new(Identity {
        version: running.to_string(),
        update: past.record,
        ..identity
    });
    let durable = settings.event_dir != settings.run_dir;
    if durable {
        let path = settings.event_dir.clone();
        std::fs::create_dir_all(&path).map_err(|source| AgentError::RunDir { path, source })?;
    }
    let mut events = Events::open(&settings.event_dir, boot, durable);
    let version = match trial {
        None => format!("kc-agent {running}"),
        Some(_) => format!("kc-agent {running}, on trial"),
    };
    events.record(EventKind::AgentStarted, "agent", version);
    if let Some((kind, message)) = past.news {
        events.record(kind, "agent", message);
    }
    let (discovery, former) = discovery(&settings, &identity);
    let (link, incoming) = Link::start(link_config(&settings, &identity, &discovery));
    let readings = settings.prometheus.as_ref().map(|prometheus| {
        let (sender, readings) = watch::channel(None);
        tokio::spawn(scrape::listen(prometheus.listen.0, readings));
        sender
    });
    let (desk, mut candidates) = Desk::new(shelf.clone(), running.clone());
    let outlook = Outlook {
        link: link.clone(),
        state: state.clone(),
        view: view.clone(),
        forwarder: forwarder.clone(),
    };
    let relieved = Arc::new(AtomicBool::new(false));
    let courier = Courier {
        calls: Calls::new(
            Arc::clone(&identity),
            link.clone(),
            forwarder.clone(),
            Arc::clone(&settings),
            desk,
            last_words,
        ),
        sampler: Sampler::new(DATA_ROOT),
        disk: disk_sender,
        identity,
        link,
        incoming,
        events,
        controller: None,
        forwarder,
        specs: spec_sender,
        state,
        happened,
        view,
        discovery,
        former,
        readings,
        pulse: courier_pulse,
        shutdown: shutdown.clone(),
        relieved: Arc::clone(&relieved),
    };
    let seen = courier.state.clone();
    let carrying = tokio::spawn(courier.run());
    let report = service::report([keeps, carries], seen, shutdown, Arc::clone(&relieved));
    tokio::spawn(report);
    let starts = Starts::in_dir(&settings.run_dir);
    let ending = tokio::select! {
        _ = terminate.recv() => Ending::Told,
        _ = interrupt.recv() => Ending::Told,
        Some(candidate) = candidates.recv() => {
            relieved.store(true, Ordering::Relaxed);
            // The update came by the broker, whether it is there at this moment or not.
            let expected = Expectation {
                broker: true,
                ..outlook.look().await
            };
            Ending::Swap(Box::new(Swap {
                candidate,
                expected,
                shelf,
                running,
                limit: settings.trial,
                tables: settings.forwarder_tables(),
            }))
        }
        () = on_probation(trial, &outlook) => {
            relieved.store(true, Ordering::Relaxed);
            Ending::Told
        }
        () = stay(&starts) => Ending::Told,
    };
    starts.forget();
    tracing::info!("ending; containers and forwarder go on");
    end.send_replace(true);
    let _ = keeping.await;
    let _ = carrying.await;
    Ok(ending)
}

/// On trial, says how it goes until it is to leave; otherwise never returns.
async fn on_probation(trial: Option<Expectation>, outlook: &Outlook) {
    let Some(expected) = trial else {
        return std::future::pending().await;
    };
    tokio::select! {
        () = probation::tell(expected, outlook) => {}
        () = probation::dismissed() => {}
    }
}

/// A version that has stayed is not counted any more. Never returns.
async fn stay(starts: &Starts) {
    tokio::time::sleep(STAYED).await;
    starts.forget();
    std::future::pending().await
}

/// Returns when it is time to end.
pub(crate) async fn ended(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|end| *end).await;
}

/// Where Docker keeps its data; what is not there counts as what it would be on.
pub(crate) const DATA_ROOT: &str = "/var/lib/docker";

async fn identity(settings: &Settings, boot: Boot) -> Identity {
    let found = wiring::underlay(settings.vtep, settings.underlay_mtu).await;
    let underlay = found.unwrap_or_else(|error| {
        tracing::warn!("{}", explain(&error));
        Underlay {
            address: settings.vtep,
            mtu: settings.underlay_mtu.unwrap_or(1500),
        }
    });
    Identity {
        node: settings.node.clone(),
        domain: settings.domain.clone(),
        boot,
        labels: settings.labels.clone(),
        capacity: capacity(Path::new(DATA_ROOT)),
        vtep: underlay.address,
        underlay_mtu: underlay.mtu,
        version: launch::built().to_string(),
        update: None,
        seal_key: own_key(&settings.state_dir)
            .inspect_err(|error| tracing::warn!("{}", explain(error)))
            .map(|key| key.public())
            .ok(),
    }
}

/// What Home Assistant is told, and the memory of it: written before anything is told.
fn discovery(settings: &Settings, identity: &Arc<Identity>) -> (Discovery, Former) {
    let mut former = Former::open(&settings.state_dir);
    let prefix = settings
        .home_assistant
        .as_ref()
        .map(|home| home.prefix.clone());
    let discovery = Discovery::new(Arc::clone(identity), prefix, former.bases());
    if let Some(Err(error)) = discovery.base().map(|base| former.remember(base)) {
        tracing::warn!("{}", explain(&error));
    }
    (discovery, former)
}

fn link_config(settings: &Settings, identity: &Identity, discovery: &Discovery) -> Config {
    let client_id = format!("kc-agent-{}-{}", settings.domain, settings.node);
    let mut config = Config::new(&settings.broker.host, settings.broker.port, client_id);
    config.keep_alive = Duration::from_secs(settings.keep_alive_s.into());
    config.last_will = Some(identity.last_will());
    config.credentials.clone_from(&settings.credentials);
    config.subscriptions = Topic::agent_filters(&settings.domain, &settings.node)
        .into_iter()
        .chain(discovery.filters())
        .map(|filter| (filter, QoS::AtLeastOnce))
        .collect();
    config
}
