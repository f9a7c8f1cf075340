//! Loads the program of forwarder/bpf/xsk.bpf.c and attaches it for as long as a descriptor of
//! ours is open: whatever ends this process, SIGKILL included, ends the attachment.
//!
//! Loaded by hand and not with a library, because VLAN tags beside frames can only be read by a
//! program that is bound to its interface and calls a function of the kernel's.
#![expect(
    unsafe_code,
    reason = "the bpf system call takes structures that hold pointers"
)]

use super::error::{Step, XskError};
use super::{btf, object};
use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;

/// What `make bpf` made of forwarder/bpf/xsk.bpf.c.
pub(super) const OBJECT: &[u8] = include_bytes!("../../../bpf/xsk.bpf.o");

/// Places of the map `sockets`, as the source has it.
pub(super) const MAX_QUEUES: u32 = 16;

/// The function that tells a frame's tag.
const TAG_FUNCTION: &str = "bpf_xdp_metadata_rx_vlan_tag";

/// Where it is described.
const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Commands, kinds and flags of linux/bpf.h.
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const BPF_PSEUDO_MAP_FD: u8 = 1;
const BPF_PSEUDO_KFUNC_CALL: u8 = 2;
const BPF_F_XDP_DEV_BOUND_ONLY: u32 = 1 << 6;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Where in the kernel the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// In the driver, before the kernel has made a packet of its own of the frame.
    Native,
    /// Behind it: for drivers without XDP.
    Generic,
}

impl Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    _padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// One bpf system call.
///
/// # Safety
/// `attributes` is what the command takes, and every pointer in it leads to what the command
/// reads there; none of the commands above writes.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    let at = std::ptr::from_ref(attributes);
    // SAFETY: `at` leads to as many readable octets as are told, all of them initialized, since
    // the structures have no padding; the rest is the caller's promise.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, at, size_of::<T>()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(answer).map_err(io::Error::other)
}

/// As [`bpf`], for the commands that answer with a new descriptor.
///
/// # Safety
/// As [`bpf`], and the command is one of those.
unsafe fn bpf_fd<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it. It is
    // closed on exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A pointer as these structures hold it.
fn pointer<T>(to: &T) -> u64 {
    std::ptr::from_ref(to).addr() as u64
}

/// A descriptor as these structures hold it.
fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// The sockets of an interface, by receive queue.
pub(super) struct Sockets(OwnedFd);

impl Sockets {
    /// None yet.
    pub(super) fn new() -> io::Result<Self> {
        let attributes = MapCreate {
            map_type: BPF_MAP_TYPE_XSKMAP,
            key_size: 4,
            value_size: 4,
            max_entries: MAX_QUEUES,
            map_name: *b"kc_sockets\0\0\0\0\0\0",
            ..MapCreate::default()
        };
        // SAFETY: BPF_MAP_CREATE takes this structure, which holds no pointers.
        unsafe { bpf_fd(BPF_MAP_CREATE, &attributes) }.map(Self)
    }

    /// Hands frames of `queue` to `socket`, until that is closed.
    pub(super) fn set(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let value = number(socket);
        let attributes = MapUpdate {
            map_fd: number(self.0.as_fd()),
            _padding: 0,
            key: pointer(&queue),
            value: pointer(&value),
            flags: 0,
        };
        // SAFETY: BPF_MAP_UPDATE_ELEM reads a key and a value of four octets each, as the map was
        // made; both outlive the call.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &attributes) }?;
        Ok(())
    }
}

/// The kernel's number of the function that tells a tag.
fn tag_function() -> Option<u32> {
    static NUMBER: OnceLock<Option<u32>> = OnceLock::new();
    *NUMBER.get_or_init(|| btf::function(&std::fs::read(KERNEL_BTF).ok()?, TAG_FUNCTION))
}

/// Which of the programs an interface needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tags {
    /// They are inside the frames.
    Inside,
    /// They travel beside them, and are put back in.
    Beside,
}

/// A loaded program.
pub(super) struct Program(OwnedFd);

impl Program {
    /// Loads it for the interface with `index`.
    pub(super) fn load(sockets: &Sockets, tags: Tags, index: u32) -> Result<Self, XskError> {
        let name = match tags {
            Tags::Inside => "xdp/plain",
            Tags::Beside => "xdp/tagged",
        };
        let found = object::program(OBJECT, name).ok_or(XskError::Object)?;
        let mut code: Vec<[u8; object::INSTRUCTION]> = Vec::new();
        for instruction in found.code.chunks_exact(object::INSTRUCTION) {
            code.push(instruction.try_into().map_err(|_| XskError::Object)?);
        }
        for (place, symbol) in found.open {
            let (kind, value) = match symbol {
                "sockets" => (BPF_PSEUDO_MAP_FD, number(sockets.0.as_fd())),
                TAG_FUNCTION => (
                    BPF_PSEUDO_KFUNC_CALL,
                    tag_function().ok_or(XskError::NoTagFunction)?,
                ),
                _ => return Err(XskError::Object),
            };
            // opcode:8 | destination:4 | source:4 | offset:16 | immediate:32
            let instruction = code.get_mut(place / object::INSTRUCTION);
            let [_, registers, _, _, immediate @ ..] = instruction.ok_or(XskError::Object)?;
            *registers = *registers & 0x0f | kind << 4;
            *immediate = value.to_ne_bytes();
        }
        let (prog_ifindex, prog_flags) = match tags {
            Tags::Inside => (0, 0),
            Tags::Beside => (index, BPF_F_XDP_DEV_BOUND_ONLY),
        };
        let attributes = ProgLoad {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: u32::try_from(code.len()).map_err(|_| XskError::Object)?,
            insns: code.as_ptr().addr() as u64,
            license: pointer(b"GPL\0"),
            prog_flags,
            prog_name: *b"kc_xsk\0\0\0\0\0\0\0\0\0\0",
            prog_ifindex,
            expected_attach_type: BPF_XDP,
            ..ProgLoad::default()
        };
        // SAFETY: BPF_PROG_LOAD reads `insn_cnt` instructions of eight octets and a text that ends
        // with a zero; both outlive the call. There is no log that it would write.
        let program = unsafe { bpf_fd(BPF_PROG_LOAD, &attributes) };
        program.map(Self).map_err(XskError::io(Step::Load))
    }

    /// Attaches it to the interface with `index`, until what is returned is dropped.
    pub(super) fn attach(&self, index: u32, mode: Mode) -> io::Result<OwnedFd> {
        let attributes = LinkCreate {
            prog_fd: number(self.0.as_fd()),
            target_ifindex: index,
            attach_type: BPF_XDP,
            flags: match mode {
                Mode::Native => XDP_FLAGS_DRV_MODE,
                Mode::Generic => XDP_FLAGS_SKB_MODE,
            },
        };
        // SAFETY: BPF_LINK_CREATE takes this structure, which holds no pointers.
        unsafe { bpf_fd(BPF_LINK_CREATE, &attributes) }
    }
}
