//! Big-endian numbers in a slice, `None` where it is too short.

pub(super) fn get16(bytes: &[u8], place: usize) -> Option<u16> {
    let octets = bytes.get(place..place.checked_add(2)?)?;
    octets.try_into().ok().map(u16::from_be_bytes)
}

pub(super) fn put16(bytes: &mut [u8], place: usize, value: u16) -> Option<()> {
    bytes
        .get_mut(place..place.checked_add(2)?)?
        .copy_from_slice(&value.to_be_bytes());
    Some(())
}

pub(super) fn get32(bytes: &[u8], place: usize) -> Option<u32> {
    let octets = bytes.get(place..place.checked_add(4)?)?;
    octets.try_into().ok().map(u32::from_be_bytes)
}

pub(super) fn put32(bytes: &mut [u8], place: usize, value: u32) -> Option<()> {
    bytes
        .get_mut(place..place.checked_add(4)?)?
        .copy_from_slice(&value.to_be_bytes());
    Some(())
}
