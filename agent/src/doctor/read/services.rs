//! Those that have to be asked: engine, broker, forwarder and whoever keeps the time. Each has a
//! limit, so that one that is stuck holds nobody up.

use super::ways::{echo, ways};
use crate::agent::DATA_ROOT;
use crate::config::Settings;
use crate::docker;
use crate::doctor::{Broker, Engine, Forwarder};
use crate::forwarder::Connection;
use crate::keeper::explain;
use futures_util::future::join_all;
use kc_agent_api::{ControllerStatus, Topic, decode};
use kc_forwarder_api::{Request, Response, Status, Tables};
use kc_mqtt::{Config, Incoming, Link, QoS};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// What each of them may take.
const LIMIT: Duration = Duration::from_secs(3);

/// How long the broker may take to hand over what it keeps of the controller: there may be nothing.
const KEPT: Duration = Duration::from_millis(500);

/// Asks the engine, and where it keeps its data.
pub(super) async fn engine(socket: &Path) -> (Engine, PathBuf) {
    let path = socket.to_owned();
    let fails = |why| Engine::Fails {
        path: path.clone(),
        why,
    };
    let usual = || PathBuf::from(DATA_ROOT);
    if let Err(error) = UnixStream::connect(socket).await {
        return (Engine::NoSocket { path, error }, usual());
    }
    match timeout(LIMIT, docker::connect(socket)).await {
        Ok(Ok((client, info))) => {
            let api = client.client_version();
            let engine = Engine::Answers {
                version: info.server_version.unwrap_or_default(),
                api: (api.major_version, api.minor_version),
            };
            (
                engine,
                info.docker_root_dir.map_or_else(usual, PathBuf::from),
            )
        }
        Ok(Err(error)) => (fails(explain(&error)), usual()),
        Err(_) => (
            fails(format!("no answer within {} s", LIMIT.as_secs())),
            usual(),
        ),
    }
}

/// Connects to the broker under a name of its own, so that the agent's link stays; and hears what
/// it keeps of the controller.
pub(super) async fn broker(settings: &Settings, known: bool) -> (Broker, Option<ControllerStatus>) {
    if !known {
        return (Broker::NotAsked, None);
    }
    let client = format!("kc-doctor-{}-{:08x}", settings.node, fastrand::u32(..));
    let mut config = Config::new(&settings.broker.host, settings.broker.port, client);
    config.credentials.clone_from(&settings.credentials);
    let began = Instant::now();
    let outcome = kc_mqtt::probe(&config, LIMIT)
        .await
        .map(|()| began.elapsed());
    let mut said = None;
    if outcome.is_ok() {
        let topic = Topic::Controller.name(&settings.domain);
        config.subscriptions = vec![(topic, QoS::AtLeastOnce)];
        let (link, incoming) = Link::start(config);
        said = timeout(KEPT, kept(incoming)).await.ok().flatten();
        link.close().await;
    }
    let broker = Broker::Asked {
        address: settings.broker.to_string(),
        credentials: settings.credentials.is_some(),
        outcome,
    };
    (broker, said)
}

/// The first message of a subscription, which the broker has kept.
async fn kept(mut incoming: Receiver<Incoming>) -> Option<ControllerStatus> {
    loop {
        if let Incoming::Message(message) = incoming.recv().await? {
            return decode(&message.payload).ok();
        }
    }
}

/// Whether the kernel's clock is synchronised, by systemd's word. Without systemd nobody knows.
pub(super) async fn synchronised() -> Option<bool> {
    let mut command = Command::new("timedatectl");
    command
        .args(["show", "--property=NTPSynchronized", "--value"])
        .kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.ok()?.ok()?;
    match output.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

/// Asks the forwarder how it is, and has it send echoes through its tunnels.
pub(super) async fn forwarder(settings: &Settings) -> Forwarder {
    let socket = settings.forwarder_socket();
    let mut connection = match Connection::open(&socket).await {
        Ok(connection) => connection,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let why = format!("{}: {error}", socket.display());
            return Forwarder::Fails { why };
        }
        Err(_) => {
            return Forwarder::Absent {
                installed: installed(&settings.forwarder),
                program: settings.forwarder.clone(),
                socket,
            };
        }
    };
    match told(&mut connection).await {
        Ok((status, tables)) => {
            let ways = ways(&tables, &status);
            let echoes = join_all(ways.into_iter().map(|way| echo(&socket, way))).await;
            Forwarder::Answers {
                status,
                tables,
                echoes: echoes.into_iter().flatten().collect(),
            }
        }
        Err(why) => Forwarder::Fails { why },
    }
}

async fn told(connection: &mut Connection) -> Result<(Box<Status>, Box<Tables>), String> {
    let mut ask = async |request| connection.ask_within(&request, LIMIT).await;
    let status = ask(Request::Status)
        .await
        .map_err(|error| explain(&error))?;
    let tables = ask(Request::Tables)
        .await
        .map_err(|error| explain(&error))?;
    match (status, tables) {
        (Response::Status { status }, Response::Tables { tables }) => Ok((status, tables)),
        _ => Err("the forwarder answered another question".to_owned()),
    }
}

/// Whether the program is where it is looked for.
fn installed(program: &Path) -> bool {
    if program.components().count() > 1 {
        return program.exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}
