//! `kc-forwarder`, by backend.

mod tables;

pub(super) use tables::tables;

use super::Entrant;
use crate::run;
use crate::site::Site;
use crate::work::{Task, Work};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use tables::{has_underlay, ports};

/// What a configuration says of I/O. Each text goes where its table is, as it is.
pub(crate) struct Build {
    /// At the top.
    top: &'static str,
    /// In `[underlay]`.
    underlay: &'static str,
    /// In each of `[[ports]]`.
    port: &'static str,
    /// What `status` has to report: JSON pointers below `status`, `*` for every element.
    expect: &'static [(&'static str, &'static str)],
    shows: Shows,
    /// Whether it forwards by XDP: in the thread that receives, which counts then, and past the
    /// sink's stack.
    xdp: bool,
    /// Whether it may use the other CPU, too, and have a thread there.
    spreads: bool,
    /// Bare loops with the same I/O; the first that does the work counts.
    pub(super) twins: &'static [&'static str],
    /// Whom it is compared with unless somebody says otherwise.
    pub(super) rivals: &'static [&'static str],
}

/// What a build is there to show. Works in which it is the same as another one are left to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// I/O of ports.
    Ports,
    /// I/O of tunnels over UDP.
    Tunnels,
    /// Both.
    Both,
    /// Hops between SFFs, in the kernel.
    Hops,
}

impl Build {
    pub(super) fn does(&self, work: Work) -> bool {
        let (has_ports, has_tunnels) = (!ports(work).is_empty(), has_underlay(work));
        // RFC 7348 leaves the way from tunnel to tunnel to the mesh between VTEPs.
        work != Work::VxlanHop
            && match self.shows {
                Shows::Ports => has_ports,
                Shows::Tunnels => has_tunnels,
                Shows::Both => true,
                // All else comes to user space as ever, behind a program that was no use.
                Shows::Hops => matches!(work, Work::GpeHop | Work::EthHop),
            }
    }
}

/// As it chooses itself.
pub(super) const AUTO: Build = Build {
    top: "",
    underlay: "",
    port: "",
    expect: &[],
    shows: Shows::Both,
    xdp: false,
    spreads: false,
    twins: &[],
    rivals: &["ovs"],
};

pub(super) const PNET: Build = Build {
    underlay: "backend = \"udp\"",
    port: "backend = \"pnet\"",
    expect: &[("/ports/*/backend", "pnet"), ("/underlay/backend", "udp")],
    shows: Shows::Ports,
    twins: &["bare-pnet"],
    ..AUTO
};

pub(super) const PACKET: Build = Build {
    underlay: "backend = \"udp\"",
    port: "backend = \"packet\"",
    expect: &[("/ports/*/backend", "packet"), ("/underlay/backend", "udp")],
    twins: &["bare-udp", "bare-mmsg"],
    ..AUTO
};

pub(super) const GSO: Build = Build {
    underlay: "backend = \"udp-gso\"",
    port: "backend = \"mmap\"",
    expect: &[
        ("/ports/*/backend", "mmap"),
        ("/underlay/backend", "udp-gso"),
    ],
    shows: Shows::Tunnels,
    twins: &["bare-udptxgso"],
    ..AUTO
};

pub(super) const MMAP: Build = Build {
    underlay: "backend = \"mmap\"",
    port: "backend = \"mmap\"",
    expect: &[("/ports/*/backend", "mmap"), ("/underlay/backend", "mmap")],
    twins: &["bare-gso4", "bare-tpv3m"],
    rivals: &["ovs", "ovs-afxdp"],
    ..AUTO
};

pub(super) const SPREAD: Build = Build {
    spreads: true,
    rivals: &["kc-mmap"],
    twins: &[],
    ..MMAP
};

pub(super) const XDP: Build = Build {
    underlay: "backend = \"mmap\"",
    port: "backend = \"xdp\"",
    expect: &[("/ports/*/backend", "xdp"), ("/underlay/backend", "mmap")],
    shows: Shows::Ports,
    twins: &["bare-xsk"],
    rivals: &["ovs", "ovs-afxdp"],
    ..AUTO
};

pub(super) const FAST: Build = Build {
    top: "fast-path = \"xdp\"",
    expect: &[
        ("/fast-path/state", "forwarding"),
        ("/fast-path/interfaces/*/mode", "native"),
    ],
    shows: Shows::Hops,
    xdp: true,
    twins: &["bare-xdp"],
    rivals: &["ovs", "ovs-afxdp"],
    ..AUTO
};

pub(super) fn enter(program: &Path, site: Site, build: &Build, task: Task) -> Result<Entrant> {
    if build.xdp {
        site.suit_xdp()?;
    }
    // AF_XDP leaves an interface to the host by whose address it is reached.
    for interface in ports(task.work) {
        let flush = format!("ip address flush dev {interface}");
        run::run(&site.contestant, &flush)?;
    }
    if has_underlay(task.work) && ports(task.work).contains(&"in0") {
        // The address of tunnels was there.
        run::run(&site.contestant, "ip address add 10.1.0.2/32 dev lo")?;
    }
    let file = site.folder.join("forwarder.toml");
    std::fs::write(&file, tables(build, task, 1))?;
    let (socket, log) = (site.folder.join("control.sock"), site.folder.join("log"));
    let program = program.to_string_lossy();
    let mut cores = vec![site.cores.contestant];
    if build.spreads {
        cores.push(site.cores.traffic);
    }
    let mut command = run::pinned(&site.contestant, &cores, &program);
    command
        .arg("--config")
        .arg(&file)
        .arg("--socket")
        .arg(&socket);
    command.args(["--log", "warn"]);
    let mut process = run::start(command, &log)?;
    run::until(&mut process, &log, "kc-forwarder is not ready", || {
        status(&socket).is_ok_and(|status| is_up(&status))
    })?;
    judge(&status(&socket)?, build)?;
    let mut entrant = Entrant::of(site, vec![process]);
    if build.xdp {
        entrant.goes_by_xdp()?;
    }
    entrant.socket = Some(socket);
    Ok(entrant)
}

/// Asks a forwarder of whatever version how it is.
fn status(socket: &Path) -> Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"{\"op\":\"status\"}\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let mut answer: Value = serde_json::from_str(&line)?;
    answer
        .get_mut("status")
        .map(Value::take)
        .context("the forwarder told no status")
}

fn is_up(status: &Value) -> bool {
    let ports = status["ports"].as_array().map_or(&[][..], Vec::as_slice);
    status["generation"].as_u64() > Some(0) && ports.iter().all(|port| port["state"] == "up")
}

/// Whether it does I/O as it was asked; if not, its own reason.
fn judge(status: &Value, build: &Build) -> Result<()> {
    for &(pointer, wanted) in build.expect {
        let found = match pointer.split_once("/*") {
            None => vec![(status.pointer(pointer), status)],
            Some((list, rest)) => {
                let list = status.pointer(list).and_then(Value::as_array);
                let list = list.map_or(&[][..], Vec::as_slice);
                list.iter().map(|item| (item.pointer(rest), item)).collect()
            }
        };
        for (value, around) in found {
            // Not there at all: the table itself is not, or an older version did not refuse.
            let Some(value) = value else { continue };
            if value != wanted {
                let place = pointer.rsplit_once('/').map_or("", |(place, _)| place);
                let reason = [around, status.pointer(place).unwrap_or(around)]
                    .into_iter()
                    .find_map(|place| place["reason"].as_str())
                    .unwrap_or("no reason told");
                bail!("asked for {wanted}, got {value}: {reason}");
            }
        }
    }
    Ok(())
}
