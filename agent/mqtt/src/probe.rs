//! One attempt to reach a broker, and why it failed: for telling people, not for work. A [`crate::Link`]
//! goes on for ever and only says so; this says which of its steps does not succeed.

use crate::Config;
use crate::driver::client;
use rumqttc::{ConnectReturnCode, ConnectionError, Event, EventLoop, Packet, StateError};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

/// Why a broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Its name has no address.
    #[error("the name has no address")]
    Name(#[source] io::Error),
    /// Nobody listens there.
    #[error("nobody listens there")]
    Refused(#[source] io::Error),
    /// The network does not lead there.
    #[error("the network does not lead there")]
    Unreachable(#[source] io::Error),
    /// No TCP connection in time.
    #[error("no connection within {} s", .0.as_secs_f32())]
    NoConnection(Duration),
    /// Connected, and then nothing.
    #[error("connected, but no answer to CONNECT within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// Whoever listens hangs up, or answers what is no MQTT: a TLS listener does.
    #[error("whoever listens does not speak plain MQTT 3.1.1")]
    Alien,
    /// The user or the password is wrong, or one is missing.
    #[error("the broker refuses user and password")]
    Credentials,
    /// The broker refuses for another reason.
    #[error("the broker refuses: {0}")]
    Declined(&'static str),
    /// Something else.
    #[error("the connection failed")]
    Io(#[source] io::Error),
}

/// Connects as `config` says, without will and subscriptions, waits for the broker's CONNACK and
/// goes. `limit` is for all of it.
///
/// # Errors
/// Which step did not succeed.
pub async fn probe(config: &Config, limit: Duration) -> Result<(), ProbeError> {
    let deadline = Instant::now() + limit;
    let late = |_| ProbeError::NoConnection(limit);
    let resolving = timeout_at(deadline, lookup_host((config.host.as_str(), config.port)));
    let addresses = resolving.await.map_err(late)?.map_err(ProbeError::Name)?;
    let addresses: Vec<SocketAddr> = addresses.collect();
    let connecting = timeout_at(deadline, TcpStream::connect(addresses.as_slice()));
    drop(connecting.await.map_err(late)?.map_err(tcp)?);
    // It connects, so whatever goes wrong from here on is the broker's word.
    let (_client, mut events) = client(config);
    let silent = |_| ProbeError::Silent(limit);
    timeout_at(deadline, acknowledged(&mut events))
        .await
        .map_err(silent)?
}

async fn acknowledged(events: &mut EventLoop) -> Result<(), ProbeError> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(mqtt(error)),
        }
    }
}

fn tcp(error: io::Error) -> ProbeError {
    match error.kind() {
        ErrorKind::ConnectionRefused => ProbeError::Refused(error),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            ProbeError::Unreachable(error)
        }
        _ => ProbeError::Io(error),
    }
}

fn mqtt(error: ConnectionError) -> ProbeError {
    match error {
        ConnectionError::ConnectionRefused(code) => match code {
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                ProbeError::Credentials
            }
            ConnectReturnCode::RefusedProtocolVersion => ProbeError::Declined("protocol version"),
            ConnectReturnCode::BadClientId => ProbeError::Declined("client identifier"),
            ConnectReturnCode::ServiceUnavailable => ProbeError::Declined("unavailable"),
            ConnectReturnCode::Success => ProbeError::Alien,
        },
        ConnectionError::Io(error) => match error.kind() {
            ErrorKind::InvalidData
            | ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe => ProbeError::Alien,
            _ => ProbeError::Io(error),
        },
        ConnectionError::NotConnAck(_)
        | ConnectionError::MqttState(
            StateError::ConnectionAborted | StateError::Deserialization(_),
        ) => ProbeError::Alien,
        other => ProbeError::Io(io::Error::other(other)),
    }
}
