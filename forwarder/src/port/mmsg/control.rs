//! Control data: what the kernel says beside a datagram, and is asked for beside one.
#![expect(unsafe_code, reason = "control messages are read and written in place")]

use std::mem::{size_of, zeroed};
use std::net::SocketAddr;

/// Datagrams are made of a message, of so many octets each (linux/udp.h).
pub(in crate::port) const UDP_SEGMENT: libc::c_int = 103;

/// Datagrams are joined in a message, of so many octets each (linux/udp.h).
pub(in crate::port) const UDP_GRO: libc::c_int = 104;

/// Octets of control data: two messages of one int, or one `tpacket_auxdata`.
const LENGTH: usize = 64;

/// Room for control data, aligned as `cmsghdr` is.
#[derive(Debug, Clone, Copy)]
#[repr(align(16))]
pub(super) struct Control([u8; LENGTH]);

impl Default for Control {
    fn default() -> Self {
        Self([0; LENGTH])
    }
}

impl Control {
    /// Lets `header` write here.
    pub(super) fn lend(&mut self, header: &mut libc::msghdr) {
        header.msg_control = self.0.as_mut_ptr().cast();
        header.msg_controllen = LENGTH as _;
    }

    /// Asks for `class` in the IP header towards `to` where it is not zero, and for datagrams of
    /// `run` octets each to be made of a message where that is given. `header` points here then.
    pub(super) fn ask(
        &mut self,
        header: &mut libc::msghdr,
        to: &SocketAddr,
        class: u8,
        run: Option<u16>,
    ) {
        let mut used = 0;
        if class != 0 {
            let (level, kind) = match to {
                SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
                SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
            };
            let class = libc::c_int::from(class).to_ne_bytes();
            used += self.put(used, level, kind, &class);
        }
        if let Some(run) = run {
            let run = run.to_ne_bytes();
            used += self.put(used, libc::SOL_UDP, UDP_SEGMENT, &run);
        }
        if used > 0 {
            header.msg_control = self.0.as_mut_ptr().cast();
            header.msg_controllen = used as _;
        }
    }

    /// Writes one message at `at`, and says how much room it takes.
    fn put(&mut self, at: usize, level: libc::c_int, kind: libc::c_int, data: &[u8]) -> usize {
        // SAFETY: cmsghdr is plain data for which all zeroes is a valid value.
        let mut header: libc::cmsghdr = unsafe { zeroed() };
        #[expect(clippy::cast_possible_truncation, reason = "2 or 4")]
        let length = data.len() as libc::c_uint;
        // SAFETY: CMSG_LEN and CMSG_SPACE only compute.
        let (whole, space) = unsafe { (libc::CMSG_LEN(length), libc::CMSG_SPACE(length)) };
        header.cmsg_len = whole as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        let start = whole as usize - data.len();
        if let Some(room) = self.0.get_mut(at..at + space as usize) {
            // SAFETY: `room` has more octets than a cmsghdr, and the write claims no alignment.
            unsafe {
                room.as_mut_ptr()
                    .cast::<libc::cmsghdr>()
                    .write_unaligned(header)
            };
            room[start..start + data.len()].copy_from_slice(data);
        }
        space as usize
    }
}

/// The control messages of a received `header`.
fn messages(header: &libc::msghdr) -> impl Iterator<Item = &libc::cmsghdr> {
    // SAFETY: after a successful recvmmsg `msg_control` points to `msg_controllen` bytes of
    // control messages that the kernel wrote, in a buffer aligned for cmsghdr; null where there
    // are none.
    let first = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() };
    // SAFETY: as above; `former` is one of these messages.
    std::iter::successors(first, |former| unsafe {
        libc::CMSG_NXTHDR(header, *former).as_ref()
    })
}

/// The tag in the PACKET_AUXDATA of a received message: (TPID, TCI).
pub(super) fn tag(header: &libc::msghdr) -> Option<(u16, u16)> {
    let auxdata = |message: &&libc::cmsghdr| {
        (message.cmsg_level, message.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA)
    };
    let message = messages(header).find(auxdata)?;
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

/// The traffic class of a received datagram, zero where none was told, and the length of those
/// that were joined in it.
pub(super) fn class_and_length(header: &libc::msghdr) -> (u8, Option<usize>) {
    let (mut class, mut joined) = (0, None);
    for message in messages(header) {
        match (message.cmsg_level, message.cmsg_type) {
            // SAFETY: an IP_TOS message holds one octet.
            (libc::IPPROTO_IP, libc::IP_TOS) => class = unsafe { *libc::CMSG_DATA(message) },
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                class = u8::try_from(int(message)).unwrap_or(0);
            }
            (libc::SOL_UDP, UDP_GRO) => {
                joined = usize::try_from(int(message))
                    .ok()
                    .filter(|&length| length > 0);
            }
            _ => {}
        }
    }
    (class, joined)
}

/// The int that an IPV6_TCLASS or UDP_GRO message holds.
fn int(message: &libc::cmsghdr) -> libc::c_int {
    let mut octets = [0; size_of::<libc::c_int>()];
    // SAFETY: both kinds of messages hold one int, which is plain data.
    unsafe {
        std::ptr::copy_nonoverlapping(libc::CMSG_DATA(message), octets.as_mut_ptr(), octets.len());
    }
    libc::c_int::from_ne_bytes(octets)
}
