//! `recvmmsg` and `sendmmsg`: many datagrams for one system call. The only place that builds
//! message headers.
#![expect(unsafe_code, reason = "message headers hold raw pointers")]

use super::Loss;
use super::offload::{self, VNET_HEADER};
use crate::frame::{Frame, MAX_FRAME, Offload};
use std::cell::RefCell;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams for one call. A larger batch takes several calls.
pub(super) const BATCH: usize = 32;

/// Octets between two places of the receive area: a super-frame fits, and the distance is no
/// multiple of a page, so that short frames do not compete for the same cache lines.
const STRIDE: usize = MAX_FRAME.next_multiple_of(64) + 17 * 64;

/// Octets of control data a frame comes with: one `tpacket_auxdata`, or a traffic class.
const CONTROL: usize = 64;

/// Length of the largest socket address.
#[expect(clippy::cast_possible_truncation, reason = "128")]
const NAME: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// Where the kernel writes received datagrams. One for each thread, shared by all its sockets:
/// the pages behind the first ones of a place are touched only by super-frames.
struct Area {
    data: Vec<u8>,
    headers: [[u8; VNET_HEADER]; BATCH],
    control: [ControlBuffer; BATCH],
    names: [libc::sockaddr_storage; BATCH],
}

/// Control data must be aligned as `cmsghdr` is.
#[derive(Clone, Copy)]
#[repr(align(16))]
struct ControlBuffer([u8; CONTROL]);

impl Area {
    fn new() -> Self {
        Self {
            data: vec![0; STRIDE * BATCH],
            headers: [[0; VNET_HEADER]; BATCH],
            control: [ControlBuffer([0; CONTROL]); BATCH],
            // SAFETY: sockaddr_storage is plain data for which all zeroes is a valid value.
            names: [unsafe { zeroed() }; BATCH],
        }
    }
}

thread_local! {
    static AREA: RefCell<Box<Area>> = RefCell::new(Box::new(Area::new()));
}

/// One received datagram.
pub(super) struct Received<'a> {
    /// Its octets.
    pub(super) bytes: &'a [u8],
    /// Set when it was longer than that.
    pub(super) cut: bool,
    /// What its `virtio_net_hdr` said, for sockets that have one.
    pub(super) offload: Offload,
    /// The VLAN tag the kernel took out: (TPID, TCI).
    pub(super) tag: Option<(u16, u16)>,
    /// The sender, for UDP sockets.
    pub(super) from: Option<IpAddr>,
    /// Traffic class of the IP header it came in, for UDP sockets.
    pub(super) class: u8,
}

/// What a socket puts around its datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A packet socket with PACKET_VNET_HDR and PACKET_AUXDATA.
    Packet,
    /// A UDP socket.
    Udp,
}

/// Receives what waits, at most `max` and at most [`BATCH`] datagrams, and hands each to `each`.
///
/// # Errors
/// What `recvmmsg` says; `WouldBlock` when nothing waits.
pub(super) fn receive(
    fd: BorrowedFd<'_>,
    kind: Kind,
    max: usize,
    mut each: impl FnMut(Received<'_>),
) -> io::Result<usize> {
    AREA.with_borrow_mut(|area| {
        let wanted = max.min(BATCH);
        // SAFETY: iovec and mmsghdr are plain data for which all zeroes (null pointers, lengths
        // of 0) are valid values.
        let mut vectors: [[libc::iovec; 2]; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let places = area.data.chunks_exact_mut(STRIDE);
        for (i, place) in places.enumerate().take(wanted) {
            let header = &mut messages[i].msg_hdr;
            let data = libc::iovec {
                iov_base: place.as_mut_ptr().cast(),
                iov_len: STRIDE,
            };
            header.msg_iov = vectors[i].as_mut_ptr();
            header.msg_control = area.control[i].0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
            match kind {
                Kind::Packet => {
                    let base = area.headers[i].as_mut_ptr().cast();
                    vectors[i] = [
                        libc::iovec {
                            iov_base: base,
                            iov_len: VNET_HEADER,
                        },
                        data,
                    ];
                    header.msg_iovlen = 2;
                }
                Kind::Udp => {
                    vectors[i][0] = data;
                    header.msg_iovlen = 1;
                    header.msg_name = (&raw mut area.names[i]).cast();
                    header.msg_namelen = NAME;
                }
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
            let (offload, length) = match kind {
                Kind::Packet => (
                    offload::parse(&area.headers[i]),
                    length.saturating_sub(VNET_HEADER),
                ),
                Kind::Udp => (Offload::default(), length),
            };
            each(Received {
                bytes: &area.data[i * STRIDE..][..length.min(STRIDE)],
                cut: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                offload,
                tag: if kind == Kind::Packet {
                    tag(&message.msg_hdr)
                } else {
                    None
                },
                from: if kind == Kind::Udp {
                    sender(&area.names[i])
                } else {
                    None
                },
                class: if kind == Kind::Udp {
                    class(&message.msg_hdr)
                } else {
                    0
                },
            });
        }
        Ok(count)
    })
}

/// The tag in the PACKET_AUXDATA of a received message.
fn tag(header: &libc::msghdr) -> Option<(u16, u16)> {
    // SAFETY: after a successful recvmmsg `msg_control` points to `msg_controllen` bytes of
    // control messages that the kernel wrote, in a buffer aligned for cmsghdr.
    let message = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }?;
    if message.cmsg_level != libc::SOL_PACKET || message.cmsg_type != libc::PACKET_AUXDATA {
        return None;
    }
    // SAFETY: a PACKET_AUXDATA message holds one tpacket_auxdata, plain data valid for any bytes;
    // the read makes no claim of alignment.
    let data: libc::tpacket_auxdata =
        unsafe { std::ptr::read_unaligned(libc::CMSG_DATA(message).cast()) };
    if data.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let named = data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    Some((
        if named { data.tp_vlan_tpid } else { 0x8100 },
        data.tp_vlan_tci,
    ))
}

/// The traffic class in the control data of a received message; zero where there is none.
fn class(header: &libc::msghdr) -> u8 {
    // SAFETY: as in `tag`.
    let Some(message) = (unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }) else {
        return 0;
    };
    match (message.cmsg_level, message.cmsg_type) {
        // SAFETY: an IP_TOS message holds one octet.
        (libc::IPPROTO_IP, libc::IP_TOS) => unsafe { *libc::CMSG_DATA(message) },
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
            // SAFETY: an IPV6_TCLASS message holds one int; the read makes no claim of alignment.
            let class: libc::c_int =
                unsafe { std::ptr::read_unaligned(libc::CMSG_DATA(message).cast()) };
            u8::try_from(class).unwrap_or(0)
        }
        _ => 0,
    }
}

/// Control data that asks for a traffic class: one message with one int, in `cmsghdr`'s layout.
#[repr(C)]
struct ClassMessage {
    header: libc::cmsghdr,
    class: libc::c_int,
    /// Up to the alignment of the next message, which there is none.
    _padding: libc::c_int,
}

impl ClassMessage {
    /// For a datagram to `to`.
    fn new(to: &SocketAddr, class: u8) -> Self {
        // SAFETY: cmsghdr is plain data for which all zeroes is a valid value.
        let mut header: libc::cmsghdr = unsafe { zeroed() };
        // SAFETY: CMSG_LEN only computes.
        header.cmsg_len = unsafe { libc::CMSG_LEN(INT) } as _;
        (header.cmsg_level, header.cmsg_type) = match to {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
        };
        Self {
            header,
            class: class.into(),
            _padding: 0,
        }
    }
}

/// Length of an int.
#[expect(clippy::cast_possible_truncation, reason = "4")]
const INT: libc::c_uint = size_of::<libc::c_int>() as libc::c_uint;

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

/// Sends `items` in order, each frame behind `prefix` and to its address where it has one, in an
/// IP header of the traffic class that it asks for.
/// A frame the kernel refuses is told to `ended` with the reason, and the next one tried; one
/// that it takes is told without.
pub(super) fn send<T>(
    fd: BorrowedFd<'_>,
    prefix: Option<&[u8; VNET_HEADER]>,
    items: &[T],
    view: impl Fn(&T) -> (&Frame, Option<SocketAddr>),
    mut ended: impl FnMut(&T, Option<Loss>),
) {
    for items in items.chunks(BATCH) {
        // SAFETY: as in `receive`.
        let mut vectors: [[libc::iovec; 2]; BATCH] = unsafe { zeroed() };
        // SAFETY: as in `receive`.
        let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        let mut names = [const { None::<socket2::SockAddr> }; BATCH];
        let mut classes = [const { None::<ClassMessage> }; BATCH];
        for (i, item) in items.iter().enumerate() {
            let (frame, to) = view(item);
            let bytes = frame.bytes();
            let data = libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            };
            let header = &mut messages[i].msg_hdr;
            header.msg_iov = vectors[i].as_mut_ptr();
            if let Some(prefix) = prefix {
                let base = prefix.as_ptr().cast_mut().cast();
                vectors[i] = [
                    libc::iovec {
                        iov_base: base,
                        iov_len: VNET_HEADER,
                    },
                    data,
                ];
                header.msg_iovlen = 2;
            } else {
                vectors[i][0] = data;
                header.msg_iovlen = 1;
            }
            if let Some(to) = to {
                if frame.offload.outer_class != 0 {
                    let class =
                        classes[i].insert(ClassMessage::new(&to, frame.offload.outer_class));
                    header.msg_control = std::ptr::from_mut(class).cast();
                    // SAFETY: CMSG_SPACE only computes.
                    header.msg_controllen = unsafe { libc::CMSG_SPACE(INT) } as _;
                }
                let name = names[i].insert(to.into());
                header.msg_name = name.as_ptr().cast_mut().cast();
                header.msg_namelen = name.len();
            }
        }
        let mut done = 0;
        let mut retried = false;
        while done < items.len() {
            // SAFETY: headers `done..` point into `vectors`, `names`, `classes`, `prefix` and the frames,
            // all of which stay where they are until after the call; sending only reads them.
            let count = unsafe {
                libc::syscall(
                    libc::SYS_sendmmsg,
                    fd.as_raw_fd(),
                    messages.as_mut_ptr().add(done),
                    items.len() - done,
                    libc::MSG_DONTWAIT,
                )
            };
            let error = match usize::try_from(count) {
                Ok(count) if count > 0 => {
                    items
                        .iter()
                        .skip(done)
                        .take(count)
                        .for_each(|item| ended(item, None));
                    done += count;
                    continue;
                }
                _ => io::Error::last_os_error(),
            };
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // The answer to a datagram sent before; reading it cleared it.
                Some(libc::ECONNREFUSED) if !retried => retried = true,
                _ => {
                    if let Some(item) = items.get(done) {
                        ended(item, Some(Loss::of(&error)));
                    }
                    done += 1;
                }
            }
        }
    }
}
