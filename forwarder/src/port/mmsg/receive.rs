//! Receiving: frames of a pool lie ready for the kernel to write into.
#![expect(unsafe_code, reason = "message headers hold raw pointers")]

use super::BATCH;
use super::control::{self, Control};
use crate::frame::{Frame, MAX_FRAME, Pool};
use crate::port::offload::{self, VNET_HEADER};
use std::cell::RefCell;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// What of a super-frame does not fit into a frame's own buffer.
const OVERFLOW: usize = MAX_FRAME;

/// Length of the largest socket address.
#[expect(clippy::cast_possible_truncation, reason = "128")]
const NAME: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// Where the kernel writes. One for each thread, shared by all its sockets; the pages of
/// `overflow` are touched only by super-frames.
struct Area {
    /// Empty frames, one for each message.
    frames: Vec<Frame>,
    overflow: Vec<u8>,
    headers: [[u8; VNET_HEADER]; BATCH],
    control: [Control; BATCH],
    names: [libc::sockaddr_storage; BATCH],
}

impl Area {
    fn new() -> Self {
        Self {
            frames: Vec::new(),
            overflow: vec![0; OVERFLOW * BATCH],
            headers: [[0; VNET_HEADER]; BATCH],
            control: [Control::default(); BATCH],
            // SAFETY: sockaddr_storage is plain data for which all zeroes is a valid value.
            names: [unsafe { zeroed() }; BATCH],
        }
    }
}

thread_local! {
    static AREA: RefCell<Box<Area>> = RefCell::new(Box::new(Area::new()));
}

/// One received datagram.
#[derive(Debug)]
pub(in crate::port) struct Received {
    /// Its octets, and what its `virtio_net_hdr` said.
    pub(in crate::port) frame: Frame,
    /// Set when it was longer than any frame.
    pub(in crate::port) cut: bool,
    /// The VLAN tag the kernel took out: (TPID, TCI).
    pub(in crate::port) tag: Option<(u16, u16)>,
    /// The sender, for UDP sockets.
    pub(in crate::port) from: Option<IpAddr>,
}

/// What a socket puts around its datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::port) enum Kind {
    /// A packet socket with PACKET_VNET_HDR and PACKET_AUXDATA.
    Packet,
    /// A UDP socket, perhaps with UDP_GRO.
    Udp,
}

/// Receives what waits, at most `max` and at most [`BATCH`] messages, and hands each datagram to
/// `each`; those that the kernel had joined are separate again. Says how many messages there were.
///
/// # Errors
/// What `recvmmsg` says; `WouldBlock` when nothing waits.
pub(in crate::port) fn receive(
    fd: BorrowedFd<'_>,
    kind: Kind,
    max: usize,
    pool: &mut Pool,
    mut each: impl FnMut(Received, &mut Pool),
) -> io::Result<usize> {
    AREA.with_borrow_mut(|area| {
        let wanted = max.min(BATCH);
        while area.frames.len() < wanted {
            area.frames.push(pool.take());
        }
        // SAFETY: iovec and mmsghdr are plain data for which all zeroes (null pointers, lengths
        // of 0) are valid values.
        let mut vectors: [[libc::iovec; 3]; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let overflows = area.overflow.chunks_exact_mut(OVERFLOW);
        for (i, (frame, overflow)) in area.frames.iter_mut().zip(overflows).enumerate() {
            if i == wanted {
                break;
            }
            vectors[i] = [
                vector(&mut area.headers[i]),
                vector(frame.room_mut()),
                vector(overflow),
            ];
            // A UDP socket has no header in front.
            let skipped = usize::from(kind == Kind::Udp);
            let header = &mut messages[i].msg_hdr;
            header.msg_iov = vectors[i][skipped..].as_mut_ptr();
            header.msg_iovlen = (3 - skipped) as _;
            area.control[i].lend(header);
            if kind == Kind::Udp {
                header.msg_name = (&raw mut area.names[i]).cast();
                header.msg_namelen = NAME;
            }
        }
        // SAFETY: the first `wanted` headers describe disjoint, writable memory of `area` and
        // `vectors`, which live, unmoved, until after the call. The raw system call takes the
        // layout that libc declares: padding is zero, and there is no timeout.
        let count = unsafe {
            libc::syscall(
                libc::SYS_recvmmsg,
                fd.as_raw_fd(),
                messages.as_mut_ptr(),
                wanted,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut::<libc::timespec>(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (i, message) in messages.iter().enumerate().take(count) {
            let length = message.msg_len as usize;
            let header = &message.msg_hdr;
            // The next call finds another empty frame in this one's place.
            let mut frame = std::mem::replace(&mut area.frames[i], pool.take());
            let overflow = &area.overflow[i * OVERFLOW..][..OVERFLOW];
            let cut = header.msg_flags & libc::MSG_TRUNC != 0;
            match kind {
                Kind::Packet => {
                    take(&mut frame, length.saturating_sub(VNET_HEADER), overflow);
                    frame.offload = offload::parse(&area.headers[i]);
                    let (tag, from) = (control::tag(header), None);
                    let received = Received {
                        frame,
                        cut,
                        tag,
                        from,
                    };
                    each(received, pool);
                }
                Kind::Udp => {
                    let (class, joined) = control::class_and_length(header);
                    let from = sender(&area.names[i]);
                    let mut each = |mut frame: Frame, pool: &mut Pool| {
                        frame.offload.outer_class = class;
                        let tag = None;
                        let received = Received {
                            frame,
                            cut,
                            tag,
                            from,
                        };
                        each(received, pool);
                    };
                    match joined.filter(|&joined| joined < length) {
                        Some(joined) => {
                            part(frame, length, overflow, joined, pool, &mut each);
                        }
                        None => {
                            take(&mut frame, length, overflow);
                            each(frame, pool);
                        }
                    }
                }
            }
        }
        Ok(count)
    })
}

fn vector(room: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room.len(),
    }
}

/// The first `length` octets, of which the last may be in `overflow`, are the frame.
fn take(frame: &mut Frame, length: usize, overflow: &[u8]) {
    frame.set_len(length);
    let rest = length - frame.len();
    if rest > 0 {
        frame.extend(&overflow[..rest.min(overflow.len())]);
    }
}

/// Parts what the kernel joined (UDP_GRO) into datagrams of `joined` octets each, the last one
/// perhaps shorter.
fn part(
    mut whole: Frame,
    length: usize,
    overflow: &[u8],
    joined: usize,
    pool: &mut Pool,
    each: &mut impl FnMut(Frame, &mut Pool),
) {
    whole.set_len(length);
    let own = whole.len();
    let length = length.min(own + overflow.len());
    for start in (0..length).step_by(joined.max(1)) {
        let end = (start + joined).min(length);
        let mut piece = pool.take();
        piece.extend(&whole.bytes()[start.min(own)..end.min(own)]);
        piece.extend(&overflow[start.max(own) - own..end.max(own) - own]);
        each(piece, pool);
    }
    pool.give(whole);
}

/// The sender in a received message's name.
fn sender(name: &libc::sockaddr_storage) -> Option<IpAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage, which is larger and aligned for every
            // kind of address, holds a sockaddr_in.
            let name = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            Some(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for sockaddr_in6.
            let name = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            Some(Ipv6Addr::from(name.sin6_addr.s6_addr).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_datagrams_are_parted_wherever_the_buffer_ends() {
        let all: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for own in 0..=40 {
            for joined in [1, 7, 39, 40, 41, 999, 1000] {
                let mut whole = Frame::with_capacity(own);
                whole.room_mut().copy_from_slice(&all[..own]);
                let mut parts = Vec::new();
                let mut keep = |frame: Frame, _: &mut Pool| parts.push(frame.bytes().to_vec());
                let overflow = &all[own..];
                part(
                    whole,
                    1000,
                    overflow,
                    joined,
                    &mut Pool::default(),
                    &mut keep,
                );
                assert!(parts.iter().rev().skip(1).all(|part| part.len() == joined));
                assert_eq!(
                    parts.concat(),
                    all,
                    "{joined} octets each, {own} in the buffer"
                );
            }
        }
    }
}
