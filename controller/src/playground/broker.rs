//! The MQTT broker between agents and controller: rumqttd inside `kc` itself, or Mosquitto.

use super::launch::Daemon;
use super::layout::{BROKER_PORT, DATA, HUB, HUB_ADDRESS, RUN};
use super::precondition::program;
use anyhow::{Context, Result, anyhow};
use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings};
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// rumqttd, part of this program.
    Embedded,
    /// Mosquitto, which must be installed.
    Mosquitto,
}

/// Arguments of the hidden `kc playground broker`.
#[derive(Debug, clap::Args)]
pub(super) struct BrokerArgs {
    /// Address to listen on.
    #[arg(long)]
    listen: SocketAddr,
}

/// Largest MQTT payload in bytes: a whole node document.
const MAX_PAYLOAD: usize = 8 << 20;

/// The broker as a daemon of the hub.
pub(super) fn daemon(kind: Kind) -> Result<Daemon> {
    let address = SocketAddr::from((HUB_ADDRESS, BROKER_PORT));
    match kind {
        Kind::Embedded => {
            let own = std::env::current_exe().context("cannot find the running program")?;
            Ok(Daemon::new("hub/broker", HUB, own)
                .arg("playground")
                .arg("broker")
                .arg("--listen")
                .arg(address.to_string()))
        }
        Kind::Mosquitto => {
            let path = Path::new(RUN).join("mosquitto.conf");
            fs::write(&path, mosquitto_conf(address))?;
            Ok(Daemon::new("hub/broker", HUB, program("mosquitto"))
                .arg("-c")
                .arg(path))
        }
    }
}

fn mosquitto_conf(address: SocketAddr) -> String {
    // As root it would become the user `mosquitto`, who cannot write to our directories.
    format!(
        "listener {} {}\n\
         allow_anonymous true\n\
         user root\n\
         persistence true\n\
         persistence_location {DATA}/hub/\n\
         autosave_interval 1\n\
         autosave_on_changes true\n\
         message_size_limit {MAX_PAYLOAD}\n\
         log_dest stdout\n",
        address.port(),
        address.ip()
    )
}

/// Is the embedded broker, until it is killed.
pub(super) fn run(arguments: &BrokerArgs) -> Result<ExitCode> {
    let settings = ServerSettings {
        name: "playground".into(),
        listen: arguments.listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 5000,
            max_payload_size: MAX_PAYLOAD,
            max_inflight_count: 500,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    let config = Config {
        router: RouterConfig {
            max_connections: 64,
            max_outgoing_packet_count: 200,
            max_segment_size: 16 << 20,
            max_segment_count: 4,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("1".to_owned(), settings)])),
        ..Config::default()
    };
    rumqttd::Broker::new(config)
        .start()
        .map_err(|error| anyhow!("the broker ended: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mosquitto_listens_on_the_underlay_only() {
        let text = mosquitto_conf(SocketAddr::from((HUB_ADDRESS, BROKER_PORT)));
        assert!(text.starts_with("listener 1883 192.168.50.254\n"), "{text}");
    }
}
