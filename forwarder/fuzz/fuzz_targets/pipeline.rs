//! Steps of a forwarder's life under tables of our own writing: frames by any way in, time that
//! passes, links and tables that change, echoes, a guest, a capture. `tests/pipeline/steps` says
//! what octets mean and what is judged after each step.
#![no_main]

#[path = "../../tests/pipeline/steps/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod steps;

use libfuzzer_sys::fuzz_target;
use steps::{Subject, built_in};

fuzz_target!(|data: &[u8]| {
    Subject::new(&built_in(0)).run(data, &mut |number, _| built_in(number));
});
