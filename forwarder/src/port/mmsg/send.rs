//! Sending: a message a frame, or a message a run of datagrams of one length to one receiver,
//! which the kernel or the interface cuts again (UDP_SEGMENT).
#![expect(unsafe_code, reason = "message headers hold raw pointers")]

use super::BATCH;
use super::control::Control;
use crate::frame::Frame;
use crate::port::Loss;
use crate::port::offload::VNET_HEADER;
use std::io;
use std::mem::zeroed;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams in one run: the kernel's UDP_MAX_SEGMENTS of old.
const RUN: usize = 64;

/// Octets in one run: what one IP packet carries, and not quite.
const RUN_OCTETS: usize = 65_000;

/// Pieces of memory in one call, of which a message has at most [`RUN`].
const VECTORS: usize = 8 * RUN;

/// Whether datagrams leave in runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::port) enum Joining {
    /// Each by itself.
    Never,
    /// Those of one length to one receiver together.
    Runs,
}

/// How many of `items`, from the first one on, are a run, and the length of its datagrams. The
/// last one may be shorter. Items without a receiver are no datagrams.
fn run<'a, T: 'a>(
    items: &'a [T],
    view: &impl Fn(&T) -> (&Frame, Option<SocketAddr>),
) -> (usize, usize) {
    let Some((first, Some(to))) = items.first().map(view) else {
        return (1, 0);
    };
    let length = first.len();
    let (mut count, mut octets) = (1, length);
    for item in items.iter().take(RUN).skip(1) {
        let (frame, other) = view(item);
        let same = other == Some(to) && frame.offload.outer_class == first.offload.outer_class;
        if !same || frame.is_empty() || frame.len() > length || octets + frame.len() > RUN_OCTETS {
            break;
        }
        count += 1;
        octets += frame.len();
        if frame.len() < length {
            break;
        }
    }
    (count, length)
}

/// Sends `items` in order, each frame behind `prefix` and to its address where it has one, in an
/// IP header of the traffic class that it asks for.
/// A frame the kernel refuses is told to `ended` with the reason, and the next one tried; one
/// that it takes is told without. What cannot be sent as a run is sent one by one; says whether
/// the kernel knows no runs at all.
pub(in crate::port) fn send<T>(
    fd: BorrowedFd<'_>,
    prefix: Option<&[u8; VNET_HEADER]>,
    joining: Joining,
    items: &[T],
    view: impl Fn(&T) -> (&Frame, Option<SocketAddr>),
    mut ended: impl FnMut(&T, Option<Loss>),
) -> bool {
    let mut unknown = false;
    let mut rest = items;
    while !rest.is_empty() {
        let joining = if unknown { Joining::Never } else { joining };
        let (now, later) = rest.split_at(call(
            fd,
            prefix,
            joining,
            rest,
            &view,
            &mut ended,
            &mut unknown,
        ));
        debug_assert!(!now.is_empty(), "every call gets on");
        rest = later;
    }
    unknown
}

/// One system call's worth of `items`, and as many more calls as it takes to have each of these
/// taken or refused. Says how many that was.
fn call<T>(
    fd: BorrowedFd<'_>,
    prefix: Option<&[u8; VNET_HEADER]>,
    joining: Joining,
    items: &[T],
    view: &impl Fn(&T) -> (&Frame, Option<SocketAddr>),
    ended: &mut impl FnMut(&T, Option<Loss>),
    unknown: &mut bool,
) -> usize {
    // SAFETY: iovec and mmsghdr are plain data for which all zeroes (null pointers, lengths of 0)
    // are valid values.
    let mut vectors: [libc::iovec; VECTORS] = unsafe { zeroed() };
    // SAFETY: as above.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
    let mut names = [const { None::<socket2::SockAddr> }; BATCH];
    let mut controls = [Control::default(); BATCH];
    // How many items are in the messages so far, by message.
    let mut ends = [0; BATCH];
    let (mut count, mut taken, mut used) = (0, 0, 0);
    while count < BATCH && taken < items.len() && used + RUN < VECTORS {
        let (joined, length) = match joining {
            Joining::Runs => run(&items[taken..], view),
            Joining::Never => (1, 0),
        };
        let begin = used;
        for part in prefix.map(|prefix| prefix.as_slice()).into_iter().chain(
            items[taken..taken + joined]
                .iter()
                .map(|item| view(item).0.bytes()),
        ) {
            vectors[used] = libc::iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            };
            used += 1;
        }
        let header = &mut messages[count].msg_hdr;
        header.msg_iov = vectors[begin..].as_mut_ptr();
        header.msg_iovlen = (used - begin) as _;
        let (frame, to) = view(&items[taken]);
        if let Some(to) = to {
            let run = u16::try_from(length).ok().filter(|_| joined > 1);
            controls[count].ask(header, &to, frame.offload.outer_class, run);
            let name = names[count].insert(to.into());
            header.msg_name = name.as_ptr().cast_mut().cast();
            header.msg_namelen = name.len();
        }
        taken += joined;
        ends[count] = taken;
        count += 1;
    }
    let mut done = 0;
    let mut retried = false;
    while done < count {
        // SAFETY: headers `done..count` point into `vectors`, `names`, `controls`, `prefix` and
        // the frames, all of which stay where they are until after the call; sending only reads
        // them.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_sendmmsg,
                fd.as_raw_fd(),
                messages.as_mut_ptr().add(done),
                count - done,
                libc::MSG_DONTWAIT,
            )
        };
        let begin = done.checked_sub(1).map_or(0, |former| ends[former]);
        let error = match usize::try_from(sent) {
            Ok(sent) if sent > 0 => {
                done += sent;
                let gone = &items[begin..ends[done - 1]];
                gone.iter().for_each(|item| ended(item, None));
                continue;
            }
            _ => io::Error::last_os_error(),
        };
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            // The answer to a datagram sent before; reading it cleared it.
            Some(libc::ECONNREFUSED) if !retried => retried = true,
            _ if ends[done] - begin > 1 => {
                let run = &items[begin..ends[done]];
                *unknown |= is_unknown(&error);
                call_each(fd, run, view, ended);
                done += 1;
            }
            _ => {
                ended(&items[begin], Some(Loss::of(&error)));
                done += 1;
            }
        }
    }
    taken
}

/// A run that was refused, one by one: each datagram has an answer of its own.
fn call_each<T>(
    fd: BorrowedFd<'_>,
    items: &[T],
    view: &impl Fn(&T) -> (&Frame, Option<SocketAddr>),
    ended: &mut impl FnMut(&T, Option<Loss>),
) {
    let mut rest = items;
    while !rest.is_empty() {
        let done = call(fd, None, Joining::Never, rest, view, ended, &mut false);
        rest = &rest[done..];
    }
}

/// Whether `error` says that the kernel, or the interface, knows no runs. A datagram that is too
/// long is EMSGSIZE, and EINVAL where kernels are old; so EINVAL says nothing for certain.
fn is_unknown(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EIO | libc::ENOPROTOOPT | libc::EOPNOTSUPP)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagrams(lengths: &[usize]) -> Vec<(Frame, Option<SocketAddr>)> {
        let to = SocketAddr::from(([192, 0, 2, 1], 4790));
        let frame = |&length: &usize| (Frame::copy_of(&vec![0; length]), Some(to));
        lengths.iter().map(frame).collect()
    }

    fn view(item: &(Frame, Option<SocketAddr>)) -> (&Frame, Option<SocketAddr>) {
        (&item.0, item.1)
    }

    #[test]
    fn a_run_is_of_one_length_and_only_its_last_is_shorter() {
        let run = |lengths: &[usize]| run(&datagrams(lengths), &view);
        assert_eq!(run(&[100, 100, 100]), (3, 100));
        assert_eq!(run(&[100, 100, 40, 100]), (3, 100));
        assert_eq!(run(&[100, 101, 100]), (1, 100));
        assert_eq!(
            run(&[100, 0, 100]),
            (1, 100),
            "nothing is no datagram of a run"
        );
    }

    #[test]
    fn a_run_fits_one_packet_and_has_no_more_datagrams_than_the_kernel_takes() {
        assert_eq!(run(&datagrams(&[100; 200]), &view), (RUN, 100));
        let (count, length) = run(&datagrams(&[9000; 64]), &view);
        assert_eq!((count, length), (7, 9000));
    }

    #[test]
    fn receivers_and_classes_are_not_mixed() {
        let mut items = datagrams(&[100; 4]);
        items[2].1 = Some(([192, 0, 2, 2], 4790).into());
        assert_eq!(run(&items, &view), (2, 100));
        items[1].0.offload.outer_class = 3;
        assert_eq!(run(&items, &view), (1, 100));
        items[0].1 = None;
        assert_eq!(run(&items, &view), (1, 0), "a frame for an interface");
    }
}
