//! Any text as the tables a person wrote, and as those of a program: taken, or refused with a
//! place in the text.
#![no_main]

use kc_forwarder::config::{self, ConfigError};
use kc_forwarder::pipeline::Compiled;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    for name in ["tables.toml", "tables.json"] {
        match config::parse(Path::new(name), text) {
            Ok(tables) => {
                Compiled::new(tables.clone()).expect("parsed tables are sound");
                // What a forwarder tells of its tables is what was put in force.
                let json = serde_json::to_string(&tables).expect("our own types have a JSON form");
                let again = config::parse(Path::new("again.json"), &json);
                assert_eq!(again.expect("what we write we read"), tables);
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                let (ConfigError::Toml { at, .. }
                | ConfigError::Json { at, .. }
                | ConfigError::Tables { at, .. }) = error
                else {
                    panic!("{error}")
                };
                if let Some(place) = at.place {
                    assert!(place.line <= text.lines().count() + 1, "{place:?}");
                    // Not `lines`: the octet in front of a newline may be a carriage return.
                    let longest = text.split('\n').map(str::len).max().unwrap_or(0);
                    assert!(place.column <= longest + 1, "{place:?}");
                }
            }
        }
    }
});
