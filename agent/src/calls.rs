//! Answers the controller's calls. Each answer is made by a task of its own that waits for the
//! engine, the forwarder, the link and its caller; the agent's loop never does.

mod container;
mod copy;
mod exec;
mod flow;
mod input;
mod logs;
mod output;
mod pass;
mod previous;
mod running;
mod update;

use crate::config::Settings;
use crate::doctor::{self, Vantage};
use crate::forwarder::{Forwarder, ForwarderError};
use crate::last_words::LastWords;
use crate::status::Identity;
use crate::update::{Desk, UpdateError};
use bollard::Docker;
use container::Container;
use flow::{Flow, Stop};
use input::Word;
use kc_agent_api::{Call, CallBody, NO_SUCH_CALL, Reply, ReplyBody, Topic, decode};
use kc_mqtt::Link;
use running::{Caller, Running};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Short answers being made at once; one more is told to come back.
const AT_ONCE: usize = 8;
/// Long answers being made at once. They have places of their own, so that people who follow
/// logs keep nobody from asking how a box is.
const STREAMS: usize = 16;
/// Calls remembered, because a QoS 1 message may come twice.
const REMEMBERED: usize = 64;
/// The link's backlog up to which parts are handed to it.
const BACKLOG: usize = 16;
/// How long the link may take to make room for one part.
const LINK: Duration = Duration::from_secs(30);

/// Answers calls.
pub struct Calls {
    answerer: Answerer,
    slots: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    recent: VecDeque<u64>,
    running: Running,
}

#[derive(Clone)]
struct Answerer {
    identity: Arc<Identity>,
    link: Link,
    forwarder: Forwarder,
    settings: Arc<Settings>,
    updates: Desk,
    last_words: LastWords,
}

impl Calls {
    /// Answers in the name of `identity`, over `link`; what is to be tried goes over `updates`.
    pub fn new(
        identity: Arc<Identity>,
        link: Link,
        forwarder: Forwarder,
        settings: Arc<Settings>,
        updates: Desk,
        last_words: LastWords,
    ) -> Self {
        let answerer = Answerer {
            identity,
            link,
            forwarder,
            settings,
            updates,
            last_words,
        };
        Self {
            answerer,
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            streams: Arc::new(Semaphore::new(STREAMS)),
            recent: VecDeque::new(),
            running: Running::default(),
        }
    }

    /// Takes up call `id`; `docker` is the engine, when it is there. Never waits.
    pub fn handle(&mut self, id: u64, payload: &[u8], docker: Option<Docker>) {
        let answerer = self.answerer.clone();
        let call = match decode::<Call>(payload) {
            Ok(call) => call,
            Err(error) => return answerer.refuse_at_once(id, &error),
        };
        // What is said about other answers means the same when it comes twice.
        match call.body {
            CallBody::Credit { id, parts } => {
                if !self.running.credit(id, parts) {
                    answerer.disown(id);
                }
            }
            CallBody::Cancel { id } => self.running.cancel(id),
            CallBody::Resize { id, window } => self.running.resize(id, window),
            CallBody::Input {
                id,
                part,
                base64,
                last,
            } => self.running.input(id, part, &base64, last),
            body => self.begin(id, body, docker),
        }
    }

    fn begin(&mut self, id: u64, body: CallBody, docker: Option<Docker>) {
        if self.recent.contains(&id) {
            return;
        }
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(id);
        let answerer = self.answerer.clone();
        let places = match body {
            CallBody::Logs { .. }
            | CallBody::Exec { .. }
            | CallBody::Upload { .. }
            | CallBody::Download { .. }
            | CallBody::Update { .. } => &self.streams,
            _ => &self.slots,
        };
        let Ok(slot) = Arc::clone(places).try_acquire_owned() else {
            return answerer.refuse_at_once(id, &CallError::Busy);
        };
        let (inward, words) = input::channel();
        let (entry, caller) = self.running.begin(id, body.credit(), inward);
        let heard = caller.credit.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = answerer.answer(id, body, docker, caller, words) => {}
                () = running::silent(heard, running::SILENCE) => tracing::info!(id, "an answer ends: nobody takes it"),
            }
            drop((entry, slot));
        });
        self.running.made_by(id, task.abort_handle());
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the agent is busy with other calls: {AT_ONCE} short ones or {STREAMS} long ones")]
    Busy,
    #[error("the call is not under way here: it has ended, or the agent was restarted")]
    Unknown,
    #[error("this box allows neither exec nor cp (allow-exec = false in its agent.toml)")]
    Forbidden,
    #[error("some of what was sent to it got lost on its way")]
    InputLost,
    #[error("the engine has ended its log while it still runs: ask again")]
    LogEnds,
    #[error("the engine has detached the command")]
    Detached,
    #[error("there is no {0} in the container")]
    NoPath(String),
    #[error("there is no directory {0} in the container")]
    NoDirectory(String),
    #[error("calls may ask for status, counters, echoes, probes and captures only")]
    NotForCalls,
    #[error(transparent)]
    Forwarder(#[from] ForwarderError),
    #[error(transparent)]
    Update(#[from] UpdateError),
    #[error("the Docker engine does not answer")]
    NoEngine,
    #[error("no container can be called {0:?}")]
    Name(String),
    #[error("container {name:?} is not on this box")]
    NoContainer { name: String },
    #[error(
        "nothing ran before as {name:?}: it was neither restarted, nor replaced since the agent started"
    )]
    NoPrevious { name: String },
    #[error("the engine refuses for {name:?}")]
    Engine {
        name: String,
        #[source]
        source: bollard::errors::Error,
    },
}

impl Answerer {
    async fn answer(
        &self,
        id: u64,
        body: CallBody,
        docker: Option<Docker>,
        caller: Caller,
        words: mpsc::Receiver<Word>,
    ) {
        let mut flow = Flow::new(self, id, caller.credit.clone());
        let outcome = match body {
            CallBody::Doctor => {
                let findings = doctor::examine(&self.settings, Vantage::Agent).await;
                let wall_ms = self.identity.boot.stamp().wall_ms;
                return self.send(id, ReplyBody::Doctor { findings, wall_ms }).await;
            }
            CallBody::Forwarder { request, .. } => self.pass(id, &mut flow, *request).await,
            CallBody::Update {
                attempt,
                size,
                signature,
                allow_downgrade,
                ..
            } => {
                let wanted = update::Wanted {
                    attempt,
                    size,
                    signature,
                    allow_downgrade,
                };
                update::update(self, &mut flow, wanted, (id, words)).await
            }
            body => {
                let inside = self.inside(id, &mut flow, body, docker, caller, words);
                inside.await
            }
        };
        flow.close(outcome).await;
    }

    /// What is about a container.
    async fn inside(
        &self,
        id: u64,
        flow: &mut Flow<'_>,
        body: CallBody,
        docker: Option<Docker>,
        caller: Caller,
        words: mpsc::Receiver<Word>,
    ) -> Result<(), Stop> {
        match body {
            CallBody::Logs {
                container,
                tail,
                since_s,
                since_wall_s,
                follow,
                timestamps,
                previous,
                ..
            } => {
                let container = Container::named(docker, &container)?;
                let lines = logs::Lines {
                    tail,
                    since_s,
                    since_wall_s,
                    follow,
                    timestamps,
                };
                if previous {
                    return previous::previous(flow, &container, &self.last_words, lines).await;
                }
                logs::logs(flow, &container, lines).await
            }
            CallBody::Exec {
                container,
                command,
                stdin,
                tty,
                ..
            } => {
                let container = Container::named(docker, &container)?;
                let wanted = exec::Wanted {
                    command,
                    stdin,
                    tty,
                };
                let ways = exec::Ways {
                    id,
                    input: words,
                    window: caller.window,
                };
                exec::exec(self, flow, &container, wanted, ways).await
            }
            CallBody::Upload {
                container, path, ..
            } => {
                let container = Container::named(docker, &container)?;
                copy::upload(self, flow, &container, path, (id, words)).await
            }
            CallBody::Download {
                container, path, ..
            } => {
                let container = Container::named(docker, &container)?;
                copy::download(self, flow, &container, path).await
            }
            // These are no calls about containers.
            CallBody::Forwarder { .. }
            | CallBody::Doctor
            | CallBody::Update { .. }
            | CallBody::Credit { .. }
            | CallBody::Cancel { .. }
            | CallBody::Input { .. }
            | CallBody::Resize { .. } => Ok(()),
        }
    }

    async fn send(&self, id: u64, body: ReplyBody) {
        self.send_part(id, &whole(body)).await;
    }

    /// `false` when nobody takes it any more; the caller has given up by then.
    async fn send_part(&self, id: u64, reply: &Reply) -> bool {
        self.link.backlog_below(BACKLOG, LINK).await && self.publish(id, reply)
    }

    /// Tells a caller that waits for what there is not.
    fn disown(&self, id: u64) {
        let reply = Reply {
            part: NO_SUCH_CALL,
            ..whole(refusal(&CallError::Unknown))
        };
        self.publish(id, &reply);
    }

    fn refuse_at_once(&self, id: u64, error: &dyn std::error::Error) {
        self.publish(id, &whole(refusal(error)));
    }

    fn publish(&self, id: u64, reply: &Reply) -> bool {
        let topic = Topic::Reply(self.identity.node.clone(), id);
        let message = match self.identity.message(&topic, reply) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, id, "an answer cannot be written");
                return false;
            }
        };
        match self.link.publish(message) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, id, "an answer cannot be sent");
                false
            }
        }
    }
}

fn whole(body: ReplyBody) -> Reply {
    Reply {
        part: 0,
        last: true,
        body,
    }
}

/// The error and its causes in one line.
fn refusal(error: &dyn std::error::Error) -> ReplyBody {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let message: Vec<_> = causes.map(ToString::to_string).collect();
    ReplyBody::Error {
        message: message.join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_causes() {
        let source = bollard::errors::Error::DockerResponseServerError {
            status_code: 500,
            message: "disk".into(),
        };
        let error = CallError::Engine {
            name: "fw-1".into(),
            source,
        };
        let ReplyBody::Error { message } = refusal(&error) else {
            panic!("an error is told as one");
        };
        assert!(
            message.contains("fw-1") && message.contains("disk"),
            "{message}"
        );
    }
}
