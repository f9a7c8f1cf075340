//! Transport checksums that the sender's kernel left for hardware to finish: finished here,
//! before a function reads or changes the frame.

use kc_forwarder::frame::{Checksum, Frame};
use kc_forwarder::wire::checksum;
use kc_forwarder::wire::summary::Summary;

/// Completes the frame's transport checksum if somebody left it open; a wrong one stays wrong.
pub(super) fn finish(frame: &mut Frame) {
    match frame.offload.checksum {
        Checksum::Complete => return,
        Checksum::Partial { start, offset } => {
            complete(frame.bytes_mut(), usize::from(start), usize::from(offset));
        }
        Checksum::Unknown => {
            let summary = Summary::of(frame.bytes(), frame.offload.vlan);
            if let Some(ip) = frame.bytes_mut().get_mut(summary.l3..summary.l3_end) {
                checksum::finish(ip);
            }
        }
    }
    frame.offload.checksum = Checksum::Complete;
}

/// As the kernel's `skb_checksum_help`: the field holds the pseudo-header's sum already.
fn complete(bytes: &mut [u8], start: usize, offset: usize) -> Option<()> {
    let covered = bytes.get_mut(start..)?;
    let sum = match !checksum::fold(checksum::sum(covered)) {
        // RFC 768: zero means "no checksum", so it is sent as all ones.
        0 => 0xffff,
        sum => sum,
    };
    covered
        .get_mut(offset..offset + 2)?
        .copy_from_slice(&sum.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{open_checksum, udp};
    use kc_forwarder::wire::checksum::{State, state};

    #[test]
    fn an_open_checksum_is_finished_with_or_without_the_kernels_word() {
        for told in [true, false] {
            let mut frame = udp("10.0.0.1:1000", "10.0.0.2:53", b"payload");
            open_checksum(&mut frame);
            frame.offload.checksum = if told {
                Checksum::Partial {
                    start: 34,
                    offset: 6,
                }
            } else {
                Checksum::Unknown
            };
            assert_eq!(state(&frame.bytes()[14..]), State::Unfinished);
            finish(&mut frame);
            assert_eq!(state(&frame.bytes()[14..]), State::Complete);
        }
    }

    #[test]
    fn damage_is_passed_on_as_damage() {
        let mut frame = udp("10.0.0.1:1000", "10.0.0.2:53", b"payload");
        frame.bytes_mut()[45] ^= 1;
        finish(&mut frame);
        assert_eq!(state(&frame.bytes()[14..]), State::Wrong);
    }
}
