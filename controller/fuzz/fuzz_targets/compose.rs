//! Whatever a Compose file holds is refused with a place in it, or translated to manifests that
//! are read alike. Seeds: `controller/examples/compose`.
#![no_main]

use kc_controller::manifest::compose::{Surroundings, is_compose, translate, variables};
use kc_controller::manifest::{Context, Source, load};
use libfuzzer_sys::fuzz_target;
use std::collections::{BTreeMap, BTreeSet};

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = Source::new("fuzz.yaml", bytes) else {
        return;
    };
    is_compose(source.text);
    let none = BTreeMap::new();
    let read = variables(".env", source.text, &none);
    let around = Surroundings {
        project: Some("lab"),
        directory: "lab",
        variables: read.as_ref().unwrap_or(&none),
        profiles: &[],
        read: &|path| Ok(format!("PATH={path}\n")),
    };
    match translate(source, around) {
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                let lines = source.text.lines().count();
                assert!(usize::try_from(error.line).expect("a line number") <= lines + 1);
            }
        }
        Ok(made) => {
            let context = Context {
                resources: &BTreeMap::new(),
                nodes: &BTreeSet::new(),
            };
            let again = Source::new("again.yaml", made.text.as_bytes()).expect("it is text");
            let again = load(&[again], context).expect("what was translated can be read");
            assert!(again.resources.iter().eq(made.resources()));
        }
    }
});
