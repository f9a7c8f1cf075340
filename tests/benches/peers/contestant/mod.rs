//! Who takes part. The list is data; how each kind is set up is in a file of its own.

mod bare;
mod forwarder;
mod kernel;
mod open_vswitch;

use crate::instruments::Instruments;
use crate::interrupt;
use crate::site::{Cores, Site};
use crate::verify;
use crate::work::{Task, Work};
use anyhow::Result;
use kc_tests::lab::{Lab, Process};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};

pub(crate) use bare::pnet;
use forwarder::Build;

/// Somebody who forwards.
pub(crate) struct Contestant {
    /// As the command line calls it.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) title: &'static str,
    kind: Kind,
}

enum Kind {
    Forwarder(Build),
    OpenVswitch(open_vswitch::Io),
    Kernel,
    Bare(bare::Method),
}

const fn ours(name: &'static str, title: &'static str, build: Build) -> Contestant {
    Contestant {
        name,
        title,
        kind: Kind::Forwarder(build),
    }
}

const fn switch(name: &'static str, title: &'static str, io: open_vswitch::Io) -> Contestant {
    Contestant {
        name,
        title,
        kind: Kind::OpenVswitch(io),
    }
}

const fn bare(name: &'static str, title: &'static str, method: bare::Method) -> Contestant {
    Contestant {
        name,
        title,
        kind: Kind::Bare(method),
    }
}

/// Everybody. A new backend of ours is a line here and a `Build`.
#[rustfmt::skip]
pub(crate) const ALL: &[Contestant] = &[
    ours("kc-pnet", "kc-forwarder, ports pnet", forwarder::PNET),
    ours("kc-packet", "kc-forwarder, ports packet, tunnels udp", forwarder::PACKET),
    ours("kc-gso", "kc-forwarder, ports mmap, tunnels udp-gso", forwarder::GSO),
    ours("kc-mmap", "kc-forwarder, ports mmap, tunnels mmap", forwarder::MMAP),
    ours("kc-spread", "kc-forwarder, ports mmap, tunnels mmap, on both CPUs", forwarder::SPREAD),
    ours("kc-xdp", "kc-forwarder, ports xdp, tunnels mmap", forwarder::XDP),
    ours("kc-fast", "kc-forwarder, fast path in XDP", forwarder::FAST),
    ours("kc-auto", "kc-forwarder, as it chooses itself", forwarder::AUTO),
    switch("ovs", "Open vSwitch in user space, AF_PACKET", open_vswitch::Io::System),
    switch("ovs-afxdp", "Open vSwitch in user space, AF_XDP", open_vswitch::Io::Afxdp),
    Contestant { name: "kernel", title: "Linux bridge and vxlan", kind: Kind::Kernel },
    bare("bare-pnet", "loop: pnet_datalink", bare::Method::Pnet),
    bare("bare-each", "loop: recv, send", bare::Method::Packet("each")),
    bare("bare-mmsg", "loop: recvmmsg, sendmmsg", bare::Method::Packet("mmsg")),
    bare("bare-tpv3m", "loop: TPACKET_V3 in, sendmmsg out", bare::Method::Packet("tpv3m")),
    bare("bare-udp", "loop: UDP, recvmmsg, sendmmsg", bare::Method::Udp("mmsg")),
    bare("bare-udptxgso", "loop: UDP, recvmmsg, UDP_SEGMENT", bare::Method::Udp("txgso")),
    bare("bare-udpgso", "loop: UDP, UDP_GRO, UDP_SEGMENT", bare::Method::Udp("gso")),
    bare("bare-gso1", "loop: TPACKET_V3 in, UDP GSO out by 1 source port", bare::Method::Gso("1")),
    bare("bare-gso4", "loop: TPACKET_V3 in, UDP GSO out by 4 source ports", bare::Method::Gso("4")),
    bare("bare-gso16", "loop: TPACKET_V3 in, UDP GSO out by 16 source ports", bare::Method::Gso("16")),
    bare("bare-xsk", "loop: AF_XDP in copy mode", bare::Method::Xsk),
    bare("bare-xdp", "XDP program that redirects", bare::Method::Xdp),
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
    /// Another one, beside which ours are measured.
    pub(crate) before: Option<PathBuf>,
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

    /// The bare loop with the same I/O, for this work.
    pub(crate) fn twin(&self, work: Work) -> Option<&'static str> {
        let Kind::Forwarder(build) = &self.kind else {
            return None;
        };
        let mut twins = build.twins.iter().copied();
        twins.find(|name| find(name).is_some_and(|one| one.does(work)))
    }

    /// Whom it is compared with unless somebody says otherwise.
    pub(crate) fn rivals(&self) -> &'static [&'static str] {
        match &self.kind {
            Kind::Forwarder(build) => build.rivals,
            _ => &["ovs"],
        }
    }

    /// Whether it is ours.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Forwarder(_))
    }

    /// The tables of a task, where it is ours.
    pub(crate) fn tables(&self, task: Task, generation: u64) -> Option<String> {
        match &self.kind {
            Kind::Forwarder(build) => Some(forwarder::tables(build, task, generation)),
            _ => None,
        }
    }

    /// Sets it up, ready to forward; with this program where it is ours.
    ///
    /// # Errors
    /// It is not installed or does not work here; why, in its own words.
    pub(crate) fn enter(&self, hall: &Hall, forwarder: &Path, task: Task) -> Result<Entrant> {
        let mut site = Site::build(&hall.lab, hall.cores)?;
        if task.work == Work::ProxyHop {
            site.add_function(&hall.lab)?;
        }
        let entrant = match &self.kind {
            Kind::Forwarder(build) => forwarder::enter(forwarder, site, build, task),
            Kind::OpenVswitch(io) => open_vswitch::enter(site, *io, task),
            Kind::Kernel => kernel::enter(site, task),
            Kind::Bare(method) => bare::enter(hall, site, method, task),
        }?;
        let is_bare = matches!(self.kind, Kind::Bare(_));
        verify::run(&entrant, &hall.instruments, task, !is_bare)?;
        if task.one_core {
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
    /// Whether it forwards less and less when there is more than it can do.
    pub(crate) collapses: bool,
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
            collapses: false,
            by_xdp: false,
            socket: None,
        }
    }

    /// Notes that it forwards by XDP. The thread that receives counts then.
    fn goes_by_xdp(&mut self) -> Result<()> {
        self.by_xdp = true;
        self.counted.extend(&self.site.napi);
        self.site.charge_receive()
    }

    /// Has the sink drop by XDP what came by XDP, for as long as what is returned lives: that costs
    /// the least, and nobody can look at the frames then.
    pub(crate) fn drop_by_xdp(&self, instruments: &Instruments) -> Result<Option<Process>> {
        if !self.by_xdp {
            return Ok(None);
        }
        self.site.drop_by_xdp(instruments).map(Some)
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let processes = self.processes.iter();
        processes.map(|process| process.child.id()).collect()
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
