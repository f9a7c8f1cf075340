//! What the kernel loses of redirected packets. It tells at tracepoints, which a program of ours
//! listens at; that takes a kernel that tells of its own types (BTF).

use super::memory::Memory;
use aya::maps::Map;
use aya::programs::BtfTracePoint;
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel};
use std::error::Error;
use std::os::fd::AsFd;
use std::os::linux::fs::MetadataExt;

/// The program, compiled from `bpf/lost.bpf.c` by `make bpf`.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/lost.bpf.o"));

/// Its tracepoints, each with a program of that name.
const TRACEPOINTS: [&str; 3] = ["xdp_devmap_xmit", "xdp_redirect_err", "xdp_bulk_tx"];

/// Slots for interfaces, and those looked at for one.
const SLOTS: u32 = 1024;
const PROBES: u32 = 8;

/// Counts what is lost, for as long as it lives.
pub(crate) struct Losses {
    interfaces: Memory,
    _ebpf: Ebpf,
}

impl Losses {
    /// Loads the program and has it listen, in the network namespace of the calling thread.
    pub(super) fn load() -> Result<Self, Box<dyn Error>> {
        let btf = Btf::from_sys_fs()?;
        let mut loader = EbpfLoader::new();
        loader
            .btf(Some(&btf))
            .verifier_log_level(VerifierLogLevel::DISABLE);
        let mut ebpf = loader.load(OBJECT)?;
        let map = |ebpf: &Ebpf, name, length| match ebpf.map(name) {
            Some(Map::Array(data)) => Memory::map(data.fd().as_fd(), length),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        let interfaces = map(&ebpf, "interfaces", SLOTS as usize * 16)?;
        let namespace = std::fs::metadata("/proc/thread-self/ns/net")?.st_ino();
        map(&ebpf, "namespaces", 8)?.store_wide(0, namespace);
        for name in TRACEPOINTS {
            let program = ebpf.program_mut(name).ok_or("a program is missing")?;
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(name, &btf)?;
            program.attach()?;
        }
        Ok(Self {
            interfaces,
            _ebpf: ebpf,
        })
    }

    /// Counts anew, for these interfaces only.
    pub(crate) fn watch(&self, interfaces: impl Iterator<Item = u32>) {
        let mut slots = vec![0; SLOTS as usize];
        for ifindex in interfaces {
            let mut places = (0..PROBES).map(|step| ((ifindex + step) % SLOTS) as usize);
            let place = places.find(|place| slots.get(*place) == Some(&0));
            if let Some(slot) = place.and_then(|place| slots.get_mut(place)) {
                *slot = ifindex;
            }
        }
        for (place, ifindex) in slots.into_iter().enumerate() {
            self.interfaces.write(place, &[ifindex, 0, 0, 0]);
        }
    }

    /// Interfaces and how many packets were lost on their way out by each.
    pub(crate) fn lost(&self) -> Vec<(u32, u64)> {
        let words: Vec<u64> = self.interfaces.wide_from(0).collect();
        let (pairs, _) = words.as_chunks::<2>();
        let pairs = pairs.iter().filter(|[_, lost]| *lost > 0);
        let ifindex = |word: u64| u32::try_from(word & 0xffff_ffff).unwrap_or(0);
        pairs.map(|[word, lost]| (ifindex(*word), *lost)).collect()
    }
}
