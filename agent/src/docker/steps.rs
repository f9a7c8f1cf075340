//! Single steps on the engine. Each is safe to repeat.

use super::DockerError;
use super::error::status;
use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder,
};
use futures_util::StreamExt;
use kc_agent_api::PullPolicy;

/// Seconds a container has to end by itself.
const GRACE_S: i32 = 3;

/// Has `image` on the box. Says whether it was pulled.
pub async fn ensure_image(
    docker: &Docker,
    image: &str,
    policy: PullPolicy,
) -> Result<bool, DockerError> {
    if policy != PullPolicy::Always {
        match docker.inspect_image(image).await {
            Ok(_) => return Ok(false),
            Err(error) if status(&error) == Some(404) => {}
            Err(error) => return Err(DockerError::refused("inspect image", image)(error)),
        }
        if policy == PullPolicy::Never {
            return Err(DockerError::NoImage(image.to_owned()));
        }
    }
    let (name, tag) = split_reference(image);
    let options = CreateImageOptionsBuilder::default()
        .from_image(name)
        .tag(tag)
        .build();
    let mut progress = std::pin::pin!(docker.create_image(Some(options), None, None));
    while let Some(step) = progress.next().await {
        let step = step.map_err(DockerError::refused("pull image", image))?;
        if let Some(status) = step.status {
            tracing::debug!(%image, id = step.id.unwrap_or_default(), %status, "pulling");
        }
    }
    Ok(true)
}

/// Name and tag of a reference. Without a tag the engine would pull every tag there is.
fn split_reference(image: &str) -> (&str, &str) {
    let after_slash = image.rfind('/').map_or(0, |at| at + 1);
    if image.contains('@') {
        return (image, "");
    }
    match image[after_slash..].rfind(':') {
        Some(at) => (&image[..after_slash + at], &image[after_slash + at + 1..]),
        None => (image, "latest"),
    }
}

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

/// Stops a container; one that has ended or gone is as good.
pub async fn stop(docker: &Docker, id: &str, name: &str) -> Result<(), DockerError> {
    let options = StopContainerOptionsBuilder::default().t(GRACE_S).build();
    match docker.stop_container(id, Some(options)).await {
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
) -> Result<(), DockerError> {
    if gently {
        stop(docker, id, name).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_split_at_its_tag_and_never_at_a_port() {
        for (image, name, tag) in [
            ("alpine", "alpine", "latest"),
            ("kcluster/function:latest", "kcluster/function", "latest"),
            ("192.168.50.254:5000/fw", "192.168.50.254:5000/fw", "latest"),
            ("192.168.50.254:5000/fw:2", "192.168.50.254:5000/fw", "2"),
            ("a/b@sha256:00", "a/b@sha256:00", ""),
        ] {
            assert_eq!(split_reference(image), (name, tag));
        }
    }
}
