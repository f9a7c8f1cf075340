//! Socket calls that nix and socket2 do not offer for packet sockets, each wrapped once.
#![expect(unsafe_code, reason = "setsockopt, bind and ioctl take raw pointers")]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Room the kernel keeps for frames in each direction; the kernel grants what it may.
const BUFFER: i32 = 4 << 20;

/// Turns the return value of a system call into a result.
pub(super) fn check(value: libc::c_int) -> io::Result<libc::c_int> {
    if value < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}

/// Sets a socket option whose value is the plain structure `T`.
pub(super) fn set<T: Copy>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: `value` points to `length` readable bytes for the duration of the call; the kernel
    // only reads them, and refuses a length that does not fit the option.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    })?;
    Ok(())
}

/// Sets an integer option.
pub(super) fn set_int(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    set(fd, level, name, &value)
}

/// Frames that the kernel dropped since the last call because the socket's buffer was full. The
/// kernel sets its counters to zero when they are read.
pub(super) fn packets_dropped(fd: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: tpacket_stats is plain data for which all zeroes is a valid value.
    let mut statistics: libc::tpacket_stats = unsafe { zeroed() };
    get(
        fd,
        libc::SOL_PACKET,
        libc::PACKET_STATISTICS,
        &mut statistics,
    )?;
    Ok(statistics.tp_drops.into())
}

/// Datagrams that the kernel dropped since the socket was made.
pub(super) fn datagrams_dropped(fd: BorrowedFd<'_>) -> io::Result<u64> {
    /// SK_MEMINFO_DROPS of linux/sock_diag.h.
    const DROPS: usize = 8;
    let mut memory = [0_u32; DROPS + 1];
    get(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut memory)?;
    let [.., dropped] = memory;
    Ok(dropped.into())
}

/// Reads a socket option whose value is the plain structure `T`, for which any octets are valid.
pub(super) fn get<T: Copy>(
    fd: BorrowedFd<'_>,
    level: i32,
    name: i32,
    value: &mut T,
) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: `value` points to `length` writable bytes for the duration of the call, and the
    // kernel writes no more than that.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_mut(value).cast(),
            &raw mut length,
        )
    })?;
    Ok(())
}

/// Asks for large buffers: beyond the system's limit where we may, up to it otherwise.
pub(super) fn grow_buffers(fd: BorrowedFd<'_>) -> io::Result<()> {
    for (force, plain) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        if set_int(fd, libc::SOL_SOCKET, force, BUFFER).is_err() {
            set_int(fd, libc::SOL_SOCKET, plain, BUFFER)?;
        }
    }
    Ok(())
}

/// A raw packet socket that receives nothing until it is bound.
pub(super) fn packet_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers are involved.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: `fd` was opened just now and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    set_int(
        fd.as_fd(),
        libc::SOL_PACKET,
        libc::PACKET_IGNORE_OUTGOING,
        1,
    )?;
    grow_buffers(fd.as_fd())?;
    Ok(fd)
}

/// Starts receiving what has this `protocol`, an ETH_P number, on the interface with `index`, or
/// on all of them where that is zero.
pub(super) fn bind_packet(fd: BorrowedFd<'_>, index: u32, protocol: i32) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain data for which all zeroes is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_protocol = u16::try_from(protocol).map_err(io::Error::other)?.to_be();
    address.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
    let length =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: `address` is a sockaddr_ll of `length` bytes and outlives the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) })?;
    Ok(())
}

/// Also receives frames addressed to others, for as long as the socket lives.
pub(super) fn be_promiscuous(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).map_err(io::Error::other)?,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(fd, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// A fan-out group of packet sockets on one interface: each frame goes to one of them, which a
/// program chooses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fanout {
    number: u16,
}

/// PACKET_FANOUT_CBPF of linux/if_packet.h.
const BY_PROGRAM: u16 = 6;

/// PACKET_FANOUT_FLAG_UNIQUEID of linux/if_packet.h.
const NEW_NUMBER: u16 = 0x2000;

impl Fanout {
    /// Makes a group of the bound socket `fd`, which is the only member and gets everything.
    pub(super) fn begin(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let wanted = u32::from(BY_PROGRAM | NEW_NUMBER) << 16;
        set(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, &wanted)?;
        let mut made = 0_u32;
        get(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, &mut made)?;
        let [low, high, ..] = made.to_le_bytes();
        let number = u16::from_le_bytes([low, high]);
        Ok(Self { number })
    }

    /// Makes the bound socket `fd` the next member.
    pub(super) fn join(self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let wanted = u32::from(self.number) | u32::from(BY_PROGRAM) << 16;
        set(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, &wanted)
    }

    /// Sends every frame to the member with this place from now on; `fd` is any of them. When this
    /// returns, nothing goes anywhere else any more.
    pub(super) fn choose(self, fd: BorrowedFd<'_>, place: u32) -> io::Result<()> {
        set_program(
            fd,
            libc::SOL_PACKET,
            libc::PACKET_FANOUT_DATA,
            &[answer(place)],
        )
    }
}

/// A program's last instruction: its answer is `value`.
const fn answer(value: u32) -> libc::sock_filter {
    jump(0x06, value, 0, 0)
}

/// Sets an option whose value is a classic BPF program.
fn set_program(
    fd: BorrowedFd<'_>,
    level: i32,
    name: i32,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        // The kernel copies it, and writes nothing.
        filter: program.as_ptr().cast_mut(),
    };
    set(fd, level, name, &program)
}

/// Makes the kernel discard what is not UDP over IPv4 to one of `ports` of `own`, without IP
/// options and not a fragment.
pub(super) fn accept_datagrams(
    fd: BorrowedFd<'_>,
    own: Ipv4Addr,
    ports: [u16; 2],
) -> io::Result<()> {
    let [first, second] = ports.map(u32::from);
    let program = [
        load(OCTET, NETWORK),
        unless_equal(0x45, 10),
        load(OCTET, NETWORK + 9),
        unless_equal(17, 8),
        load(HALF, NETWORK + 6),
        // More fragments, or not the first.
        if_any(0x3fff, 6),
        load(WORD, NETWORK + 16),
        unless_equal(own.to_bits(), 4),
        load(HALF, NETWORK + 22),
        if_equal(first, 1),
        unless_equal(second, 1),
        answer(WHOLE),
        answer(0),
    ];
    set_program(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Makes a UDP socket discard what [`accept_datagrams`] takes elsewhere.
pub(super) fn refuse_datagrams(fd: BorrowedFd<'_>) -> io::Result<()> {
    let program = [
        load(OCTET, NETWORK),
        if_equal(0x45, 1),
        answer(WHOLE),
        answer(0),
    ];
    set_program(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// SKF_NET_OFF: offsets count from the network header.
const NETWORK: u32 = 0xfff0_0000;

/// BPF_LD | BPF_ABS with the size of what is loaded.
const OCTET: u16 = 0x30;
const HALF: u16 = 0x28;
const WORD: u16 = 0x20;

/// Longer than any packet.
const WHOLE: u32 = 0x0004_0000;

const fn load(size: u16, at: u32) -> libc::sock_filter {
    jump(size, at, 0, 0)
}

const fn if_equal(value: u32, skip: u8) -> libc::sock_filter {
    jump(0x15, value, skip, 0)
}

const fn unless_equal(value: u32, skip: u8) -> libc::sock_filter {
    jump(0x15, value, 0, skip)
}

const fn if_any(bits: u32, skip: u8) -> libc::sock_filter {
    jump(0x45, bits, skip, 0)
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Makes the kernel discard every frame.
pub(super) fn refuse_all(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_program(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &[answer(0)])
}

/// Takes a filter away.
pub(super) fn accept_all(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_int(fd, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0)
}

/// Makes the kernel discard frames whose VLAN tag it has taken out, for a reader that could not
/// see the tag and would leak the frame into the untagged network.
pub(super) fn refuse_tagged(fd: BorrowedFd<'_>) -> io::Result<()> {
    /// Load the "tag present" flag; jump; accept whole; refuse.
    const PROGRAM: [libc::sock_filter; 4] = [
        load(WORD, 0xffff_f000 + 48),
        unless_equal(0, 1),
        answer(WHOLE),
        answer(0),
    ];
    set_program(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &PROGRAM)
}

/// One question about an interface, answered into a copy of `request`.
pub(super) fn ask(
    fd: BorrowedFd<'_>,
    question: libc::Ioctl,
    mut request: libc::ifreq,
) -> io::Result<libc::ifreq> {
    // SAFETY: the SIOCGIF questions read and write one ifreq, which `request` is.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), question, &raw mut request) })?;
    Ok(request)
}
