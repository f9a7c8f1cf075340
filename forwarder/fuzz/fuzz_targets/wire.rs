//! Any octets through every header there is.
#![no_main]

#[path = "../../tests/frames/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod frames;

use kc_forwarder::wire::checksum;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    frames::feed(data);
    let _ = checksum::state(data);
    let mut copy = data.to_vec();
    if checksum::finish(&mut copy) {
        assert_eq!(checksum::state(&copy), checksum::State::Complete);
    }
});
