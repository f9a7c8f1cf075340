//! Documents as bytes: what was published, what differs now, what is to be cleared.

use crate::plan::Documents;
use kc_agent_api::{NodeName, PayloadError, encode};
use std::collections::BTreeMap;

/// Published documents; `None` where the retained one was cleared.
pub(super) type Published = BTreeMap<NodeName, Option<Vec<u8>>>;

/// Documents to publish, and nodes to clear.
pub(super) type Differences = Vec<(NodeName, Option<Vec<u8>>)>;

/// What differs between what was published and what is wanted. What is the same as `before`, whose
/// differences were told, is not looked at.
pub(super) fn difference(
    published: &Published,
    before: &Documents,
    wanted: &Documents,
) -> Result<Differences, PayloadError> {
    let mut changes = Vec::new();
    for (node, spec) in wanted {
        if before.get(node).is_some_and(|before| before.is(spec)) {
            continue;
        }
        let bytes = Some(encode(&**spec)?);
        if published.get(node) != Some(&bytes) {
            changes.push((node.clone(), bytes));
        }
    }
    for (node, bytes) in published {
        if bytes.is_some() && !wanted.contains_key(node) {
            changes.push((node.clone(), None));
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Shared;
    use kc_agent_api::NodeSpec;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn spec(generation: u64) -> Shared<NodeSpec> {
        let document = NodeSpec {
            generation,
            ..NodeSpec::default()
        };
        document.into()
    }

    #[test]
    fn only_what_differs_is_published_and_a_node_that_went_is_cleared_once() {
        let none = Documents::new();
        let first = BTreeMap::from([(name("a"), spec(1)), (name("b"), spec(2))]);
        let mut published = Published::new();
        for (node, bytes) in difference(&published, &none, &first).unwrap() {
            published.insert(node, bytes);
        }
        assert_eq!(published.len(), 2);
        assert_eq!(difference(&published, &none, &first).unwrap(), []);
        assert_eq!(difference(&published, &first, &first).unwrap(), []);

        let wanted = BTreeMap::from([(name("a"), spec(3))]);
        let changes = difference(&published, &first, &wanted).unwrap();
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[1], (name("b"), None));
        for (node, bytes) in changes {
            published.insert(node, bytes);
        }
        assert_eq!(difference(&published, &none, &wanted).unwrap(), []);
    }
}
