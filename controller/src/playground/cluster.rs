//! Hub and agents, and what they are asked to do: `kc` itself is run for that, the way a person
//! would.

use super::journal::Journal;
use super::launch::{Daemon, Running, output};
use super::layout::{
    BROKER_PORT, DATA, DOMAIN, HUB, HUB_ADDRESS, IMAGE, SERVER, SERVER_ADDRESS, Site,
    client_config, controller_socket,
};
use super::progress::{Interrupt, wait};
use crate::views::{ChainView, InstanceView, NodeCondition, NodeView};
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where the programs are.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    /// `kc`, the running program.
    pub(super) kc: PathBuf,
    /// `kc-controller`.
    pub(super) controller: PathBuf,
    /// `kc-agent`.
    pub(super) agent: PathBuf,
    /// `kc-forwarder`.
    pub(super) forwarder: PathBuf,
    /// `kc-function`: static, because it becomes an image of its own.
    pub(super) function: PathBuf,
}

impl Programs {
    /// Finds all of them beside the running program; `function` may be elsewhere.
    pub(super) fn find(function: Option<&Path>) -> Result<Self> {
        let kc = std::env::current_exe().context("cannot find the running program")?;
        let beside = |name: &str| kc.with_file_name(name);
        let found = Self {
            controller: beside("kc-controller"),
            agent: beside("kc-agent"),
            forwarder: beside("kc-forwarder"),
            // Whoever runs it does so from a directory of their own.
            function: function
                .map_or_else(|| Ok(beside("kc-function")), std::path::absolute)
                .context("cannot tell where the working directory is")?,
            kc: kc.clone(),
        };
        let all = [
            &found.controller,
            &found.agent,
            &found.forwarder,
            &found.function,
        ];
        let missing: Vec<_> = all
            .iter()
            .filter(|path| !path.is_file())
            .map(|path| format!("\n  - {}", path.display()))
            .collect();
        if !missing.is_empty() {
            bail!(
                "these programs are not built:{}\n      make programs",
                missing.concat()
            );
        }
        if !is_static(&found.function)? {
            bail!(
                "{} needs shared libraries, which its image has not; build it static:\n      make programs",
                found.function.display()
            );
        }
        Ok(found)
    }
}

/// Whether an ELF program asks for no dynamic loader.
fn is_static(program: &Path) -> Result<bool> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    // The loader's name stands in the program where there is one.
    let loader = b"/ld-linux";
    let musl = b"/ld-musl-";
    let head = bytes.get(..bytes.len().min(4096)).unwrap_or_default();
    Ok(!head
        .windows(loader.len())
        .any(|window| window == loader || window == musl))
}

/// The broker's address as programs take it.
fn broker() -> String {
    format!("{HUB_ADDRESS}:{BROKER_PORT}")
}

/// Starts the controller and waits until `kc` can reach it.
pub(super) fn controller(
    journal: &Journal,
    programs: &Programs,
    interrupt: &Interrupt,
) -> Result<()> {
    let data = Path::new(DATA).join("controller");
    let socket = controller_socket();
    let mut daemon = Daemon::new("hub/controller", HUB, &programs.controller)
        .arg("run")
        .args(&["--domain", DOMAIN, "--broker", &broker()])
        .arg("--listen")
        .arg(format!("unix:{}", socket.display()))
        .arg("--data-dir")
        .arg(&data)
        .start(journal)?;
    let token = data.join("token");
    let token = wait("the controller", Duration::from_secs(20), interrupt, || {
        daemon.check()?;
        let token = fs::read_to_string(&token).unwrap_or_default();
        let there = !token.trim().is_empty() && UnixStream::connect(&socket).is_ok();
        Ok(there.then(|| token.trim().to_owned()))
    })?;
    let mut file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(client_config())?;
    write!(
        file,
        "server = \"unix://{}\"\ntoken = \"{token}\"\n",
        socket.display()
    )?;
    Ok(())
}

/// Starts the agent of one box.
pub(super) fn agent(
    journal: &Journal,
    programs: &Programs,
    site: &Site,
    mtu: u16,
) -> Result<Running> {
    // Settings of a real agent on this machine are none of ours.
    let config = site.run().join("agent.toml");
    fs::write(&config, "")?;
    Daemon::new(
        &format!("{}/agent", site.name),
        &site.namespace(),
        &programs.agent,
    )
    .arg("run")
    .arg("--config")
    .arg(config)
    .args(&["--node", &site.name, "--domain", DOMAIN])
    .args(&["--broker", &broker(), "--docker", &site.docker_host()])
    .args(&["--vtep", &site.address.to_string()])
    .args(&["--underlay-mtu", &mtu.to_string()])
    .arg("--state-dir")
    .arg(site.data().join("agent"))
    .arg("--run-dir")
    .arg(site.run())
    .arg("--forwarder")
    .arg(&programs.forwarder)
    .args(&["--pause-image", IMAGE])
    .start(journal)
}

/// Starts the HTTP server behind the last box.
pub(super) fn server(journal: &Journal, programs: &Programs) -> Result<Running> {
    Daemon::new("server/serve", SERVER, &programs.function)
        .args(&["serve", "--listen", &format!("{SERVER_ADDRESS}:80")])
        .start(journal)
}

/// Runs `kc` against the playground's controller.
pub(super) fn kc(program: &Path, arguments: &[&str]) -> Result<String> {
    let mut kc = Command::new(program);
    kc.args(arguments).env("KC_CONFIG", client_config());
    // What the person at the terminal has set is for another cluster.
    kc.env_remove("KC_SERVER").env_remove("KC_TOKEN");
    output(&mut kc, b"")
}

fn get<T: DeserializeOwned>(program: &Path, arguments: &[&str]) -> Result<T> {
    let all = [arguments, &["--output", "json"]].concat();
    let text = kc(program, &all)?;
    serde_json::from_str(&text).with_context(|| format!("kc {} answers {text}", all.join(" ")))
}

/// A chain as the controller sees it.
pub(super) fn chain(program: &Path, name: &str) -> Result<ChainView> {
    get(program, &["get", "chains", name])
}

/// Every container the controller has placed.
pub(super) fn instances(program: &Path) -> Result<Vec<InstanceView>> {
    get(program, &["get", "instances"])
}

/// What an instance still lacks before a scheduler can judge it: a life, a word about its load.
pub(super) fn lacking(instance: &InstanceView) -> Option<String> {
    let name = &instance.name;
    match (instance.phase.as_str(), &instance.reason) {
        ("Running", _) if instance.cpu_percent.is_some() => None,
        ("Running", _) => Some(format!("{name} has not told its load")),
        (phase, Some(reason)) => Some(format!("{name} is {phase}: {reason}")),
        (phase, None) => Some(format!("{name} is {phase}")),
    }
}

/// Applies manifests, all of them together; returns how many there were.
pub(super) fn apply<'a>(
    program: &Path,
    directory: &Path,
    names: impl Iterator<Item = &'a str>,
) -> Result<usize> {
    let files: Vec<String> = names
        .map(|name| directory.join(name).display().to_string())
        .collect();
    let mut arguments = vec!["apply"];
    for file in &files {
        arguments.extend(["--file", file]);
    }
    kc(program, &arguments)?;
    Ok(files.len())
}

/// The boxes that can be counted on.
pub(super) fn ready(program: &Path) -> Result<Vec<NodeView>> {
    let nodes: Vec<NodeView> = get(program, &["get", "nodes"])?;
    let mut ready = nodes;
    ready.retain(|node| node.condition == NodeCondition::Ready);
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, b"\x7fELF....../lib64/ld-linux-x86-64.so.2\0").unwrap();
        assert!(!is_static(&path).unwrap());
        fs::write(&path, b"\x7fELF......").unwrap();
        assert!(is_static(&path).unwrap());
    }
}
