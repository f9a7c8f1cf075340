//! The task that owns the forwarder and the one connection to it.

use super::ForwarderError;
use super::connection::Connection;
use super::process::{Place, former, last_line, start, wait_for_end};
use super::watch::Watch;
use crate::config::Settings;
use crate::ledger::store_tables;
use kc_forwarder_api::{
    ControlError, Counters, ErrorCode, HealthEvent, HealthState, Request, Response, SfName, Status,
    Tables, TunnelName,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

/// First and longest wait between starts of a forwarder that does not stay.
const RETRY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(5));
/// A forwarder that stayed this long is restarted at once.
const STABLE: Duration = Duration::from_secs(2);

/// Word from the supervisor.
#[derive(Debug)]
pub enum Word {
    /// A forwarder answers.
    Up {
        /// Its state.
        status: Box<Status>,
        /// Whether it was there before us.
        adopted: bool,
    },
    /// It has ended; the next one is on its way.
    Down {
        /// How, for people.
        reason: String,
    },
    /// None can be had for now.
    Unavailable {
        /// Why.
        error: ForwarderError,
    },
    /// What its health is now; changes follow.
    Watching {
        /// Tunnels.
        tunnels: BTreeMap<TunnelName, HealthState>,
        /// Functions.
        functions: BTreeMap<SfName, HealthState>,
    },
    /// Health has changed.
    Health(HealthEvent),
    /// Tables are in force.
    Applied {
        /// Their generation.
        generation: u64,
    },
    /// Tables were refused; the ones before stay in force.
    Refused {
        /// Their generation.
        generation: u64,
        /// Why.
        error: ControlError,
    },
}

enum Command {
    Apply(Box<Tables>),
    Ask(Request, oneshot::Sender<Result<Response, ForwarderError>>),
}

/// Handle to the supervised forwarder. Clones share it.
#[derive(Clone)]
pub struct Forwarder {
    commands: mpsc::Sender<Command>,
    socket: PathBuf,
}

/// A handle and what is heard from it.
pub struct Supervision {
    /// The handle.
    pub forwarder: Forwarder,
    /// What happens.
    pub words: mpsc::Receiver<Word>,
}

impl Forwarder {
    /// Adopts or starts the forwarder of `settings`, for ever.
    pub fn supervise(settings: &Settings) -> Supervision {
        Self::supervise_from(settings, false)
    }

    /// As [`Forwarder::supervise`]; `anew` puts another program's forwarder that answers down first:
    /// the one of the version before an update.
    pub fn supervise_from(settings: &Settings, anew: bool) -> Supervision {
        let (commands, receiver) = mpsc::channel(16);
        let (sender, words) = mpsc::channel(64);
        let supervisor = Supervisor {
            place: Place {
                program: settings.forwarder.clone(),
                socket: settings.forwarder_socket(),
                tables: settings.forwarder_tables(),
                log: settings.run_dir.join("forwarder.log"),
            },
            anew,
            tables: None,
            commands: receiver,
            words: sender,
        };
        tokio::spawn(supervisor.run());
        Supervision {
            forwarder: Self {
                commands,
                socket: settings.forwarder_socket(),
            },
            words,
        }
    }

    /// Hands tables over, now and to every forwarder that follows. The outcome is a [`Word`].
    pub async fn apply(&self, tables: Tables) {
        let _ = self.commands.send(Command::Apply(Box::new(tables))).await;
    }

    /// A connection of one's own, for what takes its time.
    pub async fn open(&self) -> Result<Connection, ForwarderError> {
        let opened = Connection::open(&self.socket).await;
        opened.map_err(|_| ForwarderError::Absent)
    }

    /// All counters.
    pub async fn counters(&self) -> Result<Counters, ForwarderError> {
        match self.ask(Request::Counters).await? {
            Response::Counters { counters } => Ok(*counters),
            _ => Err(ForwarderError::OutOfStep),
        }
    }

    /// Version, generation, ports.
    pub async fn status(&self) -> Result<Status, ForwarderError> {
        match self.ask(Request::Status).await? {
            Response::Status { status } => Ok(*status),
            _ => Err(ForwarderError::OutOfStep),
        }
    }

    async fn ask(&self, request: Request) -> Result<Response, ForwarderError> {
        let (sender, receiver) = oneshot::channel();
        let command = Command::Ask(request, sender);
        self.commands
            .send(command)
            .await
            .map_err(|_| ForwarderError::Absent)?;
        receiver.await.map_err(|_| ForwarderError::Absent)?
    }
}

struct Supervisor {
    place: Place,
    /// Whether the first one that answers is replaced when it is another program.
    anew: bool,
    /// What every forwarder gets.
    tables: Option<Box<Tables>>,
    commands: mpsc::Receiver<Command>,
    words: mpsc::Sender<Word>,
}

/// A forwarder that answers.
struct Live {
    connection: Connection,
    /// Only when we started it.
    child: Option<Child>,
    since: Instant,
    /// Once it has its tables.
    watch: Option<Watch>,
}

/// Nobody holds the handle any more.
struct Over;

impl Supervisor {
    async fn run(mut self) {
        let mut wait = Duration::ZERO;
        let mut with_tables = true;
        loop {
            match self.attach(with_tables).await {
                Ok(live) => {
                    let since = live.since;
                    let Ok(reason) = self.serve(live).await else {
                        return;
                    };
                    with_tables = true;
                    wait = if since.elapsed() >= STABLE {
                        Duration::ZERO
                    } else {
                        longer(wait)
                    };
                    if self.words.send(Word::Down { reason }).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // Tables that a forwarder dies of must not keep it from ever starting.
                    let ended = matches!(error, ForwarderError::Ended { .. });
                    with_tables = !(with_tables && ended);
                    wait = longer(wait);
                    if self.words.send(Word::Unavailable { error }).await.is_err() {
                        return;
                    }
                }
            }
            if self.pause(wait).await.is_err() {
                return;
            }
        }
    }

    /// Adopts the forwarder that answers, or starts one; gives it its tables.
    async fn attach(&mut self, with_tables: bool) -> Result<Live, ForwarderError> {
        let (connection, child) = match Connection::open(&self.place.socket).await {
            Ok(connection) => match former(&self.place, &connection) {
                Some(former) if std::mem::take(&mut self.anew) => {
                    let (child, connection) = self.replace(connection, former).await?;
                    (connection, Some(child))
                }
                _ => (connection, None),
            },
            Err(_) => {
                let (child, connection) = start(&self.place, with_tables).await?;
                (connection, Some(child))
            }
        };
        let adopted = child.is_none();
        let mut live = Live {
            connection,
            child,
            since: Instant::now(),
            watch: None,
        };
        let status = match live.connection.ask(&Request::Status).await {
            Ok(Response::Status { status }) => status,
            Ok(_) => return Err(ForwarderError::OutOfStep),
            Err(error) => {
                put_down(&mut live, &error).await;
                return Err(error);
            }
        };
        let _ = self.words.send(Word::Up { status, adopted }).await;
        if self.tables.is_some() {
            self.apply(&mut live).await?;
        }
        live.watch = Some(Watch::start(self.place.socket.clone(), self.words.clone()));
        Ok(live)
    }

    /// Starts ours in the place of another program's, at once and with its tables; or that one again,
    /// if ours does not start: packets matter more than versions.
    async fn replace(
        &mut self,
        connection: Connection,
        former: PathBuf,
    ) -> Result<(Child, Connection), ForwarderError> {
        let pid = connection.pid.map(Pid::from_raw);
        if let Some(pid) = pid.filter(|pid| pid.as_raw() > 1) {
            tracing::info!(%pid, former = %former.display(), "the forwarder is replaced by that of this version");
            let _ = kill(pid, Signal::SIGKILL);
        }
        drop(connection);
        wait_for_end(pid.map(Pid::as_raw)).await;
        match start(&self.place, true).await {
            Err(error) if former.exists() => {
                tracing::error!(%error, "the forwarder of this version does not start: the former one goes on");
                self.place.program = former;
                start(&self.place, true).await
            }
            started => started,
        }
    }

    /// Serves until the forwarder has gone; says how.
    async fn serve(&mut self, mut live: Live) -> Result<String, Over> {
        loop {
            let outcome = tokio::select! {
                error = live.connection.gone() => Err(ForwarderError::Broken(error)),
                command = self.commands.recv() => match command {
                    None => return Err(Over),
                    Some(Command::Apply(tables)) => {
                        self.tables = Some(tables);
                        self.apply(&mut live).await
                    }
                    Some(Command::Ask(request, answer)) => {
                        match live.connection.ask(&request).await {
                            Err(error @ ForwarderError::Refused(_)) => {
                                let _ = answer.send(Err(error));
                                Ok(())
                            }
                            Err(error) => {
                                let _ = answer.send(Err(ForwarderError::Absent));
                                Err(error)
                            }
                            Ok(response) => {
                                let _ = answer.send(Ok(response));
                                Ok(())
                            }
                        }
                    }
                },
            };
            if let Err(error) = outcome {
                return Ok(self.obituary(&mut live, error).await);
            }
        }
    }

    /// Hands the tables over. An error means that the connection is of no use any more.
    async fn apply(&mut self, live: &mut Live) -> Result<(), ForwarderError> {
        let Some(tables) = self.tables.clone() else {
            return Ok(());
        };
        let request = Request::Apply {
            tables: tables.clone(),
        };
        let word = match live.connection.ask(&request).await {
            Ok(Response::Applied { generation }) => {
                let path = self.place.tables.clone();
                let stored =
                    tokio::task::spawn_blocking(move || store_tables(&path, &tables)).await;
                if let Ok(Err(error)) = stored {
                    tracing::error!(%error, "a restarted forwarder will begin with older tables");
                }
                Word::Applied { generation }
            }
            // The same tables under the same generation are no contradiction.
            Err(ForwarderError::Refused(error)) if self.in_force(live, &error).await => {
                Word::Applied {
                    generation: tables.generation,
                }
            }
            Err(ForwarderError::Refused(error)) => Word::Refused {
                generation: tables.generation,
                error,
            },
            Ok(_) => return Err(ForwarderError::OutOfStep),
            Err(error) => return Err(error),
        };
        let _ = self.words.send(word).await;
        Ok(())
    }

    async fn in_force(&self, live: &mut Live, error: &ControlError) -> bool {
        if error.code != ErrorCode::Stale {
            return false;
        }
        match live.connection.ask(&Request::Tables).await {
            Ok(Response::Tables { tables }) => Some(&tables) == self.tables.as_ref(),
            _ => false,
        }
    }

    /// Makes sure that a forwarder that no longer serves has ended, and tells how.
    async fn obituary(&self, live: &mut Live, error: ForwarderError) -> String {
        put_down(live, &error).await;
        let Some(child) = &mut live.child else {
            wait_for_end(live.connection.pid).await;
            return error.to_string();
        };
        match timeout(Duration::from_millis(500), child.wait()).await {
            Ok(Ok(status)) => format!("{status}; last words: {}", last_line(&self.place.log)),
            _ => error.to_string(),
        }
    }

    /// Waits, and refuses questions meanwhile.
    async fn pause(&mut self, wait: Duration) -> Result<(), Over> {
        if wait.is_zero() {
            return Ok(());
        }
        let end = sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0));
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                command = self.commands.recv() => match command {
                    None => return Err(Over),
                    Some(Command::Apply(tables)) => self.tables = Some(tables),
                    Some(Command::Ask(_, answer)) => {
                        let _ = answer.send(Err(ForwarderError::Absent));
                    }
                },
            }
        }
    }
}

/// Kills a forwarder that is there but does not serve: nobody else can take its ports over.
async fn put_down(live: &mut Live, error: &ForwarderError) {
    if matches!(error, ForwarderError::Broken(_)) {
        // It has closed the connection, so it has ended or is about to.
        return;
    }
    tracing::error!(%error, pid = live.connection.pid, "killing the forwarder");
    let pid = live.connection.pid.map(Pid::from_raw);
    if let Some(pid) = pid.filter(|pid| pid.as_raw() > 1) {
        let _ = kill(pid, Signal::SIGKILL);
        let _ = timeout(Duration::from_secs(1), live.connection.gone()).await;
    }
}

fn longer(wait: Duration) -> Duration {
    (wait * 2).clamp(RETRY.0, RETRY.1)
}
