//! The words for kinds of things, and the nearest right one for a wrong one.

use std::fmt;
use std::str::FromStr;

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Boxes.
    Nodes,
    /// Service functions.
    Functions,
    /// Chains.
    Chains,
    /// Services.
    Services,
    /// Placed containers.
    Instances,
    /// Rendered service paths.
    Paths,
    /// Values that only containers see.
    Secrets,
    /// Resources made from one template.
    Stacks,
    /// What is watched for.
    Alarms,
    /// History.
    Events,
}

const WORDS: [(Kind, &[&str]); 10] = [
    (Kind::Nodes, &["nodes", "node", "no"]),
    (
        Kind::Functions,
        &[
            "functions",
            "function",
            "sf",
            "sfs",
            "servicefunction",
            "servicefunctions",
        ],
    ),
    (Kind::Chains, &["chains", "chain", "ch"]),
    (Kind::Services, &["services", "service", "svc"]),
    (
        Kind::Instances,
        &["instances", "instance", "containers", "container", "in"],
    ),
    (Kind::Paths, &["paths", "path", "rsp"]),
    (Kind::Secrets, &["secrets", "secret"]),
    (Kind::Stacks, &["stacks", "stack", "st"]),
    (Kind::Alarms, &["alarms", "alarm", "al"]),
    (Kind::Events, &["events", "event", "ev"]),
];

impl Kind {
    /// The plural, which is also the route's name.
    pub fn plural(self) -> &'static str {
        self.words().first().copied().unwrap_or("")
    }

    /// The singular.
    pub fn singular(self) -> &'static str {
        self.words().get(1).copied().unwrap_or("")
    }

    /// The manifest's kind, for what a manifest can describe.
    pub fn manifest(self) -> Option<&'static str> {
        match self {
            Self::Nodes => Some("Node"),
            Self::Functions => Some("ServiceFunction"),
            Self::Chains => Some("Chain"),
            Self::Services => Some("Service"),
            Self::Secrets => Some("Secret"),
            Self::Stacks => Some("Stack"),
            Self::Instances | Self::Paths | Self::Alarms | Self::Events => None,
        }
    }

    fn words(self) -> &'static [&'static str] {
        WORDS
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or(&[], |(_, words)| words)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.plural())
    }
}

/// A word for no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no kind {word:?}{} Kinds are {}", nearest.map_or_else(|| ".".to_owned(), |n| format!(": did you mean {n}?")), all())]
pub struct KindError {
    word: String,
    nearest: Option<&'static str>,
}

fn all() -> String {
    WORDS
        .iter()
        .map(|(kind, _)| kind.plural())
        .collect::<Vec<_>>()
        .join(", ")
}

impl FromStr for Kind {
    type Err = KindError;
    fn from_str(word: &str) -> Result<Self, KindError> {
        let lower = word.to_lowercase();
        WORDS
            .iter()
            .find(|(_, words)| words.contains(&lower.as_str()))
            .map(|(kind, _)| *kind)
            .ok_or_else(|| KindError {
                word: word.to_owned(),
                nearest: nearest(&lower, WORDS.iter().flat_map(|(_, words)| *words).copied()),
            })
    }
}

/// The candidate that needs the fewest corrections, when a typo explains them.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (word.chars().count() / 2).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_a_plural_a_singular_and_a_short_word() {
        for (word, kind) in [
            ("nodes", Kind::Nodes),
            ("node", Kind::Nodes),
            ("no", Kind::Nodes),
            ("sf", Kind::Functions),
            ("ServiceFunction", Kind::Functions),
            ("svc", Kind::Services),
        ] {
            assert_eq!(word.parse(), Ok(kind), "{word}");
        }
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_kind() {
        for (word, right) in [
            ("nods", "nodes"),
            ("chians", "chains"),
            ("servces", "services"),
        ] {
            let error = word.parse::<Kind>().unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean {right}?")), "{error}");
        }
        let error = "xyzzyplugh".parse::<Kind>().unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
        assert!(error.contains("Kinds are nodes, functions"), "{error}");
    }
}
