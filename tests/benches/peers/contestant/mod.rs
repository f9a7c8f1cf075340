//! Who takes part. The list is data; how each kind is set up is in a file of its own.

mod bare;
mod forwarder;
mod kernel;
mod open_vswitch;

use crate::instruments::Instruments;
use crate::interrupt;
use crate::run::run;
use crate::site::{Cores, Site};
use crate::verify;
use crate::work::{Task, Work};
use anyhow::Result;
use kc_tests::lab::{Lab, Process};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;

pub(crate) use bare::pnet;
use forwarder::Build;

/// Somebody who forwards.
pub(crate) struct Contestant {
    /// As the command line calls it.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    kind: Kind,
    /// Bare loops with the same I/O, the first that does the work is compared with.
    pub(crate) twins: &'static [&'static str],
}

enum Kind {
    Forwarder(Build),
    OpenVswitch(open_vswitch::Io),
    Kernel,
    Bare(bare::Method),
}

const fn ours(
    name: &'static str,
    title: &'static str,
    build: Build,
    twins: &'static [&'static str],
) -> Contestant {
    Contestant {
        name,
        title,
        kind: Kind::Forwarder(build),
        twins,
    }
}

const fn theirs(name: &'static str, title: &'static str, kind: Kind) -> Contestant {
    Contestant {
        name,
        title,
        kind,
        twins: &[],
    }
}

/// Everybody. A new backend of ours is a line here.
pub(crate) const ALL: &[Contestant] = &[
    ours(
        "kc-pnet",
        "kc-forwarder, ports pnet, tunnels udp",
        forwarder::PNET,
        &["bare-udp", "bare-pnet"],
    ),
    ours(
        "kc-packet",
        "kc-forwarder, ports packet, tunnels udp",
        forwarder::PACKET,
        &["bare-udp", "bare-mmsg"],
    ),
    ours(
        "kc-mmap",
        "kc-forwarder, ports mmap, tunnels udp-gso",
        forwarder::MMAP,
        &["bare-gso4", "bare-tpv3m"],
    ),
    ours(
        "kc-xdp",
        "kc-forwarder, ports xdp, tunnels udp-gso",
        forwarder::XDP,
        &["bare-xsk"],
    ),
    ours(
        "kc-fast",
        "kc-forwarder, fast path in XDP",
        forwarder::FAST,
        &["bare-xdp"],
    ),
    ours(
        "kc-auto",
        "kc-forwarder, as it chooses itself",
        forwarder::AUTO,
        &[],
    ),
    theirs(
        "ovs",
        "Open vSwitch userspace, AF_PACKET",
        Kind::OpenVswitch(open_vswitch::Io::System),
    ),
    theirs(
        "ovs-afxdp",
        "Open vSwitch userspace, AF_XDP",
        Kind::OpenVswitch(open_vswitch::Io::Afxdp),
    ),
    theirs("kernel", "Linux bridge and vxlan", Kind::Kernel),
    theirs(
        "bare-pnet",
        "bare loop, pnet_datalink",
        Kind::Bare(bare::Method::Pnet),
    ),
    theirs(
        "bare-each",
        "bare loop, recv and send",
        Kind::Bare(bare::Method::Packet("each")),
    ),
    theirs(
        "bare-mmsg",
        "bare loop, recvmmsg and sendmmsg",
        Kind::Bare(bare::Method::Packet("mmsg")),
    ),
    theirs(
        "bare-tpv3m",
        "bare loop, TPACKET_V3 in, sendmmsg out",
        Kind::Bare(bare::Method::Packet("tpv3m")),
    ),
    theirs(
        "bare-udp",
        "bare loop, UDP sockets, mmsg",
        Kind::Bare(bare::Method::Udp("mmsg")),
    ),
    theirs(
        "bare-udptxgso",
        "bare loop, UDP sockets, UDP_SEGMENT",
        Kind::Bare(bare::Method::Udp("txgso")),
    ),
    theirs(
        "bare-udpgso",
        "bare loop, UDP sockets, UDP_GRO and UDP_SEGMENT",
        Kind::Bare(bare::Method::Udp("gso")),
    ),
    theirs(
        "bare-gso1",
        "bare loop, TPACKET_V3 in, UDP GSO out, 1 source port",
        Kind::Bare(bare::Method::Gso("1")),
    ),
    theirs(
        "bare-gso4",
        "bare loop, TPACKET_V3 in, UDP GSO out, 4 source ports",
        Kind::Bare(bare::Method::Gso("4")),
    ),
    theirs(
        "bare-gso16",
        "bare loop, TPACKET_V3 in, UDP GSO out, 16 source ports",
        Kind::Bare(bare::Method::Gso("16")),
    ),
    theirs(
        "bare-xsk",
        "bare loop, AF_XDP copy mode",
        Kind::Bare(bare::Method::Xsk),
    ),
    theirs(
        "bare-xdp",
        "bare XDP program, redirect",
        Kind::Bare(bare::Method::Xdp),
    ),
];

/// The contestant of this name.
pub(crate) fn find(name: &str) -> Option<&'static Contestant> {
    ALL.iter().find(|contestant| contestant.name == name)
}

/// What all contestants are set up with.
pub(crate) struct Hall {
    /// Namespaces.
    pub(crate) lab: Lab,
    /// Compiled instruments.
    pub(crate) instruments: Instruments,
    /// The CPUs.
    pub(crate) cores: Cores,
    /// `kc-forwarder`.
    pub(crate) forwarder: PathBuf,
    /// Whether receiving is the contestant's, too.
    pub(crate) one_core: bool,
}

impl Contestant {
    /// Whether it can do this at all.
    pub(crate) fn does(&self, work: Work) -> bool {
        match &self.kind {
            Kind::Forwarder(build) => build.does(work),
            Kind::OpenVswitch(_) => true,
            Kind::Kernel => kernel::does(work),
            Kind::Bare(method) => method.does(work),
        }
    }

    /// Sets it up, ready to forward.
    ///
    /// # Errors
    /// It is not installed or does not work here; why, in its own words.
    pub(crate) fn enter(&self, hall: &Hall, task: Task) -> Result<Entrant> {
        let mut site = Site::build(&hall.lab, hall.cores)?;
        if task.work == Work::ProxyHop {
            site.add_function(&hall.lab)?;
        }
        let mut entrant = match &self.kind {
            Kind::Forwarder(build) => forwarder::enter(hall, site, build, task),
            Kind::OpenVswitch(io) => open_vswitch::enter(site, *io, task),
            Kind::Kernel => kernel::enter(site, task),
            Kind::Bare(method) => bare::enter(hall, site, method, task),
        }?;
        let is_bare = matches!(self.kind, Kind::Bare(_));
        verify::run(&entrant, &hall.instruments, task, !is_bare)?;
        if entrant.by_xdp {
            let site = &entrant.site;
            entrant.processes.push(site.drop_by_xdp(&hall.instruments)?);
        }
        if hall.one_core {
            entrant.site.charge_receive()?;
        }
        entrant.rest();
        Ok(entrant)
    }
}

/// A contestant at work.
pub(crate) struct Entrant {
    /// Where it stands.
    pub(crate) site: Site,
    processes: Vec<Process>,
    /// Whose CPU time counts.
    pub(crate) counted: Vec<u32>,
    /// Whether it takes a CPU though it has nothing to do.
    polls: bool,
    /// Whether it forwards by XDP, in the thread that receives.
    by_xdp: bool,
    /// Its control socket, where it is ours.
    pub(crate) socket: Option<PathBuf>,
}

impl Entrant {
    /// One whose first process is the one that forwards.
    fn of(site: Site, processes: Vec<Process>) -> Self {
        let counted = processes.first().map(|process| process.child.id());
        Self {
            site,
            processes,
            counted: counted.into_iter().collect(),
            polls: false,
            by_xdp: false,
            socket: None,
        }
    }

    /// Notes that it forwards by XDP. The thread that receives counts then, and the sink has to
    /// take what XDP redirects: by GRO, or cheaper by XDP.
    fn goes_by_xdp(&mut self) -> Result<()> {
        self.by_xdp = true;
        self.counted.extend(&self.site.napi);
        self.site.charge_receive()?;
        run(&self.site.sink, "ethtool -K snk0 gro on")?;
        Ok(())
    }

    /// Stands still, if it would not by itself, while others are measured.
    pub(crate) fn rest(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Goes on.
    pub(crate) fn wake(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        for pid in self.counted.iter().filter(|_| self.polls) {
            if let Ok(pid) = i32::try_from(*pid) {
                // One that has ended is noticed by its silence.
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
    }

    /// Whether it has ended by itself, which it must not.
    pub(crate) fn ended(&mut self) -> bool {
        !interrupt::is_pending() && self.processes.iter_mut().any(Process::ended)
    }
}
