//! Any octets as a line on the control socket, and as a line of an answer.
#![no_main]

use kc_forwarder::pipeline::Compiled;
use kc_forwarder_api::{Request, Response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        let text = serde_json::to_vec(&request).expect("our own types have a JSON form");
        let again: Request = serde_json::from_slice(&text).expect("what we write we read");
        assert_eq!(again, request);
        match request {
            Request::Apply { tables } | Request::Check { tables } => {
                if let Err(error) = Compiled::new(*tables) {
                    assert!(!error.to_string().is_empty());
                }
            }
            Request::Probe { probe } => drop(probe.longest_ms()),
            Request::Capture { capture } => drop(capture.check()),
            _ => {}
        }
    }
    if let Ok(response) = serde_json::from_slice::<Response>(data) {
        let text = serde_json::to_vec(&response).expect("our own types have a JSON form");
        let again: Response = serde_json::from_slice(&text).expect("what we write we read");
        assert_eq!(again, response);
    }
});
