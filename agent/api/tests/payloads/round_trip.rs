//! What is written is read back, by this version and by the next.

use super::strategies as any;
use kc_agent_api::{Payload, Topic, decode, encode};
use proptest::prelude::*;
use std::fmt::Debug;

fn survives<P: Payload + PartialEq + Debug>(payload: &P) -> Result<(), TestCaseError> {
    let bytes = encode(payload).unwrap();
    let versioned = bytes.starts_with(br#"{"v":1,"#);
    prop_assert!(versioned);
    prop_assert_eq!(&decode::<P>(&bytes).unwrap(), payload);
    prop_assert_eq!(&encode(&decode::<P>(&bytes).unwrap()).unwrap(), &bytes);
    // A later version may say more.
    let mut newer = bytes.clone();
    newer.truncate(bytes.len() - 1);
    newer.extend_from_slice(br#","a-later-thing":{"deep":[1,null,"x"]}}"#);
    prop_assert_eq!(&decode::<P>(&newer).unwrap(), payload);
    // A line lost on the way is an error, never half a payload.
    for length in [0, bytes.len() / 2, bytes.len() - 1] {
        prop_assert!(decode::<P>(&bytes[..length]).is_err());
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_document_survives(spec in any::spec()) {
        survives(&spec)?;
    }

    #[test]
    fn a_state_survives(state in any::state()) {
        survives(&state)?;
    }

    #[test]
    fn a_status_survives(status in any::status()) {
        survives(&status)?;
    }

    #[test]
    fn a_load_report_survives(load in any::load()) {
        survives(&load)?;
    }

    #[test]
    fn a_tunnel_report_survives(tunnels in any::tunnels()) {
        survives(&tunnels)?;
    }

    #[test]
    fn an_event_survives(event in any::event()) {
        survives(&event)?;
    }

    #[test]
    fn an_acknowledgement_survives(ack in any::ack()) {
        survives(&ack)?;
    }

    #[test]
    fn a_controllers_status_survives(status in any::controller_status()) {
        survives(&status)?;
    }

    #[test]
    fn a_call_survives(call in any::call()) {
        survives(&call)?;
    }

    #[test]
    fn a_reply_survives(reply in any::reply()) {
        survives(&reply)?;
    }

    #[test]
    fn a_topic_survives_and_is_no_wildcard(domain in any::domain(), topic in any::topic()) {
        let name = topic.name(&domain);
        prop_assert!(!name.contains(['+', '#', '\0']));
        prop_assert_eq!(Topic::parse(&name).unwrap(), (domain, topic));
    }
}
