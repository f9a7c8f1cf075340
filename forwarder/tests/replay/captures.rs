//! Reads capture files: classic pcap, in either byte order.

/// Ethernet frames of a capture file, which must be whole. The file has a header of 24 octets, and
/// 16 before each frame, of which the third word is its length here and the fourth that on the wire.
pub(crate) fn frames(file: &[u8]) -> Vec<Vec<u8>> {
    let read = match file[..4] {
        [0xd4, 0xc3, 0xb2, 0xa1] => u32::from_le_bytes,
        [0xa1, 0xb2, 0xc3, 0xd4] => u32::from_be_bytes,
        ref other => panic!("{other:02x?} begins no capture"),
    };
    assert_eq!(word(file, 20, read), 1, "Ethernet");
    let (mut rest, mut frames) = (&file[24..], Vec::new());
    while !rest.is_empty() {
        let length = word(rest, 8, read);
        assert_eq!(length, word(rest, 12, read), "a whole frame");
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    frames
}

fn word(octets: &[u8], at: usize, read: fn([u8; 4]) -> u32) -> usize {
    usize::try_from(read(octets[at..at + 4].try_into().unwrap())).unwrap()
}

/// Frames as such a file, words written by `write`.
fn written(frames: &[Vec<u8>], write: fn(u32) -> [u8; 4]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65_535, 1] {
        file.extend(write(word));
    }
    for frame in frames {
        let length = u32::try_from(frame.len()).unwrap();
        for word in [7, 8, length, length] {
            file.extend(write(word));
        }
        file.extend(frame);
    }
    file
}

#[test]
fn both_byte_orders_are_read_alike() {
    for (_, file) in crate::FILES {
        let frames = frames(file);
        assert_eq!(self::frames(&written(&frames, u32::to_le_bytes)), frames);
        assert_eq!(self::frames(&written(&frames, u32::to_be_bytes)), frames);
    }
}
