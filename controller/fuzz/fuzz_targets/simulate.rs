//! Whatever a topology file holds is refused with a place in it, or every scheduler answers.
//! Seeds: `controller/examples/simulate`.
#![no_main]

use kc_controller::simulate::simulate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(simulation) = simulate("fuzz.yaml", text) {
        for run in simulation.runs {
            assert_eq!(run.path.is_empty(), run.error.is_some());
        }
    }
});
