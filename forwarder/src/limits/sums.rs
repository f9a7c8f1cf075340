//! Checksums of headers that were changed.

use crate::wire::{checksum, ipv4};

/// Computes the checksum of an IPv4 header, options included.
pub(crate) fn finish_ipv4(header: &mut [u8]) -> Option<()> {
    let length = usize::from(header.first()? & 0x0f) * 4;
    let header = header
        .get_mut(..length)
        .filter(|header| header.len() >= ipv4::HEADER_LEN)?;
    header.get_mut(10..12)?.fill(0);
    let sum = !checksum::fold(checksum::sum(header));
    header.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}
