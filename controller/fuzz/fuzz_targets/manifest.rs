//! Whatever a file holds is refused with a place in it, or read; what is read is written again
//! and read alike. Seeds: `controller/examples`.
#![no_main]

use kc_controller::manifest::{Context, Source, load};
use libfuzzer_sys::fuzz_target;
use std::collections::{BTreeMap, BTreeSet};

fuzz_target!(|bytes: &[u8]| {
    let context = Context {
        resources: &BTreeMap::new(),
        nodes: &BTreeSet::new(),
    };
    let Ok(source) = Source::new("fuzz.yaml", bytes) else {
        return;
    };
    match load(&[source], context) {
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                let lines = source.text.lines().count();
                assert!(usize::try_from(error.line).expect("a line number") <= lines + 1);
            }
        }
        Ok(loaded) => {
            let mut text = String::new();
            for resource in &loaded.resources {
                text.push_str("---\n");
                text.push_str(&serde_saphyr::to_string(resource).expect("what was read can be written"));
                text.push('\n');
            }
            let again = Source::new("again.yaml", text.as_bytes()).expect("it is text");
            let again = load(&[again], context).expect("what was written can be read");
            assert_eq!(again.resources, loaded.resources);
        }
    }
});
