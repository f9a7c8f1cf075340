//! Whatever comes over an upgraded connection is refused or read, however it is cut; what is read is
//! written again in the same octets, but for words that were no text.
#![no_main]

use kc_controller::frame::{Frame, Frames};
use libfuzzer_sys::fuzz_target;

fn read(pieces: impl Iterator<Item = impl AsRef<[u8]>>) -> (Vec<Frame>, bool) {
    let (mut reader, mut heard) = (Frames::default(), Vec::new());
    for piece in pieces {
        reader.push(piece.as_ref());
        loop {
            match reader.take() {
                Ok(Some(frame)) => heard.push(frame),
                Ok(None) => break,
                Err(_) => return (heard, false),
            }
        }
    }
    (heard, true)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, wire)) = bytes.split_first() else {
        return;
    };
    let (whole, good) = read([wire].into_iter());
    let pieces = wire.chunks(usize::from(*cut).max(1));
    assert_eq!(read(pieces), (whole.clone(), good));
    let written: Vec<u8> = whole.iter().flat_map(Frame::encode).collect();
    assert_eq!(read([written].into_iter()), (whole, true));
});
