//! Running steps beside each other, one a lane, and what follows from how they end.

use super::images::{Room, collect};
use super::{Keeper, explain};
use crate::docker::{self, Brought, DockerError, container_body, container_name, pause_body};
use crate::last_words::LastWords;
use crate::probe::probe;
use crate::reconcile::{Action, Lane, Part, PulledImage};
use crate::vault::{self, VaultError};
use crate::wiring::{self, WiringError};
use bollard::Docker;
use kc_agent_api::{ContainerSpec, EventKind, PullPolicy};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::task::{Id, JoinError};

/// Where opened secrets are, below the run directory.
const SECRETS: &str = "secrets";

/// What a step has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// This container.
    Container(String),
    /// Interfaces.
    Links,
    /// An image came: the engine's id of it.
    Pulled(String),
    /// These images have gone.
    Collected(Vec<PulledImage>),
    /// A health check was tried, and this came of it.
    Tried(Result<(), String>),
    /// Nothing.
    Nothing,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Wiring(#[from] WiringError),
    #[error("the Docker engine is away")]
    NoEngine,
    #[error("it has left the document")]
    Unwanted,
}

type Ended = Result<(Id, Result<Touched, StepError>), JoinError>;

impl Keeper {
    /// Starts a step.
    pub(super) fn launch(&mut self, action: Action) {
        match &action {
            Action::Probe { .. } => tracing::debug!("{action}"),
            _ => tracing::info!("{action}"),
        }
        if let Action::Restart { name, .. } = &action {
            self.restarts_unhealthy(&name.clone());
        }
        if let Action::Start {
            name, again: true, ..
        } = &action
        {
            let now = self.now_ms();
            let lane = Lane::Restart(name.clone());
            self.memory.backoffs.restarted(lane, now, fastrand::f64());
        }
        let step = Step {
            docker: self.docker.clone(),
            last_words: self.last_words.clone(),
            node: self.settings.node.to_string(),
            files: self.settings.state_dir.join("files"),
            secrets: self.settings.run_dir.join(SECRETS),
            state_dir: self.settings.state_dir.clone(),
            pause_image: self.settings.pause_image.clone(),
            want: self.wanted(action.lane().object()).cloned(),
            room: self.room(),
            pinned: self
                .memory
                .rollouts
                .pinned(action.lane().object())
                .map(str::to_owned),
        };
        self.memory.in_flight.insert(action.lane());
        let handle = self.steps.spawn(step.run(action.clone()));
        self.running.insert(handle.id(), (action, handle));
    }

    fn wanted(&self, name: &str) -> Option<&ContainerSpec> {
        let mut containers = self.effective.containers.iter();
        containers.find(|want| want.name == name)
    }

    /// Ends pulls whose outcome nobody wants any more.
    pub(super) fn cancel_stale_pulls(&mut self, marks: &BTreeSet<(String, Part, String)>) {
        let stale = |action: &Action| match action {
            Action::Image {
                name, part, hash, ..
            } => !marks.contains(&(name.clone(), *part, hash.clone())),
            _ => false,
        };
        let stale: Vec<Id> = self
            .running
            .iter()
            .filter(|(_, (action, _))| stale(action))
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            if let Some((action, handle)) = self.running.remove(&id) {
                tracing::info!("no longer wanted: {action}");
                handle.abort();
                self.memory.in_flight.remove(&action.lane());
            }
        }
    }

    /// A step has ended.
    pub(super) async fn on_step(&mut self, ended: Ended) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, Some(outcome)),
            Err(error) => (error.id(), None),
        };
        // Cancelled while it ran: its outcome is of no interest.
        let Some((action, _)) = self.running.remove(&id) else {
            return;
        };
        let lane = action.lane();
        self.memory.in_flight.remove(&lane);
        match outcome {
            Some(Ok(Touched::Tried(outcome))) => {
                if let Action::Probe { name, id, pid, .. } = &action {
                    self.tried(name, (id, *pid), outcome);
                }
            }
            Some(Ok(Touched::Collected(gone))) => self.collected(gone).await,
            Some(Ok(touched)) => self.succeeded(&action, touched).await,
            Some(Err(StepError::Unwanted)) => {}
            Some(Err(error)) => self.step_failed(&action, &error).await,
            None => tracing::error!("a step ended early: {action}"),
        }
    }

    async fn succeeded(&mut self, action: &Action, touched: Touched) {
        let lane = action.lane();
        match action {
            Action::Image {
                name,
                part,
                image,
                hash,
                ..
            } => {
                self.memory
                    .images
                    .insert((name.clone(), *part, hash.clone()));
                if let Touched::Pulled(id) = &touched {
                    self.event(EventKind::ImagePulled, name, format!("{image} pulled"));
                    self.pulled(id, image).await;
                }
            }
            Action::Create { name, part, .. } => self.consume_image(name, *part),
            Action::Remove {
                name,
                part: Part::Main,
                ..
            } if self.wanted(name).is_none() => {
                docker::forget_files(&self.settings.state_dir.join("files"), name);
                vault::forget_secrets(&self.settings.run_dir.join(SECRETS), name);
            }
            _ => {}
        }
        // A wire or a removal says nothing about whether the container can be made.
        let proves = !matches!(action, Action::Wire { .. } | Action::Remove { .. });
        if proves || !self.facts.failures.contains_key(&lane) {
            self.memory.backoffs.succeeded(&lane);
            self.facts.failures.remove(&lane);
        }
        match touched {
            Touched::Container(id) => {
                self.look_at(&id).await;
                self.look_at_links().await;
            }
            Touched::Links => {
                self.look_at_links().await;
                self.ask_ports_soon();
            }
            Touched::Pulled(_) | Touched::Collected(_) | Touched::Tried(_) | Touched::Nothing => {}
        }
    }

    async fn step_failed(&mut self, action: &Action, error: &StepError) {
        let told = explain(error);
        let lane = action.lane();
        let object = lane.object().to_owned();
        if let (StepError::Docker(DockerError::ImageGone(_)), Action::Create { name, part, .. }) =
            (error, action)
        {
            self.consume_image(name, *part);
        }
        let kind = match action {
            Action::Image { .. } => EventKind::ImagePullFailed,
            _ => EventKind::ContainerFailed,
        };
        if self.failed(lane, told.clone()) {
            self.event(kind, &object, format!("cannot {action}: {told}"));
        } else {
            tracing::warn!("still cannot {action}: {told}");
        }
        // It may have got half way.
        self.look_at_everything().await;
    }

    /// An image counts for one creation: the next one asks again.
    fn consume_image(&mut self, name: &str, part: Part) {
        self.memory
            .images
            .retain(|(n, p, _)| (n.as_str(), *p) != (name, part));
    }
}

/// What a step needs, apart from the loop.
struct Step {
    docker: Option<Docker>,
    last_words: LastWords,
    node: String,
    files: PathBuf,
    secrets: PathBuf,
    state_dir: PathBuf,
    pause_image: String,
    want: Option<ContainerSpec>,
    /// When a disk has room again.
    room: Room,
    /// The image that is meant, where what ran before comes back.
    pinned: Option<String>,
}

impl Step {
    async fn run(self, action: Action) -> Result<Touched, StepError> {
        let docker = || self.docker.as_ref().ok_or(StepError::NoEngine);
        let key = || vault::own_key(&self.state_dir);
        let grace_s = self.want.as_ref().and_then(|want| want.stop_timeout_s);
        match action {
            Action::Image {
                image,
                policy,
                pinned,
                part,
                ..
            } => {
                let docker = docker()?;
                let wanted = self.want.as_ref().filter(|_| part == Part::Main);
                let mut policy = policy;
                if let Some(pinned) = pinned {
                    if docker::has_image(docker, &pinned).await? {
                        return Ok(Touched::Nothing);
                    }
                    // Its name will have to do; a newer image of that name is not meant.
                    if policy == PullPolicy::Always {
                        policy = PullPolicy::IfNotPresent;
                    }
                }
                let asked = policy == PullPolicy::Always
                    || wanted.is_some_and(|want| want.pull_secret.is_some())
                        && !docker::has_image(docker, &image).await?;
                let login = match wanted {
                    Some(want) if asked => vault::login(want, key)?,
                    _ => None,
                };
                let pulled = docker::ensure_image(docker, &image, policy, login.as_ref()).await?;
                Ok(pulled.map_or(Touched::Nothing, Touched::Pulled))
            }
            Action::Create { name, part, join } => {
                let docker = docker()?.clone();
                let full = container_name(&name, part);
                let mut body = match (&self.want, part) {
                    (None, _) => return Err(StepError::Unwanted),
                    (Some(want), Part::Pause) => pause_body(&self.node, want, &self.pause_image),
                    (Some(want), Part::Main) => {
                        docker::find_devices(want)?;
                        docker::ensure_volumes(&docker, &self.node, want).await?;
                        let brought = Brought {
                            files: docker::write_files(&self.files, want)?,
                            secrets: vault::write_secrets(&self.secrets, want, key)?,
                        };
                        container_body(&self.node, want, join.as_deref(), brought)
                    }
                };
                if let (Some(pinned), Part::Main) = (self.pinned, part)
                    && docker::has_image(&docker, &pinned).await?
                {
                    body.image = Some(pinned);
                }
                Ok(Touched::Container(
                    docker::create(&docker, &full, body).await?,
                ))
            }
            Action::Start { name, part, id, .. } => {
                if let (Some(want), Part::Main) = (&self.want, part) {
                    docker::find_devices(want)?;
                    // A reboot has taken them away.
                    vault::write_secrets(&self.secrets, want, key)?;
                }
                docker::start(docker()?, &id, &container_name(&name, part)).await?;
                Ok(Touched::Container(id))
            }
            Action::Stop { name, id } => {
                docker::stop(docker()?, &id, &container_name(&name, Part::Main), grace_s).await?;
                Ok(Touched::Container(id))
            }
            Action::Restart { name, id } => {
                let (docker, full) = (docker()?, container_name(&name, Part::Main));
                docker::stop(docker, &id, &full, grace_s).await?;
                docker::start(docker, &id, &full).await?;
                Ok(Touched::Container(id))
            }
            Action::Probe {
                id,
                pid,
                addresses,
                check,
                ..
            } => {
                let tried = probe(docker()?, (&id, pid), addresses, &check).await;
                Ok(Touched::Tried(tried.map_err(|error| explain(&error))))
            }
            Action::Remove { name, part, id, .. } => {
                let gently = part == Part::Main;
                let full = container_name(&name, part);
                if gently {
                    // Ended first, so that it is heard out.
                    docker::stop(docker()?, &id, &full, grace_s).await?;
                    let words = docker::last_words(docker()?, &id).await;
                    self.last_words.keep(&name, words);
                }
                docker::remove(docker()?, &id, &full, gently, grace_s).await?;
                Ok(Touched::Container(id))
            }
            Action::Collect { images } => {
                let gone = collect(docker()?, images, self.room).await;
                Ok(Touched::Collected(gone))
            }
            Action::Wire { pid, legs, .. } => {
                wiring::wire(pid, legs).await?;
                Ok(Touched::Links)
            }
            Action::WireHost { leg } => {
                wiring::wire_host(leg).await?;
                Ok(Touched::Links)
            }
            Action::UnwireHost { port } => {
                wiring::unwire_host(port).await?;
                Ok(Touched::Links)
            }
        }
    }
}
