//! Whatever arrives over MQTT is refused or read; what is read is written again and read alike.
#![no_main]

use kc_agent_api::{
    Call, ControllerStatus, Event, EventAck, LoadReport, NodeSpec, NodeState, NodeStatus, Payload,
    Reply, TunnelReport, decode, encode,
};
use libfuzzer_sys::fuzz_target;
use std::fmt::Debug;

fn again<P: Payload + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(payload) = decode::<P>(bytes) {
        let written = encode(&payload).expect("what was read can be written");
        let read: P = decode(&written).expect("what was written can be read");
        assert_eq!(read, payload);
    }
}

fuzz_target!(|bytes: &[u8]| {
    again::<NodeSpec>(bytes);
    again::<NodeState>(bytes);
    again::<NodeStatus>(bytes);
    again::<LoadReport>(bytes);
    again::<TunnelReport>(bytes);
    again::<Event>(bytes);
    again::<EventAck>(bytes);
    again::<ControllerStatus>(bytes);
    again::<Call>(bytes);
    again::<Reply>(bytes);
});
