//! A topic is ours or foreign; ours survives being written.
#![no_main]

use kc_agent_api::Topic;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &str| {
    if let Ok((domain, topic)) = Topic::parse(name) {
        let written = topic.name(&domain);
        assert_eq!(Topic::parse(&written), Ok((domain, topic)));
    }
});
