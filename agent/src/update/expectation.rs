//! What is expected of a version on trial: what its predecessor had. A box that had no engine before
//! an update need have none behind it.

use serde::{Deserialize, Serialize};

/// What there was. Handed to the version on trial, which may be of another age: unknown fields are
/// ignored, missing ones expect nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Expectation {
    /// A connection to the broker.
    pub broker: bool,
    /// An engine that answers.
    pub engine: bool,
    /// A forwarder that answers.
    pub forwarder: bool,
    /// Generation of the document that was taken up.
    pub spec_generation: u64,
    /// Generation of the tables that were in force.
    pub forwarder_generation: u64,
}

impl Expectation {
    /// What is still missing in `there`, for people; empty when nothing is.
    pub fn missing(&self, there: &Self) -> String {
        let found = [
            (self.broker && !there.broker, "the broker"),
            (self.engine && !there.engine, "the Docker engine"),
            (self.forwarder && !there.forwarder, "the forwarder"),
            (
                self.spec_generation > there.spec_generation,
                "the box's document to be taken up",
            ),
            (
                self.forwarder_generation > there.forwarder_generation,
                "the forwarder's tables to be in force",
            ),
        ];
        let missing = found.iter().filter(|(missing, _)| *missing);
        missing
            .map(|(_, what)| *what)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_there_is_expected_and_all_of_it() {
        let all = Expectation {
            broker: true,
            engine: true,
            forwarder: true,
            spec_generation: 7,
            forwarder_generation: 6,
        };
        let none = Expectation::default();
        assert_eq!(none.missing(&all), "");
        assert_eq!(none.missing(&none), "");
        assert_eq!(all.missing(&all), "");
        assert_eq!(all.missing(&none).split(", ").count(), 5);
        let newer = Expectation {
            spec_generation: 8,
            forwarder_generation: 8,
            engine: false,
            ..all
        };
        assert_eq!(all.missing(&newer), "the Docker engine");
    }

    #[test]
    fn it_is_read_by_older_and_newer_versions() {
        let read = |text| serde_json::from_str::<Expectation>(text).unwrap();
        let engine = Expectation {
            engine: true,
            ..Expectation::default()
        };
        assert_eq!(read(r#"{"engine":true,"moon":"full"}"#), engine);
    }
}
