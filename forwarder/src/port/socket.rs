//! Socket calls that nix and socket2 do not offer for packet sockets, each wrapped once.
#![expect(unsafe_code, reason = "setsockopt, bind and ioctl take raw pointers")]

use std::io;
use std::mem::{size_of, zeroed};
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
fn set<T: Copy>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
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
fn get<T: Copy>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &mut T) -> io::Result<()> {
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

/// Starts receiving every frame of the interface with `index`.
pub(super) fn bind_packet(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    // SAFETY: sockaddr_ll is plain data for which all zeroes is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL)
        .map_err(io::Error::other)?
        .to_be();
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

/// Makes the kernel discard frames whose VLAN tag it has taken out, for a reader that could not
/// see the tag and would leak the frame into the untagged network.
pub(super) fn refuse_tagged(fd: BorrowedFd<'_>) -> io::Result<()> {
    /// Load the "tag present" flag; jump; accept whole; refuse.
    const PROGRAM: [libc::sock_filter; 4] = [
        instruction(0x20, 0, 0, 0xffff_f000 + 48),
        instruction(0x15, 0, 1, 0),
        instruction(0x06, 0, 0, 0x0004_0000),
        instruction(0x06, 0, 0, 0),
    ];
    const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code, jt, jf, k }
    }
    let mut program = PROGRAM;
    let filter = libc::sock_fprog {
        len: 4,
        filter: program.as_mut_ptr(),
    };
    set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
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
