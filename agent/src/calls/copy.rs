//! Files into and out of containers, as tar archives. The engine packs and unpacks them, so no
//! path of a container is ever opened by us.

use super::container::Container;
use super::flow::{Flow, PART, Stop};
use super::input::{self, Allowance, Word};
use super::output::at_hand;
use super::{Answerer, CallError};
use bollard::container::PathStatResponse;
use bollard::errors::Error;
use bollard::query_parameters::{
    ContainerArchiveInfoOptions, DownloadFromContainerOptions, UploadToContainerOptions,
};
use futures_util::{StreamExt as _, stream};
use kc_agent_api::{Entry, ReplyBody};
use tokio::sync::mpsc;

/// Bits of the engine's file modes (those of Go's `fs.FileMode`).
const DIRECTORY: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
const OTHER: u32 = (1 << 26) | (1 << 25) | (1 << 24) | (1 << 21);

const fn is_directory(mode: u32) -> bool {
    mode & DIRECTORY != 0
}

fn entry(mode: u32) -> Entry {
    match mode {
        mode if is_directory(mode) => Entry::Directory,
        mode if mode & LINK != 0 => Entry::Link,
        mode if mode & OTHER != 0 => Entry::Other,
        _ => Entry::File,
    }
}

async fn look(container: &Container, path: &str) -> Result<Option<PathStatResponse>, CallError> {
    let path = path.to_owned();
    let options = Some(ContainerArchiveInfoOptions { path });
    let docker = &container.docker;
    match docker
        .get_container_archive_info(&container.id, options)
        .await
    {
        Ok(found) => Ok(Some(found)),
        Err(Error::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(error) => Err(container.error(error)),
    }
}

/// `/a` for `/a/b` and `/a/b/`; `/` at the top.
fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

fn begun(entry: Option<Entry>) -> ReplyBody {
    ReplyBody::Begun {
        credit: input::WINDOW,
        entry,
    }
}

/// Unpacks what its caller sends at `path` where that is a directory, else beside it.
pub(super) async fn upload(
    answerer: &Answerer,
    flow: &mut Flow<'_>,
    container: &Container,
    mut path: String,
    (id, words): (u64, mpsc::Receiver<Word>),
) -> Result<(), Stop> {
    allowed(answerer)?;
    container.must_exist().await?;
    let found = look(container, &path).await?;
    let mut entry = found.as_ref().map(|found| entry(found.file_mode));
    if let Some(link) = found.filter(|found| !found.link_target.is_empty()) {
        // The engine has resolved it inside of the container. A link to a directory is one; any
        // other is replaced.
        let behind = look(container, &link.link_target).await?;
        if behind.is_some_and(|behind| is_directory(behind.file_mode)) {
            path.clone_from(&link.link_target);
            entry = Some(Entry::Directory);
        }
    }
    if entry != Some(Entry::Directory) {
        if path.ends_with('/') {
            return Err(CallError::NoDirectory(path).into());
        }
        path = parent(&path).to_owned();
        if look(container, &path).await?.is_none() {
            return Err(CallError::NoDirectory(path).into());
        }
    }
    flow.send(begun(entry)).await?;
    let options = UploadToContainerOptions {
        path,
        no_overwrite_dir_non_dir: Some("true".into()),
        ..UploadToContainerOptions::default()
    };
    // An archive that breaks off is one to the engine as well, so the end is told apart.
    let (whole, mut lost) = tokio::sync::oneshot::channel();
    let state = (words, Allowance::default(), answerer.clone(), Some(whole));
    let tar = stream::unfold(
        state,
        move |(mut words, mut allowance, answerer, mut whole)| async move {
            match words.recv().await {
                Some(Word::Octets(octets)) => {
                    if let Some(parts) = allowance.taken() {
                        Flow::allow(&answerer, id, parts);
                    }
                    Some((octets.into(), (words, allowance, answerer, whole)))
                }
                Some(Word::End) => {
                    whole.take().map(|whole| whole.send(()));
                    None
                }
                None => None,
            }
        },
    );
    let docker = &container.docker;
    let taken = docker.upload_to_container(&container.id, Some(options), bollard::body_stream(tar));
    taken.await.map_err(|error| container.error(error))?;
    if lost.try_recv().is_err() {
        return Err(CallError::InputLost.into());
    }
    flow.end(ReplyBody::Ended { exit_code: None }).await
}

/// Sends the archive of what is at `path`.
pub(super) async fn download(
    answerer: &Answerer,
    flow: &mut Flow<'_>,
    container: &Container,
    path: String,
) -> Result<(), Stop> {
    allowed(answerer)?;
    container.must_exist().await?;
    let found = look(container, &path).await?;
    let found = found.ok_or_else(|| CallError::NoPath(path.clone()))?;
    flow.send(begun(Some(entry(found.file_mode)))).await?;
    let options = Some(DownloadFromContainerOptions { path });
    let docker = &container.docker;
    let mut tar = Box::pin(docker.download_from_container(&container.id, options));
    let (mut held, mut over) = (Vec::new(), false);
    loop {
        flow.room().await?;
        while held.len() < PART && !over {
            // What is there already shares a part; nothing waits for company.
            let next = match held.is_empty() {
                true => Some(tar.next().await),
                false => at_hand(&mut tar).await,
            };
            match next {
                Some(Some(octets)) => {
                    held.extend_from_slice(&octets.map_err(|e| container.error(e))?);
                }
                Some(None) => over = true,
                None => break,
            }
        }
        if held.is_empty() {
            return flow.end(ReplyBody::Ended { exit_code: None }).await;
        }
        let rest = held.split_off(held.len().min(PART));
        flow.send(ReplyBody::data(&held)).await?;
        held = rest;
    }
}

fn allowed(answerer: &Answerer) -> Result<(), CallError> {
    if answerer.settings.allow_exec {
        Ok(())
    } else {
        Err(CallError::Forbidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_at_a_path_is_told_by_its_mode() {
        assert_eq!(entry(0o644), Entry::File);
        assert_eq!(entry(DIRECTORY | 0o755), Entry::Directory);
        assert_eq!(entry(LINK | 0o777), Entry::Link);
        assert_eq!(entry((1 << 26) | 0o600), Entry::Other, "a device");
    }

    #[test]
    fn a_parent_is_found_at_the_top_too() {
        for (path, above) in [
            ("/a/b", "/a"),
            ("/a/b/", "/a"),
            ("/a", "/"),
            ("a", "/"),
            ("/", "/"),
        ] {
            assert_eq!(parent(path), above, "{path}");
        }
    }
}
