//! The program of one generation of tables with its arrays, in the kernel but on no interface yet.

use super::memory::Memory;
use crate::fast::layout::{self, DOOR, STATION};
use crate::fast::plan::Plan;
use crate::fast::slots::Slots;
use aya::maps::{Array, ArrayOfMaps, Map, MapData};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use std::fs;
use std::io;
use std::os::fd::AsFd;

/// The program, compiled from `bpf/fast.bpf.c` by `make bpf`.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/fast.bpf.o"));

/// Next hops beyond those that there are ways out: one is used for each that becomes another.
const SPARE_VIAS: usize = 1024;

/// An empty table of interfaces, with room for many.
pub(super) fn no_doors() -> Slots<DOOR> {
    Slots::spare(128)
}

/// Why the program is not in the kernel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The kernel refused the program or an array.
    #[error("the kernel does not take the program")]
    Refused(#[source] Box<aya::EbpfError>),
    /// As above, of the program itself.
    #[error("the kernel does not take the program")]
    Program(#[source] Box<aya::programs::ProgramError>),
    /// It lacks something, which is a mistake of the build.
    #[error("the program has no {0}")]
    Lacks(&'static str),
    /// An array could not be mapped.
    #[error("array {array} of the program cannot be mapped")]
    Memory {
        /// Its name.
        array: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Waits until no program runs that began before.
pub(crate) struct Barrier {
    outer: ArrayOfMaps<MapData, Array<MapData, u32>>,
    inner: Array<MapData, u32>,
}

impl Barrier {
    /// Waits. The kernel does so whenever an array of arrays changes, for this very purpose.
    ///
    /// # Errors
    /// The kernel refused.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        self.outer.set(0, &self.inner, 0).map_err(io::Error::other)
    }
}

/// One generation in the kernel.
pub(crate) struct Program {
    ebpf: Ebpf,
    pub(super) gate: Memory,
    pub(super) doors: Memory,
    pub(super) stations: Memory,
    pub(super) outs: Memory,
    pub(super) vias: Memory,
    pub(super) counts: Memory,
    /// How many next hops there is room for.
    pub(super) room: u32,
    /// CPUs that count.
    pub(super) cpus: usize,
}

/// UDP ports as the program takes them: four in a word, in network order.
fn sources(ports: &[u16]) -> [u64; 2] {
    let four = |from: usize| {
        let four = (0..4).map(|step| ports.get(from + step).copied().unwrap_or(0));
        let words = four.zip(0_u32..).map(|(port, step)| {
            let port = u16::from_ne_bytes(port.to_be_bytes());
            u64::from(port) << (16 * step)
        });
        words.sum()
    };
    [four(0), four(4)]
}

/// A number that a system file holds.
fn read_number(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

impl Program {
    /// Loads the program with the arrays of `plan` filled; our UDP sockets send from `ports`, over
    /// IPv4 and over IPv6.
    pub(super) fn load(plan: &Plan, ports: &[Vec<u16>; 2]) -> Result<(Self, Barrier), LoadError> {
        let cpus = aya::util::nr_cpus().unwrap_or(1);
        let narrow = narrow(plan);
        let wide = wide(plan, ports);
        let entries = |count: usize| u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let stations = Slots::<STATION>::spare(plan.tunnels).bits;
        let room = entries(plan.outs.len() + SPARE_VIAS);
        let sizes = [
            ("hops", plan.hops.bits.slots()),
            ("remotes", plan.remotes.bits.slots()),
            ("lans", plan.lans.bits.slots()),
            ("doors", no_doors().bits.slots()),
            ("stations", stations.slots()),
            ("outs", entries(plan.outs.len())),
            ("vias", room),
            ("counts", entries(plan.counters() * cpus)),
        ];
        let mut loader = EbpfLoader::new();
        loader
            .btf(None)
            .verifier_log_level(VerifierLogLevel::DISABLE);
        for (name, value) in &narrow {
            loader.override_global(name, value, true);
        }
        for (name, value) in &wide {
            loader.override_global(name, value, true);
        }
        for (name, size) in sizes {
            loader.map_max_entries(name, size);
        }
        let mut ebpf = loader
            .load(OBJECT)
            .map_err(|error| LoadError::Refused(Box::new(error)))?;
        let barrier = barrier(&mut ebpf)?;
        let map = |array: &'static str, words: u32| {
            let size = sizes
                .iter()
                .find(|(name, _)| *name == array)
                .map_or(1, |(_, size)| *size);
            memory(&ebpf, array, size as usize * words as usize * 4)
        };
        let hops = map("hops", 4)?;
        fill(&hops, &plan.hops);
        fill(&map("remotes", 8)?, &plan.remotes);
        fill(&map("lans", 2)?, &plan.lans);
        let outs = map("outs", 8)?;
        for (place, out) in plan.outs.iter().enumerate() {
            outs.write(place, &layout::out(0, out.as_ref().map(|out| out.wrap)));
        }
        let mut program = Self {
            gate: map("gates", 2)?,
            doors: map("doors", 8)?,
            stations: map("stations", 4)?,
            outs,
            vias: map("vias", 6)?,
            counts: map("counts", 4)?,
            room,
            cpus,
            ebpf,
        };
        let xdp = program.xdp()?;
        xdp.load()
            .map_err(|error| LoadError::Program(Box::new(error)))?;
        Ok((program, barrier))
    }

    /// The program itself.
    pub(super) fn xdp(&mut self) -> Result<&mut Xdp, LoadError> {
        let program = self
            .ebpf
            .program_mut("fast")
            .ok_or(LoadError::Lacks("entry"))?;
        program
            .try_into()
            .map_err(|error| LoadError::Program(Box::new(error)))
    }
}

fn fill<const N: usize>(memory: &Memory, slots: &Slots<N>) {
    for (place, record) in slots.words.iter().enumerate() {
        if *record != [0; N] {
            memory.write(place, record);
        }
    }
}

fn memory(ebpf: &Ebpf, array: &'static str, length: usize) -> Result<Memory, LoadError> {
    let Some(Map::Array(data)) = ebpf.map(array) else {
        return Err(LoadError::Lacks(array));
    };
    Memory::map(data.fd().as_fd(), length).map_err(|source| LoadError::Memory { array, source })
}

fn barrier(ebpf: &mut Ebpf) -> Result<Barrier, LoadError> {
    let outer = ebpf
        .take_map("barriers")
        .ok_or(LoadError::Lacks("barriers"))?;
    let refused = |error: aya::maps::MapError| LoadError::Refused(Box::new(error.into()));
    Ok(Barrier {
        outer: outer.try_into().map_err(refused)?,
        inner: Array::create(1, 0).map_err(refused)?,
    })
}

/// What the program is told in words of 32 bits.
fn narrow(plan: &Plan) -> Vec<(&'static str, u32)> {
    let own = |v6: bool| {
        let mut own = plan
            .underlay
            .iter()
            .flat_map(|underlay| underlay.address.iter());
        own.find(|own| own.is_ipv6() == v6)
    };
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let own_ipv4 = match own(false) {
        Some(std::net::IpAddr::V4(v4)) => u32::from_ne_bytes(v4.octets()),
        _ => 0,
    };
    let gpe_port = plan
        .underlay
        .as_ref()
        .map_or(0, |underlay| underlay.gpe_port);
    let stations = Slots::<STATION>::spare(plan.tunnels).bits;
    let ttl = read_number("/proc/sys/net/ipv4/ip_default_ttl");
    let hops = read_number("/proc/sys/net/ipv6/conf/default/hop_limit");
    vec![
        ("hops_mask", plan.hops.bits.mask()),
        ("hops_shift", plan.hops.bits.shift()),
        ("remotes_mask", plan.remotes.bits.mask()),
        ("remotes_shift", plan.remotes.bits.wide_shift()),
        ("doors_mask", no_doors().bits.mask()),
        ("lans_mask", plan.lans.bits.mask()),
        ("lans_shift", plan.lans.bits.shift()),
        ("stations_mask", stations.mask()),
        ("stations_shift", stations.wide_shift()),
        ("counts_each", number(plan.counters())),
        ("counts_in", number(plan.counted)),
        ("counts_out", number(plan.counted + plan.ins())),
        ("has_ipv4", own(false).is_some().into()),
        ("has_ipv6", own(true).is_some().into()),
        ("own_ipv4", own_ipv4),
        (
            "gpe_port",
            u16::from_ne_bytes(gpe_port.to_be_bytes()).into(),
        ),
        (
            "underlay_mtu",
            plan.underlay
                .as_ref()
                .map_or(0, |underlay| underlay.mtu.into()),
        ),
        (
            "ttl_ipv4",
            ttl.filter(|&ttl| ttl > 0 && ttl < 256).unwrap_or(64),
        ),
        (
            "ttl_ipv6",
            hops.filter(|&hops| hops > 0 && hops < 256).unwrap_or(64),
        ),
    ]
}

/// And in words of 64 bits.
fn wide(plan: &Plan, ports: &[Vec<u16>; 2]) -> Vec<(&'static str, u64)> {
    let mut own = plan
        .underlay
        .iter()
        .flat_map(|underlay| underlay.address.iter());
    let own = own.find(std::net::IpAddr::is_ipv6);
    let [high, low] = own.map_or([0, 0], layout::halves);
    let [[v4_low, v4_high], [v6_low, v6_high]] = ports.each_ref().map(|ports| sources(ports));
    vec![
        ("own_ipv6_high", high),
        ("own_ipv6_low", low),
        ("sources_ipv4_low", v4_low),
        ("sources_ipv4_high", v4_high),
        ("sources_ipv6_low", v6_low),
        ("sources_ipv6_high", v6_high),
    ]
}
