//! The program of one generation of tables with its arrays, in the kernel but on no interface yet.

use super::losses::Losses;
use super::memory::Memory;
use crate::fast::layout::{self, DOOR, STATION};
use crate::fast::plan::Plan;
use crate::fast::slots::Slots;
use aya::maps::{Array, ArrayOfMaps, Map, MapData};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

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

/// Loads programs. Made once: to make one takes as long as reading all that the kernel tells of
/// its own types.
pub(crate) struct Loader {
    inner: EbpfLoader<'static>,
    losses: Option<Arc<Losses>>,
}

impl Loader {
    /// Reads what the kernel tells of itself.
    pub(crate) fn new() -> Self {
        let mut inner = EbpfLoader::new();
        inner
            .btf(None)
            .verifier_log_level(VerifierLogLevel::DISABLE);
        let losses = match Losses::load() {
            Ok(losses) => Some(Arc::new(losses)),
            Err(error) => {
                let reason = super::super::explain(&*error);
                tracing::warn!(
                    reason,
                    "what the kernel loses of redirected packets is not counted"
                );
                None
            }
        };
        Self { inner, losses }
    }

    /// What is lost, where the kernel tells.
    pub(crate) fn losses(&self) -> Option<Arc<Losses>> {
        self.losses.clone()
    }
}

impl Program {
    /// Loads the program with the arrays of `plan` filled; our UDP sockets send from `ports`, over
    /// IPv4 and over IPv6.
    pub(super) fn load(
        loader: &mut Loader,
        plan: &Plan,
        ports: &[Vec<u16>; 2],
    ) -> Result<(Self, Barrier), LoadError> {
        let cpus = aya::util::nr_cpus().unwrap_or(1);
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
        for (name, size) in sizes {
            loader.inner.map_max_entries(name, size);
        }
        let refused = |error: aya::EbpfError| LoadError::Refused(Box::new(error));
        let mut ebpf = loader.inner.load(OBJECT).map_err(refused)?;
        let barrier = barrier(&mut ebpf)?;
        set(&mut ebpf, settings(plan, ports))?;
        let map = |array: &'static str, words: u32| {
            let size = sizes
                .iter()
                .find(|(name, _)| *name == array)
                .map_or(1, |(_, size)| *size);
            memory(&ebpf, array, size as usize * words as usize * 4)
        };
        fill(&map("hops", 4)?, &plan.hops);
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

/// Writes the program's settings.
fn set(ebpf: &mut Ebpf, settings: Settings) -> Result<(), LoadError> {
    let refused = |error: aya::maps::MapError| LoadError::Refused(Box::new(error.into()));
    let map = ebpf.map_mut(".bss").ok_or(LoadError::Lacks("settings"))?;
    let mut array: Array<_, Settings> = map.try_into().map_err(refused)?;
    array.set(0, settings, 0).map_err(refused)
}

/// `struct settings`, in words.
type Settings = [u64; 16];

/// What the program is told once.
fn settings(plan: &Plan, ports: &[Vec<u16>; 2]) -> Settings {
    let underlay = plan.underlay.as_ref();
    let own = |v6: bool| {
        let mut own = underlay
            .into_iter()
            .flat_map(|underlay| underlay.address.iter());
        own.find(|own| own.is_ipv6() == v6)
    };
    let own_ipv4 = match own(false) {
        Some(IpAddr::V4(v4)) => u32::from_ne_bytes(v4.octets()),
        _ => 0,
    };
    let [high, low] = own(true).map_or([0, 0], layout::halves);
    let [[v4_low, v4_high], [v6_low, v6_high]] = ports.each_ref().map(|ports| sources(ports));
    let gpe_port = underlay.map_or(0, |underlay| underlay.gpe_port);
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let stations = Slots::<STATION>::spare(plan.tunnels).bits;
    let limit = |path| {
        read_number(path)
            .filter(|limit| (1..256).contains(limit))
            .unwrap_or(64)
    };
    let narrow = [
        plan.hops.bits.mask(),
        plan.hops.bits.shift(),
        plan.remotes.bits.mask(),
        plan.remotes.bits.wide_shift(),
        no_doors().bits.mask(),
        plan.lans.bits.mask(),
        plan.lans.bits.shift(),
        stations.mask(),
        stations.wide_shift(),
        number(plan.counters()),
        number(plan.counted),
        number(plan.counted + plan.ins()),
        own(false).is_some().into(),
        own(true).is_some().into(),
        own_ipv4,
        u16::from_ne_bytes(gpe_port.to_be_bytes()).into(),
        underlay.map_or(0, |underlay| underlay.mtu.into()),
        limit("/proc/sys/net/ipv4/ip_default_ttl"),
        limit("/proc/sys/net/ipv6/conf/default/hop_limit"),
        0,
    ];
    let (pairs, _) = narrow.as_chunks::<2>();
    let pair = |[first, second]: &[u32; 2]| {
        let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    };
    let wide = [high, low, v4_low, v4_high, v6_low, v6_high];
    let mut words = wide.into_iter().chain(pairs.iter().map(pair));
    std::array::from_fn(|_| words.next().unwrap_or(0))
}
