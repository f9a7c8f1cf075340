//! Where a contestant stands: a generator before it, a sink behind it, all in namespaces of their
//! own, on two CPUs.
//!
//! ```text
//! gen0 (generator) ── in0 [contestant] out0 ── snk0 (sink)
//! ```
//!
//! in0 takes frames in its NAPI thread, which runs on the generator's CPU: what the kernel does
//! before a contestant sees a frame is not the contestant's, unless [`Site::charge_receive`].

use crate::instruments::Instruments;
use crate::run::{pinned, run, script, start, until};
use anyhow::{Context, Result, bail, ensure};
use kc_tests::bench::frames::site as address;
use kc_tests::lab::{Lab, Namespace, Process};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The CPUs that are used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    /// Generator, what the kernel does to receive, sink.
    pub(crate) traffic: usize,
    /// The contestant alone.
    pub(crate) contestant: usize,
}

/// Three namespaces in a row.
pub(crate) struct Site {
    /// Has gen0.
    pub(crate) generator: Namespace,
    /// Has in0 with 10.1.0.2 and out0 with 10.2.0.1.
    pub(crate) contestant: Namespace,
    /// Has snk0; nobody there wants the frames.
    pub(crate) sink: Namespace,
    /// A function that knows no NSH, between fa and fb of the contestant, where one was added.
    function: Option<Namespace>,
    /// The kernel's threads that receive on in0.
    pub(crate) napi: Vec<u32>,
    /// The CPUs.
    pub(crate) cores: Cores,
    /// A folder that goes with the bench.
    pub(crate) folder: PathBuf,
    _own: tempfile::TempDir,
}

impl Site {
    /// Makes it.
    pub(crate) fn build(lab: &Lab, cores: Cores) -> Result<Self> {
        let [generator, contestant, sink] = [(); 3].map(|()| lab.namespace());
        let own = tempfile::tempdir_in(lab.folder())?;
        for namespace in [&generator, &contestant, &sink] {
            let off = "net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1";
            run(namespace, &format!("sysctl -qw {off}"))?;
        }
        generator.join("gen0", &contestant, "in0");
        sink.join("snk0", &contestant, "out0");
        for (namespace, interface, mac) in [
            (&generator, "gen0", address::GENERATOR_MAC),
            (&contestant, "in0", address::IN_MAC),
            (&contestant, "out0", address::OUT_MAC),
            (&sink, "snk0", [2, 0, 0, 0, 0, 0x77]),
        ] {
            let mac = mac.map(|octet| format!("{octet:02x}")).join(":");
            let set = format!("ip link set {interface} address {mac} mtu 2000 txqueuelen 1000");
            run(namespace, &set)?;
            let off = format!("ethtool -K {interface} tx off tso off gso off gro off");
            run(namespace, &off)?;
        }
        for line in [
            "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0",
            // NAPI on a veth is there with GRO, and live frames need NAPI.
            "ethtool -K in0 gro on",
            "ip address add 10.1.0.2/24 dev in0",
            "ip address add 10.2.0.1/24 dev out0",
            "ip neighbour replace 10.1.0.1 lladdr 02:00:00:00:00:0a dev in0 nud permanent",
            "ip neighbour replace 10.2.0.2 lladdr 02:00:00:00:00:0e dev out0 nud permanent",
        ] {
            run(&contestant, line)?;
        }
        let napi = threaded(&contestant, "in0")?;
        pin(&napi, cores.traffic, true)?;
        Ok(Self {
            generator,
            contestant,
            sink,
            function: None,
            napi,
            cores,
            folder: own.path().to_owned(),
            _own: own,
        })
    }

    /// Adds a function that knows no NSH, a bridge of the kernel's between two legs. What it does is
    /// done on the traffic's CPU.
    pub(crate) fn add_function(&mut self, lab: &Lab) -> Result<()> {
        let function = lab.namespace();
        run(
            &function,
            "ip link add br0 mtu 2000 type bridge mcast_snooping 0",
        )?;
        run(&function, "ip link set br0 up")?;
        for (inner, leg) in [("ga", "fa"), ("gb", "fb")] {
            function.join(inner, &self.contestant, leg);
            for (namespace, interface, gro) in
                [(&function, inner, "on"), (&self.contestant, leg, "off")]
            {
                run(namespace, &format!("ip link set {interface} mtu 2000"))?;
                let features = format!("tx off tso off gso off gro {gro}");
                run(namespace, &format!("ethtool -K {interface} {features}"))?;
            }
            run(&function, &format!("ip link set {inner} master br0"))?;
            pin(&threaded(&function, inner)?, self.cores.traffic, true)?;
        }
        self.function = Some(function);
        Ok(())
    }

    /// Leaves VLAN tags in frames, where XDP sees them, and has each link take what XDP redirects.
    pub(crate) fn suit_xdp(&self) -> Result<()> {
        for (namespace, interface, offload) in [
            (&self.generator, "gen0", "txvlan"),
            (&self.contestant, "in0", "rxvlan"),
            (&self.contestant, "out0", "rxvlan"),
            (&self.sink, "snk0", "txvlan"),
        ] {
            run(namespace, &format!("ethtool -K {interface} {offload} off"))?;
        }
        run(&self.generator, "ethtool -K gen0 gro on")?;
        run(&self.sink, "ethtool -K snk0 gro on")?;
        Ok(())
    }

    /// Has the contestant's CPU do what the kernel does to receive, too.
    pub(crate) fn charge_receive(&self) -> Result<()> {
        pin(&self.napi, self.cores.contestant, false)
    }

    /// Has the sink drop by XDP: frames that XDP redirects reach a veth whose other end has XDP or
    /// GRO. Lasts as long as what is returned.
    pub(crate) fn drop_by_xdp(&self, instruments: &Instruments) -> Result<Process> {
        let program = instruments
            .program("attach")?
            .to_string_lossy()
            .into_owned();
        let mut command = pinned(&self.sink, &[self.cores.traffic], &program);
        command
            .arg(instruments.program("hop_bpf")?)
            .args(["drop", "snk0"]);
        let log = self.folder.join("sink.log");
        let mut process = start(command, &log)?;
        let attached = || {
            let link = run(&self.sink, "ip link show snk0");
            link.is_ok_and(|link| link.contains("prog/xdp"))
        };
        until(&mut process, &log, "the sink's XDP program", attached)?;
        Ok(process)
    }

    /// Frames that arrived at the contestant, and what is counted at the sink.
    pub(crate) fn counts(&self) -> Result<Counts> {
        let sent = Interface::read(&self.generator, "gen0")?;
        let left = Interface::read(&self.sink, "snk0")?;
        Ok(Counts {
            offered: sent.sent + sent.refused,
            forwarded: left.received,
            octets: left.octets,
        })
    }
}

/// Counters of both links.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Frames sent to the contestant, those that found its queue full among them.
    pub(crate) offered: u64,
    /// Frames that came out of it.
    pub(crate) forwarded: u64,
    /// Octets of those.
    pub(crate) octets: u64,
}

struct Interface {
    received: u64,
    octets: u64,
    sent: u64,
    refused: u64,
}

impl Interface {
    /// What an interface has received and sent.
    fn read(namespace: &Namespace, name: &str) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{}/net/dev", namespace.pid()))?;
        let numbers = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))
            .with_context(|| format!("no interface {name}"))?;
        let numbers: Result<Vec<u64>, _> = numbers.split_whitespace().map(str::parse).collect();
        // Octets, packets, errors, drops and four more received; as many sent.
        let [octets, received, _, _, _, _, _, _, _, sent, _, refused, ..] = numbers?[..] else {
            bail!("a short line of /proc/net/dev");
        };
        Ok(Self {
            received,
            octets,
            sent,
            refused,
        })
    }
}

/// Gives an interface a NAPI thread and tells which it is.
pub(crate) fn threaded(namespace: &Namespace, interface: &str) -> Result<Vec<u32>> {
    let before = threads(interface);
    let file = format!("/sys/class/net/{interface}/threaded");
    script(namespace, &format!("echo 1 > {file}"))?;
    let new: Vec<u32> = threads(interface).difference(&before).copied().collect();
    ensure!(!new.is_empty(), "{interface} got no NAPI thread");
    Ok(new)
}

/// The kernel's threads named after an interface, in whatever namespace.
fn threads(interface: &str) -> BTreeSet<u32> {
    let prefix = format!("napi/{interface}-");
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|comm| comm.starts_with(&prefix))
        })
        .collect()
}

/// Puts threads on a CPU; `first` before everything else there, else as one among the programs of
/// the bench.
pub(crate) fn pin(threads: &[u32], core: usize, first: bool) -> Result<()> {
    for thread in threads {
        let (thread, core) = (thread.to_string(), core.to_string());
        let policy: &[&str] = match first {
            true => &["chrt", "--fifo", "--pid", "1", &thread],
            false => &["chrt", "--other", "--pid", "0", &thread],
        };
        for line in [
            &["taskset", "--cpu-list", "--pid", &core, &thread],
            policy,
            &["renice", "--priority", "-20", "--pid", &thread],
        ] {
            let [program, arguments @ ..] = line else {
                continue;
            };
            let output = Command::new(program).args(arguments).output()?;
            let told = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{program}: {}", told.trim());
        }
    }
    Ok(())
}
