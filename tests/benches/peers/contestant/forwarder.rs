//! `kc-forwarder`, by backend.

use super::{Entrant, Hall};
use crate::run;
use crate::site::Site;
use crate::work::{Task, Work};
use anyhow::{Context, Result, bail};
use kc_tests::bench::frames::site as address;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

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
    /// Whether tunnels over UDP are another's matter: what has no port is measured once.
    has_tunnels: bool,
    /// Whether it forwards by XDP: in the thread that receives, which counts then, and past the
    /// sink's stack.
    xdp: bool,
}

impl Build {
    pub(super) fn does(&self, work: Work) -> bool {
        // RFC 7348 leaves the way from tunnel to tunnel to the mesh between VTEPs.
        work != Work::VxlanHop && (self.has_tunnels || !ports(work).is_empty())
    }
}

const NOTHING: Build = Build {
    top: "",
    underlay: "",
    port: "",
    expect: &[],
    has_tunnels: true,
    xdp: false,
};

pub(super) const AUTO: Build = NOTHING;

pub(super) const PNET: Build = Build {
    underlay: "backend = \"udp\"",
    port: "backend = \"pnet\"",
    expect: &[("/ports/*/backend", "pnet")],
    has_tunnels: false,
    ..NOTHING
};

pub(super) const PACKET: Build = Build {
    underlay: "backend = \"udp\"",
    port: "backend = \"packet\"",
    expect: &[("/ports/*/backend", "packet"), ("/underlay/backend", "udp")],
    ..NOTHING
};

pub(super) const MMAP: Build = Build {
    underlay: "backend = \"udp-gso\"",
    port: "backend = \"mmap\"",
    expect: &[
        ("/ports/*/backend", "mmap"),
        ("/underlay/backend", "udp-gso"),
    ],
    ..NOTHING
};

pub(super) const XDP: Build = Build {
    underlay: "backend = \"udp-gso\"",
    port: "backend = \"xdp\"",
    expect: &[("/ports/*/backend", "xdp")],
    has_tunnels: false,
    ..NOTHING
};

pub(super) const FAST: Build = Build {
    top: "fast-path = \"xdp\"",
    expect: &[("/fast-path/state", "forwarding")],
    xdp: true,
    ..NOTHING
};

pub(super) fn enter(hall: &Hall, site: Site, build: &Build, task: Task) -> Result<Entrant> {
    let file = site.folder.join("forwarder.toml");
    std::fs::write(&file, tables(build, task))?;
    let (socket, log) = (site.folder.join("control.sock"), site.folder.join("log"));
    let program = hall.forwarder.to_string_lossy();
    let mut command = run::pinned(&site.contestant, site.cores.contestant, &program);
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

/// The configuration of one task.
fn tables(build: &Build, task: Task) -> String {
    let mut text = format!("generation = 1\n{}\n", build.top);
    let (vni, si) = (address::VNI, address::SI);
    if !matches!(
        task.work,
        Work::PortHop | Work::EthEncap | Work::EthHop | Work::EthDecap
    ) {
        let more = build.underlay;
        let _ = writeln!(
            text,
            "[underlay]\naddress = \"10.1.0.2\"\nmtu = 1900\n{more}"
        );
    }
    let mut port = |name: &str| {
        let more = build.port;
        let _ = writeln!(text, "[[ports]]\nname = \"{name}\"\n{more}");
    };
    ports(task.work).iter().for_each(|name| port(name));
    let mut tunnel = |name: &str, transport: &str| {
        let _ = writeln!(
            text,
            "[[tunnels]]\nname = \"{name}\"\ntransport = {{ {transport} }}"
        );
    };
    let gpe = |remote: &str| format!("vxlan-gpe = {{ remote = \"{remote}\", vni = {vni} }}");
    let ethernet = |port: &str, mac: u8| {
        format!("ethernet = {{ port = \"{port}\", next-hop = \"02:00:00:00:00:{mac:02x}\" }}")
    };
    let from_gpe = matches!(task.work, Work::GpeHop | Work::GpeDecap | Work::ProxyHop);
    let from_ethernet = matches!(task.work, Work::EthHop | Work::EthDecap);
    if from_gpe {
        tunnel("from", &gpe("10.1.0.1"));
    } else if from_ethernet {
        tunnel("from", &ethernet("in0", 0x0a));
    }
    let next = match task.work {
        Work::GpeHop | Work::GpeEncap | Work::ProxyHop => {
            tunnel("to", &gpe("10.2.0.2"));
            "tunnel = { name = \"to\" }"
        }
        Work::EthHop | Work::EthEncap => {
            tunnel("to", &ethernet("out0", 0x0e));
            "tunnel = { name = \"to\" }"
        }
        _ => "egress = { port = \"out0\" }",
    };
    match task.work {
        Work::VxlanEncap | Work::VxlanDecap | Work::VxlanHop => {
            let (port, place) = if task.work == Work::VxlanEncap {
                ("in0", "peer = \"10.2.0.2\"")
            } else {
                ("out0", "port = \"out0\"")
            };
            let _ = writeln!(
                text,
                "[[segments]]\nvni = {vni}\nports = [\"{port}\"]\npeers = [\"10.1.0.1\", \"10.2.0.2\"]\n\
                 entries = [{{ mac = \"02:00:00:00:00:0f\", {place} }}]"
            );
            return text;
        }
        Work::ProxyHop => text.push_str(
            "[[functions]]\nname = \"f\"\n\
             attachment = { two-leg = { inside = \"fa\", outside = \"fb\" } }\n",
        ),
        Work::PortHop | Work::GpeEncap | Work::EthEncap => {
            rules(&mut text, task);
            if task.work == Work::PortHop {
                return text;
            }
        }
        _ => {}
    }
    for spi in address::SPI..address::SPI + task.paths {
        let hops = if task.work == Work::ProxyHop {
            format!(
                "{{ si = {si}, to = {{ function = {{ name = \"f\" }} }} }}, \
                 {{ si = {}, to = {{ {next} }} }}",
                si - 1
            )
        } else {
            format!("{{ si = {si}, to = {{ {next} }} }}")
        };
        let _ = writeln!(text, "[[paths]]\nspi = {spi}\nhops = [{hops}]");
    }
    text
}

/// Ports that a work takes.
const fn ports(work: Work) -> &'static [&'static str] {
    match work {
        Work::GpeHop | Work::VxlanHop => &[],
        Work::GpeEncap | Work::VxlanEncap => &["in0"],
        Work::GpeDecap | Work::VxlanDecap => &["out0"],
        Work::PortHop | Work::EthEncap | Work::EthHop | Work::EthDecap => &["in0", "out0"],
        Work::ProxyHop => &["fa", "fb"],
    }
}

/// Rules of four kinds, as people mix them, of which only the last is for our packets.
fn rules(text: &mut String, task: Task) {
    for number in 1..task.rules {
        let prefix = [24, 25, 32, 28][number as usize % 4];
        let [_, high, low, _] = (number << 8).to_be_bytes();
        let ports = if number.is_multiple_of(2) {
            "80"
        } else {
            "\"80-90\""
        };
        let _ = writeln!(
            text,
            "[[rules]]\nname = \"r{number}\"\nmatch = {{ source = \"172.{high}.{low}.0/{prefix}\", \
             protocol = \"udp\", destination-ports = {ports} }}\naction = \"drop\""
        );
    }
    let action = match task.work {
        Work::PortHop => "egress = { port = \"out0\" }".to_owned(),
        _ => format!("path = {{ spi = {}, si = {} }}", address::SPI, address::SI),
    };
    let _ = writeln!(
        text,
        "[[rules]]\nname = \"ours\"\nmatch = {{ port = \"in0\" }}\naction = {{ {action} }}"
    );
}
