//! Single steps on the engine. Each is safe to repeat.

use super::DockerError;
use super::error::status;
use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use std::time::Duration;

/// Seconds a container has to end by itself, where nobody says otherwise.
pub(super) const GRACE_S: u16 = 3;
/// How much longer than that the engine has to answer.
const ANSWER_S: u64 = 60;

/// Makes a container and starts it; returns its id.
pub async fn create(
    docker: &Docker,
    name: &str,
    body: ContainerCreateBody,
) -> Result<String, DockerError> {
    let image = body.image.clone().unwrap_or_default();
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let made = match docker.create_container(Some(options), body).await {
        Ok(made) => made,
        Err(error) if status(&error) == Some(404) => return Err(DockerError::ImageGone(image)),
        Err(error) => return Err(DockerError::refused("create container", name)(error)),
    };
    for warning in made.warnings {
        // Mostly about networks of Docker's own, which ours do without.
        tracing::debug!(container = name, %warning, "the engine warns");
    }
    start(docker, &made.id, name).await?;
    Ok(made.id)
}

/// Starts a container; one that runs already is as good.
pub async fn start(docker: &Docker, id: &str, name: &str) -> Result<(), DockerError> {
    let started = docker
        .start_container(id, None::<StartContainerOptions>)
        .await;
    started.map_err(DockerError::refused("start container", name))
}

/// Stops a container; one that has ended or gone is as good. It has `grace_s` seconds to end by
/// itself; as long as it was made with where that is not known any more.
pub async fn stop(
    docker: &Docker,
    id: &str,
    name: &str,
    grace_s: Option<u16>,
) -> Result<(), DockerError> {
    let options = StopContainerOptionsBuilder::default();
    let options = match grace_s {
        Some(grace_s) => options.t(grace_s.into()),
        None => options,
    };
    let longest = grace_s.map_or(u64::from(u16::MAX), u64::from) + ANSWER_S;
    let docker = docker.clone().with_timeout(Duration::from_secs(longest));
    match docker.stop_container(id, Some(options.build())).await {
        Err(error) if !matches!(status(&error), Some(304 | 404)) => {
            Err(DockerError::refused("stop container", name)(error))
        }
        _ => Ok(()),
    }
}

/// Removes a container with its anonymous volumes; one that has gone is as good. `gently` gives
/// it the time to end by itself.
pub async fn remove(
    docker: &Docker,
    id: &str,
    name: &str,
    gently: bool,
    grace_s: Option<u16>,
) -> Result<(), DockerError> {
    if gently {
        stop(docker, id, name, grace_s).await?;
    }
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    match docker.remove_container(id, Some(options)).await {
        // 409: somebody is removing it already.
        Err(error) if !matches!(status(&error), Some(404 | 409)) => {
            Err(DockerError::refused("remove container", name)(error))
        }
        _ => Ok(()),
    }
}
