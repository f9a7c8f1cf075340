//! Any text as the tables a person wrote: taken, or refused with a place.
#![no_main]

use kc_forwarder::config;
use kc_forwarder::pipeline::Compiled;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    let path = Path::new("tables.toml");
    match config::parse(path, text) {
        Ok(tables) => {
            Compiled::new(tables).expect("parsed tables are sound");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
