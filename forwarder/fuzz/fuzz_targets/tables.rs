//! Tables and steps both from the fuzzer. Tables are JSON up to the first zero octet, or of any
//! sound shape, drawn from a seed of two octets; so are those that steps put in force.
#![no_main]

#[path = "../../tests/pipeline/any_tables.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod any_tables;
#[path = "../../tests/pipeline/steps/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod steps;

use kc_forwarder::pipeline::Compiled;
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::collections::HashMap;
use steps::{Chosen, Subject, built_in};

/// Tables are kept, since it takes long to compile them.
const KEPT: usize = 256;

fn any(seed: u16) -> Chosen {
    thread_local! {
        static KNOWN: RefCell<HashMap<u16, Chosen>> = RefCell::default();
    }
    let make = || {
        let tables = any_tables::any_tables(seed.into());
        Chosen::new(Compiled::new(tables).expect("sound by construction"))
    };
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= KEPT {
            known.clear();
        }
        known.entry(seed).or_insert_with(make).clone()
    })
}

fuzz_target!(|data: &[u8]| {
    let (tables, steps) = match data {
        [b'{', ..] => {
            let end = data.iter().position(|octet| *octet == 0);
            let (text, steps) = data.split_at(end.unwrap_or(data.len()));
            let own = serde_json::from_slice(text).ok();
            let own = own.and_then(|tables| Compiled::new(tables).ok());
            let tables = own.map_or_else(|| built_in(0), Chosen::new);
            (tables, steps.get(1..).unwrap_or_default())
        }
        [a, b, steps @ ..] => (any(u16::from_be_bytes([*a, *b])), steps),
        _ => return,
    };
    let mut subject = Subject::new(&tables);
    subject.run(steps, &mut |a, b| match b {
        0xff => tables.clone(),
        _ => any(u16::from_be_bytes([a, b])),
    });
});
