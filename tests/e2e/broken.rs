//! Manifests that are wrong: a clear word at the right line, and nothing changed.

use anyhow::{Result, ensure};
use kc_tests::kc;
use kc_tests::story::Story;
use std::fs;
use std::path::Path;

/// Name, text, line of the mistake, a word the answer must hold.
const CASES: [(&str, &str, u32, &str); 6] = [
    (
        "unknown-field",
        "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {name: x}\nspec:\n  image: a\n  replica: 3\n",
        6,
        "replicas",
    ),
    (
        "wrong-type",
        "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {name: x}\nspec:\n  image: a\n  replicas: many\n",
        6,
        "many",
    ),
    (
        "unknown-function-type",
        "apiVersion: kcluster/v1\nkind: Chain\nmetadata: {name: x}\nspec:\n  functions: [firewall, fierwall]\n  from: {node: box1, interface: client0}\n  to: {node: box3, interface: server0}\n",
        5,
        "firewall",
    ),
    (
        "duplicate-name",
        "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {name: x}\nspec: {image: a}\n---\napiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {name: x}\nspec: {image: b}\n",
        8,
        "x",
    ),
    (
        "cyclic-reference",
        "apiVersion: kcluster/v1\nkind: Chain\nmetadata: {name: x}\nspec:\n  functions: [firewall, x]\n  from: {node: box1, interface: client0}\n  to: {node: box3, interface: server0}\n",
        5,
        "x",
    ),
    (
        "good-beside-bad",
        "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {name: good}\nspec: {image: a}\n---\napiVersion: kcluster/v1\nkind: Chainn\nmetadata: {name: y}\nspec: {}\n",
        7,
        "Chain",
    ),
];

pub(crate) fn steps(story: &mut Story, scratch: &Path) -> Result<()> {
    story.step(
        "broken manifests are refused at the right line and change nothing",
        || {
            let before = everything()?;
            let mut said = Vec::new();
            for (name, text, line, word) in CASES {
                let place = refused(scratch, name, text.as_bytes())?;
                ensure!(
                    place.contains(&format!("{name}.yaml:{line}")) && place.contains(word),
                    "{name}: expected line {line} and {word:?} in\n{place}"
                );
                said.push(name);
            }
            let noise: Vec<u8> = (0..10_u32 << 20)
                .map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3])
                .collect();
            refused(scratch, "noise", &noise)?;
            let letters = "x: [".repeat(10 << 18);
            refused(scratch, "deep", letters.as_bytes())?;
            ensure!(everything()? == before, "something changed");
            Ok(format!("{}, noise of 10 MB", said.join(", ")))
        },
    )
}

/// Applies what must be refused, and returns what `kc` said.
fn refused(scratch: &Path, name: &str, text: &[u8]) -> Result<String> {
    let path = scratch.join(format!("{name}.yaml"));
    fs::write(&path, text)?;
    let said = kc::run(&["apply", "-f", &path.to_string_lossy()])?;
    fs::remove_file(&path)?;
    ensure!(
        said.code == 4,
        "{name}: exit code {}: {}{}",
        said.code,
        said.out,
        said.err
    );
    ensure!(
        said.err.len() < 4000,
        "{name}: {} bytes of error",
        said.err.len()
    );
    Ok(said.err)
}

/// The names of all there is.
fn everything() -> Result<String> {
    let kinds = ["functions", "chains", "services", "instances", "paths"];
    let mut all = String::new();
    for kind in kinds {
        all.push_str(&kc::good(&["get", kind, "-o", "name"])?);
    }
    Ok(all)
}
