//! Images: having the right one on the box, and telling which one it is.

use super::DockerError;
use super::error::status;
use crate::reconcile::PulledImage;
use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::models::ImageInspect;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptions};
use futures_util::StreamExt;
use kc_agent_api::{PullLogin, PullPolicy};

/// Has `image` on the box, and makes sure that the box can run it. Returns the engine's id of it if it
/// was pulled. `login` is given to the engine for this pull and kept by nobody.
pub async fn ensure_image(
    docker: &Docker,
    image: &str,
    policy: PullPolicy,
    login: Option<&PullLogin>,
) -> Result<Option<String>, DockerError> {
    if policy != PullPolicy::Always {
        if let Some(found) = find(docker, image).await? {
            return suits(docker, image, &found).await.map(|()| None);
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
    let mut progress =
        std::pin::pin!(docker.create_image(Some(options), None, login.map(credentials)));
    while let Some(step) = progress.next().await {
        let verb = match login {
            Some(_) => "pull, with the login of its pull secret, image",
            None => "pull image",
        };
        let step = step.map_err(DockerError::refused(verb, image))?;
        if let Some(status) = step.status {
            tracing::debug!(%image, id = step.id.unwrap_or_default(), %status, "pulling");
        }
    }
    match find(docker, image).await? {
        Some(found) => {
            suits(docker, image, &found).await?;
            Ok(Some(found.id.unwrap_or_default()))
        }
        None => Err(DockerError::ImageGone(image.to_owned())),
    }
}

fn credentials(login: &PullLogin) -> DockerCredentials {
    DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(login.password.clone()),
        serveraddress: login.server.clone(),
        ..DockerCredentials::default()
    }
}

/// Whether an image is on the box, by reference or by the engine's id.
pub async fn has_image(docker: &Docker, image: &str) -> Result<bool, DockerError> {
    Ok(find(docker, image).await?.is_some())
}

/// Removes an image, unless a container uses it or it has other names: the engine refuses that. Says
/// whether it is gone.
pub async fn remove_image(docker: &Docker, image: &PulledImage) -> Result<bool, DockerError> {
    let named = find(docker, &image.reference).await?;
    let still = named.is_some_and(|named| named.id.as_ref() == Some(&image.id));
    // By its name where it has that one: others pulled it as something else too, perhaps.
    let name = match still {
        true => &image.reference,
        false => &image.id,
    };
    match docker
        .remove_image(name, None::<RemoveImageOptions>, None)
        .await
    {
        Ok(_) => Ok(true),
        Err(error) => match status(&error) {
            Some(404) => Ok(true),
            Some(409) => Ok(false),
            _ => Err(DockerError::refused("remove image", name)(error)),
        },
    }
}

/// The registry's digest of an image, by the engine's id of it; that id where no registry has it.
pub async fn digest(docker: &Docker, id: &str) -> Result<String, DockerError> {
    let found = find(docker, id).await?;
    let digests = found
        .and_then(|found| found.repo_digests)
        .unwrap_or_default();
    let digest = digests.iter().find_map(|digest| digest.split_once('@'));
    Ok(digest.map_or_else(|| id.to_owned(), |(_, digest)| digest.to_owned()))
}

async fn find(docker: &Docker, image: &str) -> Result<Option<ImageInspect>, DockerError> {
    match docker.inspect_image(image).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(DockerError::refused("inspect image", image)(error)),
    }
}

async fn suits(docker: &Docker, image: &str, found: &ImageInspect) -> Result<(), DockerError> {
    let made_for = found.architecture.clone().unwrap_or_default();
    let version = docker.version().await;
    let version = version.map_err(DockerError::refused("ask the version of", "the engine"))?;
    let engine = version.arch.unwrap_or_default();
    if runs(&engine, &made_for) {
        return Ok(());
    }
    Err(DockerError::Architecture {
        image: image.to_owned(),
        made_for,
        engine,
    })
}

/// Whether an engine of one architecture runs images of another, both in Go's words. 64-bit boxes run
/// the 32-bit images of their family, as Pis with a 64-bit kernel mostly do.
fn runs(engine: &str, image: &str) -> bool {
    image.is_empty()
        || engine.is_empty()
        || engine == image
        || matches!((engine, image), ("arm64", "arm") | ("amd64", "386"))
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

    #[test]
    fn a_box_runs_its_own_architecture_and_the_smaller_one_of_its_family() {
        for (engine, image, fine) in [
            ("arm64", "arm64", true),
            ("arm64", "arm", true),
            ("arm", "arm64", false),
            ("amd64", "arm64", false),
            ("amd64", "", true),
        ] {
            assert_eq!(runs(engine, image), fine, "{image} on {engine}");
        }
    }
}
