//! `kc cp`: files into and out of instances, by the rules of `docker cp`.

use super::args::CopyArgs;
use super::client::Client;
use super::exec::{print, standard_input};
use super::failure::Failure;
use super::get::escape;
use super::logs::place;
use super::pack::pack;
use super::session::{FrameReader, FrameWriter, SILENCE};
use super::unpack::{Target, unpack};
use crate::frame::Frame;
use crate::views::CopyRequest;
use indicatif::{ProgressBar, ProgressStyle};
use kc_agent_api::Entry;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// Pieces of an archive between its maker and its taker.
const WAITING: usize = 4;
/// Octets in one piece.
const PIECE: usize = 32 << 10;

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum End<'a> {
    Here(&'a str),
    There { instance: &'a str, path: &'a str },
}

/// `NAME:PATH`, unless a slash comes first: `./a:b` is a file here.
fn end(text: &str) -> End<'_> {
    match text.split_once(':') {
        Some((instance, path)) if !instance.is_empty() && !instance.contains('/') => {
            End::There { instance, path }
        }
        _ => End::Here(text),
    }
}

/// Whether only what a directory holds is meant, and the path without that word.
fn contents(path: &str) -> (bool, &str) {
    match path.strip_suffix("/.") {
        Some("") => (true, "/"),
        Some(path) => (true, path),
        None => (path == ".", path),
    }
}

/// The name of what a path leads to.
fn base(path: &str) -> Result<&str, Failure> {
    let name = path.trim_end_matches('/').rsplit('/').next();
    match name.unwrap_or_default() {
        "" if path.starts_with('/') => Ok("/"),
        "" | "." | ".." => Err(Failure::Usage(format!("{path:?} names no file"))),
        name => Ok(name),
    }
}

/// Copies, one way or the other.
pub(super) async fn copy(client: &Client, args: &CopyArgs) -> Result<(), Failure> {
    match (end(&args.from), end(&args.to)) {
        (End::Here(from), End::There { instance, path }) => {
            let session = open(client, instance, contents(path).1, true).await?;
            upload(session, from, path, progress(args)).await
        }
        (End::There { instance, path }, End::Here(to)) => {
            let session = open(client, instance, contents(path).1, false).await?;
            download(session, path, to, progress(args)).await
        }
        (End::Here(_), End::Here(_)) => Err(Failure::Usage(
            "one of the two must be INSTANCE:PATH, such as firewall-1:/etc".to_owned(),
        )),
        (End::There { .. }, End::There { .. }) => Err(Failure::Usage(
            "only one of the two may be INSTANCE:PATH: copy it here first, then there".to_owned(),
        )),
    }
}

fn progress(args: &CopyArgs) -> ProgressBar {
    if args.quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {bytes} copied, {bytes_per_sec}");
    let bar = ProgressBar::new_spinner();
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

/// A session about a path, and what is there.
struct Session {
    reader: FrameReader,
    writer: FrameWriter,
    entry: Option<Entry>,
}

async fn open(
    client: &Client,
    instance: &str,
    path: &str,
    upload: bool,
) -> Result<Session, Failure> {
    if path.is_empty() {
        return Err(Failure::Usage(format!(
            "a path is missing: {instance}:/PATH"
        )));
    }
    let node = place(client, instance).await?;
    let route = format!("/api/v1/nodes/{}/copy/{}", escape(&node), escape(instance));
    let path = path.to_owned();
    let wanted = CopyRequest { path, upload };
    let (mut reader, writer) = client.session(&route, &wanted).await?;
    let entry = match reader.next().await? {
        Frame::Entry(json) => serde_json::from_slice(&json).map_err(anyhow::Error::from)?,
        other => return Err(unexpected(other)),
    };
    Ok(Session {
        reader,
        writer,
        entry,
    })
}

fn unexpected(frame: Frame) -> Failure {
    Failure::Other(match frame {
        Frame::Failure(text) => anyhow::anyhow!(text),
        other => anyhow::anyhow!("the controller answered {other:?}"),
    })
}

/// A pipe whose ends are in different worlds: one is a file, the other awaits.
struct Pipe<T> {
    end: T,
    held: Vec<u8>,
}

impl Write for Pipe<mpsc::Sender<Vec<u8>>> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(octets);
        if self.held.len() >= PIECE {
            self.flush()?;
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let sent = self.end.blocking_send(held);
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Read for Pipe<mpsc::Receiver<Vec<u8>>> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            self.held = self.end.blocking_recv().unwrap_or_default();
        }
        let count = self.held.len().min(buffer.len());
        let rest = self.held.split_off(count);
        buffer[..count].copy_from_slice(&self.held);
        self.held = rest;
        Ok(count)
    }
}

async fn joined<T>(task: JoinHandle<anyhow::Result<T>>) -> Result<T, Failure> {
    let done = task.await.map_err(anyhow::Error::from)?;
    done.map_err(Failure::Other)
}

async fn upload(session: Session, from: &str, to: &str, bar: ProgressBar) -> Result<(), Failure> {
    let Session {
        mut reader,
        mut writer,
        entry,
    } = session;
    let into = entry == Some(Entry::Directory);
    let (mut pieces, packing) = if from == "-" {
        if !into {
            return Err(Failure::Usage(format!(
                "{to} must be a directory for an archive"
            )));
        }
        (standard_input(), None)
    } else {
        let (only_contents, path) = contents(from);
        let found = std::fs::symlink_metadata(path)
            .map_err(|error| anyhow::Error::from(error).context(format!("cannot read {path}")))?;
        if found.is_dir() && !into && entry.is_some() {
            return Err(Failure::Usage(format!(
                "{to} is no directory, and {from} is one"
            )));
        }
        let name = match (into, only_contents && found.is_dir()) {
            (true, true) => "",
            (true, false) => base(path)?,
            (false, _) => base(to)?,
        };
        let (path, name) = (PathBuf::from(path), PathBuf::from(name));
        let (sender, pieces) = mpsc::channel(WAITING);
        let pipe = Pipe {
            end: sender,
            held: Vec::new(),
        };
        (
            pieces,
            Some(spawn_blocking(move || pack(&path, &name, pipe))),
        )
    };
    let sending = async {
        loop {
            let next = timeout(SILENCE, pieces.recv()).await;
            let frame = match next {
                Ok(Some(octets)) => {
                    bar.inc(octets.len() as u64);
                    Frame::Octets(octets)
                }
                Ok(None) => break,
                Err(_) => Frame::Silence,
            };
            writer.write(&frame).await?;
        }
        // Half an archive must not pass for a whole one.
        if let Some(packing) = packing {
            joined(packing).await?;
        }
        writer.write(&Frame::End).await?;
        loop {
            tokio::time::sleep(SILENCE).await;
            writer.write(&Frame::Silence).await?;
        }
    };
    let outcome: Result<(), Failure> = tokio::select! {
        // What the other side says counts more than that it has stopped listening.
        biased;
        frame = reader.next() => match frame? {
            Frame::Exit(_) => Ok(()),
            other => Err(unexpected(other)),
        },
        done = sending => done,
    };
    bar.finish_and_clear();
    outcome
}

/// Where what comes from `from` goes, by what is at `to` here.
fn target(from: &str, to: &str, entry: Option<Entry>) -> Result<Target, Failure> {
    let (only_contents, from) = contents(from);
    let directory = entry == Some(Entry::Directory);
    let name = base(from)?;
    // The engine calls the top by its own name, unless it is the root.
    let strip = usize::from(name != "/");
    let given = Path::new(to);
    let path = match std::fs::metadata(given) {
        Ok(found) if found.is_dir() => {
            let given = std::fs::canonicalize(given)?;
            match (directory && only_contents) || name == "/" {
                true => given,
                false => given.join(name),
            }
        }
        Ok(_) if directory => {
            return Err(Failure::Usage(format!(
                "{to} is no directory, and {from} is one"
            )));
        }
        Ok(_) => given.to_owned(),
        Err(_) if to.ends_with('/') && !directory => {
            return Err(Failure::Usage(format!("there is no directory {to}")));
        }
        Err(_) => given.to_owned(),
    };
    Ok(Target { path, strip })
}

async fn download(session: Session, from: &str, to: &str, bar: ProgressBar) -> Result<(), Failure> {
    let Session {
        mut reader,
        mut writer,
        entry,
    } = session;
    let alive = async {
        loop {
            tokio::time::sleep(SILENCE).await;
            writer.write(&Frame::Silence).await?;
        }
    };
    let (sender, pieces) = mpsc::channel(WAITING);
    let unpacking = match to {
        "-" => None,
        to => {
            let target = target(from, to, entry)?;
            let pipe = Pipe {
                end: pieces,
                held: Vec::new(),
            };
            Some(spawn_blocking(move || {
                let mut pipe = pipe;
                let done = unpack(&mut pipe, &target);
                // What comes after the archive's end is padding.
                if done.is_ok() {
                    io::copy(&mut pipe, &mut io::sink())?;
                }
                done
            }))
        }
    };
    let taking = async {
        loop {
            match reader.next().await? {
                Frame::Octets(octets) => {
                    bar.inc(octets.len() as u64);
                    if unpacking.is_none() {
                        print(io::stdout, octets).await?;
                    } else if sender.send(octets).await.is_err() {
                        // Whoever unpacks says why it takes no more.
                        return Ok(());
                    }
                }
                Frame::Exit(_) => return Ok(()),
                other => return Err(unexpected(other)),
            }
        }
    };
    let outcome: Result<(), Failure> = tokio::select! {
        done = taking => done,
        done = alive => done,
    };
    drop(sender);
    bar.finish_and_clear();
    outcome?;
    if let Some(unpacking) = unpacking {
        joined(unpacking).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_with_a_colon_is_there_unless_a_slash_comes_first() {
        let there = |instance, path| End::There { instance, path };
        assert_eq!(end("fw-1:/etc/x"), there("fw-1", "/etc/x"));
        assert_eq!(end("fw-1:a:b"), there("fw-1", "a:b"));
        for here in ["./a:b", "/a:b", "a", "-", ":x"] {
            assert_eq!(end(here), End::Here(here));
        }
    }

    #[test]
    fn a_path_that_names_nothing_is_refused() {
        assert_eq!(base("/a/b/").unwrap(), "b");
        assert_eq!(base("/").unwrap(), "/");
        for wrong in ["", "..", "/a/..", "."] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_download_goes_where_docker_would_put_it() {
        let scene = tempfile::tempdir().unwrap();
        let here = scene.path().canonicalize().unwrap();
        std::fs::write(here.join("file"), "").unwrap();
        let at = |name: &str| here.join(name).display().to_string();
        let goes = |from, to: &str, entry| target(from, to, Some(entry)).map(|t| t.path);
        let (file, directory) = (Entry::File, Entry::Directory);
        assert_eq!(goes("/etc/x", &at(""), file).unwrap(), here.join("x"));
        assert_eq!(goes("/etc", &at(""), directory).unwrap(), here.join("etc"));
        assert_eq!(goes("/etc/.", &at(""), directory).unwrap(), here);
        assert_eq!(goes("/etc/x", &at("new"), file).unwrap(), here.join("new"));
        assert_eq!(
            goes("/etc", &at("new"), directory).unwrap(),
            here.join("new")
        );
        assert_eq!(
            goes("/etc/x", &at("file"), file).unwrap(),
            here.join("file")
        );
        assert!(goes("/etc", &at("file"), directory).is_err());
        assert!(goes("/etc/x", &at("new/"), file).is_err());
        assert!(goes("/etc/..", &at(""), directory).is_err());
    }
}
