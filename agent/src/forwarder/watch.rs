//! Hearing of the forwarder's health: a connection of its own that only listens.

use super::connection::Connection;
use super::supervisor::Word;
use kc_forwarder_api::{Request, Response};
use std::path::PathBuf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A watch that ends when it is dropped.
#[derive(Debug)]
pub(super) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watch {
    /// Hands what the forwarder at `socket` says of health to `words`, for as long as it lives.
    pub(super) fn start(socket: PathBuf, words: mpsc::Sender<Word>) -> Self {
        Self(tokio::spawn(async move {
            let Ok(mut connection) = Connection::open(&socket).await else {
                // The other connection tells of its end.
                return;
            };
            let first = connection.ask(&Request::Watch).await;
            let Ok(Response::Watching { tunnels, functions }) = first else {
                tracing::warn!("this forwarder does not tell of health");
                return;
            };
            let tunnels = tunnels
                .into_iter()
                .map(|tunnel| (tunnel.name, tunnel.state));
            let functions = functions.into_iter().map(|one| (one.name, one.state));
            let mut word = Word::Watching {
                tunnels: tunnels.collect(),
                functions: functions.collect(),
            };
            while words.send(word).await.is_ok() {
                word = match connection.next().await {
                    Ok(Response::Health { event }) => Word::Health(event),
                    _ => return,
                };
            }
        }))
    }
}
