//! Open vSwitch's userspace datapath, with daemons, database and sockets of its own.

mod flows;

use super::Entrant;
use crate::interrupt;
use crate::run::{installed, pinned, run, start, until};
use crate::site::Site;
use crate::work::{Task, Work};
use anyhow::{Context, Result, bail, ensure};
use kc_tests::bench::frames::{Wrap, site as address};
use kc_tests::lab::Process;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// Where Debian keeps the database's schema.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Seconds for it to take all flows.
const PATIENCE: u32 = 60;

/// What `timeout` ends with when time was up.
const TIMED_OUT: i32 = 124;

/// How it reads and writes frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Io {
    /// AF_PACKET, in the main thread.
    System,
    /// AF_XDP, in a thread that polls.
    Afxdp,
}

impl Io {
    const fn interface(self) -> &'static str {
        match self {
            Self::System => "",
            Self::Afxdp => "type=afxdp options:n_rxq=1 options:xdp-mode=native",
        }
    }
}

pub(super) fn enter(site: Site, io: Io, task: Task) -> Result<Entrant> {
    for program in ["ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "ovs-ofctl"] {
        ensure!(
            installed(program),
            "{program} is not installed (openvswitch-switch)"
        );
    }
    let mut switch = Switch::start(site, io)?;
    switch.lay(io, task)?;
    let Switch {
        site,
        switch,
        database,
        ..
    } = switch;
    let mut entrant = Entrant::of(site, vec![switch, database]);
    entrant.polls = io == Io::Afxdp;
    Ok(entrant)
}

struct Switch {
    site: Site,
    folder: PathBuf,
    switch: Process,
    database: Process,
}

impl Switch {
    fn start(site: Site, io: Io) -> Result<Self> {
        let (folder, own) = (site.folder.clone(), site.cores.contestant);
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        run(
            &site.contestant,
            &format!("ovsdb-tool create {} {SCHEMA}", path("conf.db")),
        )?;
        let daemon = |program: &str, arguments: &[String], cores: &[usize]| {
            let mut command = pinned(&site.contestant, cores, program);
            command.args(arguments);
            command.args([
                "--verbose=console:warn",
                "--verbose=file:off",
                "--verbose=syslog:off",
            ]);
            for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
                command.env(variable, &folder);
            }
            start(command, &folder.join(format!("{program}.log")))
        };
        let remote = format!("unix:{}", path("db.sock"));
        let database = [
            path("conf.db"),
            format!("--remote=p{remote}"),
            format!("--unixctl={}", path("db.ctl")),
        ];
        let mut database = daemon("ovsdb-server", &database, &[own])?;
        let socket = folder.join("db.sock");
        until(
            &mut database,
            &folder.join("ovsdb-server.log"),
            "ovsdb-server is not ready",
            || socket.exists(),
        )?;
        let vsctl = format!("ovs-vsctl --db={remote} --timeout=15 --no-wait");
        run(&site.contestant, &format!("{vsctl} init"))?;
        if io == Io::Afxdp {
            let mask = 1_u64 << site.cores.contestant;
            let set = format!("{vsctl} set Open_vSwitch . other_config:pmd-cpu-mask=0x{mask:x}");
            run(&site.contestant, &set)?;
        }
        // A polling thread is pinned by the switch itself, which wants to choose.
        let both = [site.cores.traffic, own];
        let cores = if io == Io::Afxdp { &both[..] } else { &[own] };
        let switch = [remote, format!("--unixctl={}", path("vswitchd.ctl"))];
        let switch = daemon("ovs-vswitchd", &switch, cores)?;
        Ok(Self {
            site,
            folder,
            switch,
            database,
        })
    }

    /// Runs `ovs-vsctl`, which returns when the switch has done what was asked.
    fn configure(&self, arguments: &str) -> Result<String> {
        let database = self.folder.join("db.sock");
        let program = format!("ovs-vsctl --db=unix:{} --timeout=15", database.display());
        run(&self.site.contestant, &format!("{program} {arguments}"))
    }

    fn bridge(&self, name: &str) -> Result<()> {
        self.configure(&format!(
            "add-br {name} -- set bridge {name} datapath_type=netdev fail-mode=secure"
        ))?;
        Ok(())
    }

    fn port(&self, bridge: &str, name: &str, number: u8, more: &str) -> Result<()> {
        self.configure(&format!(
            "add-port {bridge} {name} -- set interface {name} ofport_request={number} {more}"
        ))?;
        let told = self.configure(&format!("get interface {name} error"))?;
        if !matches!(told.trim(), "[]" | "\"\"") {
            bail!("{name}: {}", told.trim());
        }
        Ok(())
    }

    fn flows(&self, bridge: &str, flows: &[String]) -> Result<()> {
        let file = self.folder.join("flows");
        std::fs::write(&file, flows.join("\n"))?;
        let mut command = self.site.contestant.command("timeout");
        command.args([&PATIENCE.to_string(), "ovs-ofctl"]);
        command.args(["-O", "OpenFlow15", "add-flows"]);
        command.arg(format!("unix:{}/{bridge}.mgmt", self.folder.display()));
        let output = command.arg(&file).stdin(Stdio::null()).output()?;
        ensure!(
            output.status.code() != Some(TIMED_OUT),
            "it had not taken {} flows after {PATIENCE} s",
            flows.len()
        );
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ovs-ofctl: {}", told.trim());
        Ok(())
    }

    /// A bridge with an interface of the site's and its address: what tunnels come and go by.
    fn underlay(&self, bridge: &str, interface: &str, cidr: &str, io: Io) -> Result<()> {
        self.bridge(bridge)?;
        let site = &self.site.contestant;
        run(site, &format!("ip address flush dev {interface}"))?;
        self.port(bridge, interface, 1, io.interface())?;
        let both = ["in_port=1,actions=LOCAL", "in_port=LOCAL,actions=output:1"];
        self.flows(bridge, &both.map(str::to_owned))?;
        // A tunnel takes what is addressed to its bridge.
        let link = run(site, &format!("ip -brief link show {interface}"))?;
        let mac = link.split_whitespace().nth(2).context("no MAC address")?;
        self.configure(&format!(
            "set bridge {bridge} other-config:hwaddr=\"{mac}\""
        ))?;
        for line in [
            format!("ip address add {cidr} dev {bridge}"),
            format!("ip link set {bridge} mtu 2000 up"),
        ] {
            run(site, &line)?;
        }
        Ok(())
    }

    /// Tells it what to do.
    fn lay(&mut self, io: Io, task: Task) -> Result<()> {
        use Work::{EthDecap, EthEncap, EthHop, PortHop};
        self.bridge("br0")?;
        if matches!(task.work, PortHop | EthEncap | EthHop | EthDecap) {
            self.port("br0", "in0", 1, io.interface())?;
            self.port("br0", "out0", 2, io.interface())?;
        } else {
            self.tunnels(io, task.work)?;
        }
        self.flows("br0", &flows::flows(task))?;
        // The polling thread starts, and routes are noticed, when they are; nothing tells.
        interrupt::sleep(Duration::from_millis(500))?;
        let log = self.folder.join("ovs-vswitchd.log");
        ensure!(!self.switch.ended(), "{}", crate::run::last_line(&log));
        Ok(())
    }

    fn tunnels(&self, io: Io, work: Work) -> Result<()> {
        let (first, last) = (work.arrives(), work.leaves());
        let tunnel = |wrap| match wrap {
            Wrap::Gpe => {
                "type=vxlan options:exts=gpe options:packet_type=ptap options:dst_port=4790"
            }
            _ => "type=vxlan options:dst_port=4789",
        };
        let (vni, next) = (address::VNI, work.next_vni());
        if first == Wrap::Plain {
            self.port("br0", "in0", 1, io.interface())?;
        } else {
            self.underlay("br-in", "in0", "10.1.0.2/24", io)?;
            let more = tunnel(first);
            self.port(
                "br0",
                "vx1",
                1,
                &format!("{more} options:remote_ip=10.1.0.1 options:key={vni}"),
            )?;
            self.neighbour("br-in", "10.1.0.1", "02:00:00:00:00:0a")?;
        }
        if last == Wrap::Plain {
            self.port("br0", "out0", 2, io.interface())?;
        } else {
            self.underlay("br-out", "out0", "10.2.0.1/24", io)?;
            let more = tunnel(last);
            self.port(
                "br0",
                "vx2",
                2,
                &format!("{more} options:remote_ip=10.2.0.2 options:key={next}"),
            )?;
            self.neighbour("br-out", "10.2.0.2", "02:00:00:00:00:0e")?;
        }
        if work == Work::ProxyHop {
            self.port("br0", "fa", 3, "")?;
            self.port("br0", "fb", 4, "")?;
        }
        Ok(())
    }

    fn neighbour(&self, bridge: &str, ip: &str, mac: &str) -> Result<()> {
        let control = self.folder.join("vswitchd.ctl");
        let program = format!("ovs-appctl -t {} tnl/neigh/set", control.display());
        run(
            &self.site.contestant,
            &format!("{program} {bridge} {ip} {mac}"),
        )?;
        Ok(())
    }
}
