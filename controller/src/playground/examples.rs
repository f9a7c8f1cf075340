//! The example manifests: written for three boxes, fitted to as many as there are.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// File names and texts.
const FILES: [(&str, &str); 5] = [
    (
        "firewall.yaml",
        include_str!("../../examples/playground/firewall.yaml"),
    ),
    (
        "dpi.yaml",
        include_str!("../../examples/playground/dpi.yaml"),
    ),
    (
        "nat.yaml",
        include_str!("../../examples/playground/nat.yaml"),
    ),
    (
        "web.yaml",
        include_str!("../../examples/playground/web.yaml"),
    ),
    (
        "hello.yaml",
        include_str!("../../examples/playground/hello.yaml"),
    ),
];

/// The chain that requests are sent through.
pub(super) const CHAIN: &str = "web";

/// The file that holds the chain; it is applied when its functions run.
pub(super) const CHAIN_FILE: &str = "web.yaml";

/// Writes the manifests for `boxes` boxes into `directory`.
pub(super) fn write(directory: &Path, boxes: u8) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (name, text) in FILES {
        let path = directory.join(name);
        fs::write(&path, fit(name, text, boxes))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The names of all manifests.
pub(super) fn files() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The chain ends at the last box, the service has as many replicas as there are boxes, and
/// instances whose box does not exist share those that do.
fn fit(name: &str, text: &str, boxes: u8) -> String {
    match name {
        "web.yaml" => text.replace("box3", &format!("box{boxes}")),
        "hello.yaml" => text.replace("replicas: 3", &format!("replicas: {boxes}")),
        _ => (1..=3).rev().fold(text.to_owned(), |text, k| {
            let there = (k - 1) % boxes + 1;
            text.replace(&format!("box{k}"), &format!("box{there}"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(wanted: &str, boxes: u8) -> String {
        let (name, text) = FILES.iter().find(|(name, _)| *name == wanted).unwrap();
        fit(name, text, boxes)
    }

    #[test]
    fn for_three_boxes_nothing_changes() {
        for (name, text) in FILES {
            assert_eq!(fit(name, text, 3), text);
        }
    }

    #[test]
    fn fewer_boxes_share_the_instances_and_more_boxes_move_the_end() {
        assert!(fitted("dpi.yaml", 2).contains("nodes: [box2, box1, box1]"));
        assert!(fitted("nat.yaml", 1).contains("nodes: [box1, box1, box1]"));
        assert!(fitted("web.yaml", 5).contains("to: {node: box5,"));
        assert!(fitted("hello.yaml", 5).contains("replicas: 5"));
    }
}
