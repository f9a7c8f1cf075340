//! One real Docker engine for each box: a containerd and a dockerd of its own, so that neither
//! knows of an engine that the machine runs for itself.

use super::journal::{Entry, Journal};
use super::launch::{Daemon, Running, output};
use super::layout::{IMAGE, PREFIX, Site, UNDERLAY};
use super::network::on_overlay;
use super::precondition::program;
use super::progress::{Interrupt, wait};
use anyhow::{Context, Result};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Notes what engines leave outside our directories, before the first one starts.
pub(super) fn announce(journal: &Journal) -> Result<()> {
    for path in [
        "/etc/docker",
        "/run/containerd",
        "/run/containerd/s",
        "/run/docker",
        "/run/docker/plugins",
    ] {
        let path = PathBuf::from(path);
        if !path.exists() {
            journal.note(&Entry::Shared { path })?;
        }
    }
    let path = PathBuf::from("/etc/docker/key.json");
    if !path.exists() {
        journal.note(&Entry::File { path })?;
    }
    Ok(())
}

/// Starts the engine of one box and waits until it answers.
pub(super) fn start(journal: &Journal, site: &Site, interrupt: &Interrupt) -> Result<()> {
    let (run, data) = (site.run(), site.data());
    fs::create_dir_all(&run)?;
    fs::create_dir_all(&data)?;
    let namespace = site.namespace();

    let config = run.join("containerd.toml");
    fs::write(&config, containerd_config(site))?;
    let daemon = Daemon::new(
        &format!("{}/containerd", site.name),
        &namespace,
        program("containerd"),
    );
    let mut containerd = daemon
        .args(&["--log-level", "warn", "--config"])
        .arg(&config)
        .start(journal)?;
    let socket = site.containerd();
    wait("containerd", Duration::from_secs(30), interrupt, || {
        containerd.check()?;
        Ok(UnixStream::connect(&socket).ok())
    })?;

    journal.note(&Entry::Cgroup {
        name: site.namespace(),
    })?;
    let config = run.join("daemon.json");
    fs::write(&config, daemon_config(site, on_overlay(&data)).to_string())?;
    let daemon = Daemon::new(
        &format!("{}/dockerd", site.name),
        &namespace,
        program("dockerd"),
    );
    let mut dockerd = daemon.arg("--config-file").arg(&config).start(journal)?;
    answers(&mut dockerd, &site.docker(), interrupt)
}

fn answers(dockerd: &mut Running, socket: &Path, interrupt: &Interrupt) -> Result<()> {
    wait(
        "the Docker engine",
        Duration::from_secs(60),
        interrupt,
        || {
            dockerd.check()?;
            Ok(ping(socket).ok().filter(|pong| *pong).map(drop))
        },
    )
}

/// Whether an engine answers; it may take the connection long before it does.
fn ping(socket: &Path) -> std::io::Result<bool> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head.ends_with(b" 200"))
}

fn containerd_config(site: &Site) -> String {
    let (run, data) = (site.run(), site.data());
    let (run, data) = (run.display(), data.display());
    format!(
        "version = 2\n\
         root = \"{data}/containerd\"\n\
         state = \"{run}/containerd\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
         [grpc]\n\
         address = \"{}\"\n\
         [ttrpc]\n\
         address = \"{run}/containerd.ttrpc\"\n",
        site.containerd().display()
    )
}

fn daemon_config(site: &Site, on_overlay: bool) -> serde_json::Value {
    serde_json::json!({
        "data-root": site.data().join("docker"),
        "exec-root": site.run().join("docker"),
        "pidfile": site.run().join("docker.pid"),
        "hosts": [site.docker_host()],
        "containerd": site.containerd(),
        "bridge": "none",
        "iptables": false,
        "ip6tables": false,
        "ip-forward": true,
        "ip-masq": false,
        "userland-proxy": false,
        // Containers outlive their engine, as they should on a box.
        "live-restore": true,
        "storage-driver": if on_overlay { "vfs" } else { "overlay2" },
        // A path from the root: a relative one would go below the cgroup of whoever ran `up`.
        "cgroup-parent": format!("/{PREFIX}{}", site.name),
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "log-level": "warn",
        "insecure-registries": [UNDERLAY],
    })
}

/// The Docker client: Debian's own where there is one, because it is as old as the engine.
pub(super) fn docker(site: &Site) -> Command {
    let debian = Path::new("/usr/bin/docker");
    let mut docker = Command::new(if debian.exists() {
        debian
    } else {
        Path::new("docker")
    });
    docker.args(["--host", &site.docker_host()]);
    docker
}

/// Makes the image of `kc-function` on the first engine and brings it to the others, without
/// any registry. Returns the size of the archive in bytes.
pub(super) fn distribute(sites: &[Site], program: &Path, archive: &Path) -> Result<u64> {
    let Some((first, others)) = sites.split_first() else {
        return Ok(0);
    };
    let layer = archive.with_extension("layer.tar");
    let (directory, file) = (program.parent(), program.file_name());
    output(
        Command::new("tar")
            .args(["--create", "--owner=0", "--group=0", "--mode=0755"])
            .arg("--file")
            .arg(&layer)
            .args(["--transform", "s,^.*$,kc-function,"])
            .arg("--directory")
            .arg(directory.context("the program has no directory")?)
            .arg(file.context("the program has no name")?),
        b"",
    )?;
    output(
        docker(first)
            .args(["import", "--change", "ENTRYPOINT [\"/kc-function\"]"])
            .arg(&layer)
            .arg(IMAGE),
        b"",
    )?;
    output(
        docker(first)
            .args(["save", "--output"])
            .arg(archive)
            .arg(IMAGE),
        b"",
    )?;
    fs::remove_file(&layer)?;
    each(others, |site| load(site, archive))?;
    Ok(fs::metadata(archive)?.len())
}

/// Loads an archive of images into one engine.
fn load(site: &Site, archive: &Path) -> Result<()> {
    output(docker(site).args(["load", "--input"]).arg(archive), b"")?;
    Ok(())
}

/// Does `work` for all boxes at the same time; the first error of them is the error.
pub(super) fn each(sites: &[Site], work: impl Fn(&Site) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = sites
            .iter()
            .map(|site| (site, scope.spawn(move || work(site))))
            .collect();
        let results = threads.into_iter().map(|(site, thread)| {
            let result = thread
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("its thread panicked")));
            result.with_context(|| format!("on {}", site.name))
        });
        // All threads are joined before the first error is looked at.
        results.collect::<Vec<_>>().into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configurations_are_what_the_daemons_read() {
        let site = Site::new(2);
        let config: toml::Table = containerd_config(&site).parse().unwrap();
        assert_eq!(config["version"].as_integer(), Some(2));
        let daemon = daemon_config(&site, false);
        assert_eq!(daemon["cgroup-parent"], "/kcpg-box2");
        assert_eq!(daemon_config(&site, true)["storage-driver"], "vfs");
    }

    #[test]
    fn an_error_on_one_box_names_the_box() {
        let sites = [Site::new(1), Site::new(2)];
        let error = each(&sites, |site| {
            anyhow::ensure!(site.name == "box1", "no");
            Ok(())
        });
        assert_eq!(format!("{:#}", error.unwrap_err()), "on box2: no");
    }
}
