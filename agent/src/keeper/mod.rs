//! The loop between what decides and what acts: takes documents up, looks at the box, asks
//! [`crate::reconcile`] what to do, runs the steps beside each other, and publishes what it sees.
//!
//! It knows no MQTT: documents come in and reports go out by channels. Ending the loop leaves
//! containers and forwarder as they are.

mod health;
mod images;
mod run;
mod steps;
mod takeup;
mod trial;
mod view;
mod words;

pub use run::{Inputs, Keeper, Outputs};
pub use view::{Happened, View};

/// An error and everything beneath it, in one line for people.
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
