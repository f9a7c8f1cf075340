//! The engine's event stream: what happens to our containers, in milliseconds and without
//! polling; and whether there is an engine at all.

use super::DockerError;
use super::body::Labels;
use crate::reconcile::Part;
use bollard::models::SystemInfo;
use bollard::query_parameters::EventsOptionsBuilder;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Longest wait for an answer, streams excepted.
const TIMEOUT_S: u64 = 60;
/// First and longest wait for an engine that is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Word from the engine.
#[derive(Debug)]
pub enum Word {
    /// It answers. Whatever was known about containers may have changed.
    Up {
        /// A client that speaks its version.
        docker: Docker,
        /// Its version.
        version: String,
        /// Where it keeps images and containers.
        data_root: PathBuf,
    },
    /// It has gone, or was never there.
    Down {
        /// Why.
        error: DockerError,
    },
    /// Something happened to one of our containers.
    Container {
        /// The engine's id.
        id: String,
        /// Name in the document.
        name: String,
        /// Which of the two.
        part: Part,
        /// What.
        what: Happening,
    },
}

/// What happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// It started.
    Started,
    /// It ended.
    Died {
        /// Its exit code.
        exit_code: Option<i64>,
    },
    /// It ran out of memory.
    Oom,
    /// Its health check changed its mind.
    Health {
        /// `healthy` or `unhealthy`.
        status: String,
    },
    /// It was removed.
    Removed,
    /// Something else; worth looking at it again.
    Other,
}

/// Watches the engine behind `socket` for ever.
pub fn watch(socket: PathBuf, node: String) -> mpsc::Receiver<Word> {
    let (sender, receiver) = mpsc::channel(256);
    tokio::spawn(async move {
        let mut wait = RETRY.0;
        let mut up = None;
        loop {
            // Events from here on are replayed, so that none falls between looking and listening.
            let since = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            match connect(&socket).await {
                Ok((docker, info)) => {
                    wait = RETRY.0;
                    up = Some(true);
                    let word = Word::Up {
                        docker: docker.clone(),
                        version: info.server_version.unwrap_or_default(),
                        data_root: info.docker_root_dir.unwrap_or_default().into(),
                    };
                    if sender.send(word).await.is_err() {
                        return;
                    }
                    let error = listen(&docker, &node, since, &sender).await;
                    let Some(source) = error else { return };
                    let error = DockerError::Unreachable {
                        path: socket.clone(),
                        source,
                    };
                    if sender.send(Word::Down { error }).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // Said once, not at every attempt.
                    if up != Some(false) && sender.send(Word::Down { error }).await.is_err() {
                        return;
                    }
                    up = Some(false);
                    tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                    wait = (wait * 2).min(RETRY.1);
                }
            }
        }
    });
    receiver
}

/// A client that speaks the engine's version, and what the engine says of itself.
pub(crate) async fn connect(socket: &Path) -> Result<(Docker, SystemInfo), DockerError> {
    let refuse = |source| DockerError::Unreachable {
        path: socket.to_owned(),
        source: Box::new(source),
    };
    let path = socket.to_string_lossy();
    let docker =
        Docker::connect_with_unix(&path, TIMEOUT_S, API_DEFAULT_VERSION).map_err(refuse)?;
    let docker = docker.negotiate_version().await.map_err(refuse)?;
    let info = docker.info().await.map_err(refuse)?;
    Ok((docker, info))
}

/// Forwards events until the stream ends; `None` when nobody listens any more.
async fn listen(
    docker: &Docker,
    node: &str,
    since: Duration,
    sender: &mpsc::Sender<Word>,
) -> Option<Box<bollard::errors::Error>> {
    let filters: HashMap<String, Vec<String>> = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("label".to_owned(), vec![format!("{}={node}", Labels::NODE)]),
    ]);
    let since = format!("{}.{:09}", since.as_secs(), since.subsec_nanos());
    let options = EventsOptionsBuilder::default()
        .since(&since)
        .filters(&filters)
        .build();
    let mut events = std::pin::pin!(docker.events(Some(options)));
    loop {
        let event = match events.next().await {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Some(Box::new(error)),
            None => {
                let ended = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Some(Box::new(ended.into()));
            }
        };
        let Some(actor) = event.actor else { continue };
        let attributes = actor.attributes.unwrap_or_default();
        let (Some(id), Some(action)) = (actor.id, event.action) else {
            continue;
        };
        let Some(name) = attributes.get(Labels::NAME).cloned() else {
            continue;
        };
        let Some(what) = happening(&action, &attributes) else {
            continue;
        };
        let word = Word::Container {
            id,
            name,
            part: part_of(&attributes),
            what,
        };
        if sender.send(word).await.is_err() {
            return None;
        }
    }
}

/// Pause containers are told by their role.
pub(super) fn part_of(labels: &HashMap<String, String>) -> Part {
    match labels.get(Labels::ROLE).map(String::as_str) {
        Some("pause") => Part::Pause,
        _ => Part::Main,
    }
}

fn happening(action: &str, attributes: &HashMap<String, String>) -> Option<Happening> {
    Some(match action {
        "start" => Happening::Started,
        "die" => Happening::Died {
            exit_code: attributes
                .get("exitCode")
                .and_then(|code| code.parse().ok()),
        },
        "oom" => Happening::Oom,
        "destroy" => Happening::Removed,
        "create" | "stop" | "pause" | "unpause" | "update" | "rename" => Happening::Other,
        other => Happening::Health {
            status: other.strip_prefix("health_status: ")?.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_noise_is_not() {
        let attributes = HashMap::from([("exitCode".to_owned(), "137".to_owned())]);
        let died = Happening::Died {
            exit_code: Some(137),
        };
        assert_eq!(happening("die", &attributes), Some(died));
        let health = Happening::Health {
            status: "unhealthy".into(),
        };
        assert_eq!(
            happening("health_status: unhealthy", &attributes),
            Some(health)
        );
        assert_eq!(happening("exec_start: /bin/sh", &attributes), None);
    }
}
