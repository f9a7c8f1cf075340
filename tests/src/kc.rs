//! `kc`, run against the playground's controller.

use crate::programs;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Where the playground leaves the way to its controller.
pub const CONFIG: &str = "/run/kcluster-playground/kc.toml";

/// What a run of `kc` came to.
#[derive(Debug)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs `kc`.
///
/// # Errors
/// It could not be run at all.
pub fn run(arguments: &[&str]) -> Result<Said> {
    let output = Command::new(programs::find("kc")?)
        .args(arguments)
        .env("KC_CONFIG", CONFIG)
        .stdin(Stdio::null())
        .output()
        .context("cannot run kc")?;
    Ok(Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Starts `kc`, which goes on by itself.
///
/// # Errors
/// It could not be run.
pub fn start(arguments: &[&str]) -> Result<Child> {
    Command::new(programs::find("kc")?)
        .args(arguments)
        .env("KC_CONFIG", CONFIG)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run kc")
}

/// Runs `kc` and returns what it prints.
///
/// # Errors
/// It ended with another code than 0.
pub fn good(arguments: &[&str]) -> Result<String> {
    let said = run(arguments)?;
    if said.code != 0 {
        bail!(
            "kc {} ended with {}: {}{}",
            arguments.join(" "),
            said.code,
            said.out,
            said.err
        );
    }
    Ok(said.out)
}

/// Runs `kc` with `-o json`.
///
/// # Errors
/// It failed, or printed no JSON.
pub fn json(arguments: &[&str]) -> Result<Value> {
    let all = [arguments, &["-o", "json"]].concat();
    let text = good(&all)?;
    serde_json::from_str(&text).with_context(|| format!("kc {} printed {text}", all.join(" ")))
}

/// Applies a manifest given as text.
///
/// # Errors
/// It was refused.
pub fn apply(directory: &Path, name: &str, manifest: &str) -> Result<String> {
    let path = directory.join(name);
    std::fs::write(&path, manifest)?;
    good(&["apply", "-f", &path.to_string_lossy()])
}

/// A chain.
///
/// # Errors
/// There is none of that name.
pub fn chain(name: &str) -> Result<Value> {
    json(&["get", "chains", name])
}

/// The instances on a chain's path in use, as `(instance, box)`.
///
/// # Errors
/// There is no such chain.
pub fn path(name: &str) -> Result<Vec<(String, String)>> {
    let chain = chain(name)?;
    let items = chain["path"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| {
            let text = item.as_str().context("a path item is no text")?;
            let (instance, node) = text.split_once('@').context("a path item has no box")?;
            Ok((instance.to_owned(), node.to_owned()))
        })
        .collect()
}

/// An instance.
///
/// # Errors
/// There is none of that name.
pub fn instance(name: &str) -> Result<Value> {
    json(&["get", "instances", name])
}

/// Docker's ids of all instances, by name.
///
/// # Errors
/// The controller does not answer.
pub fn containers() -> Result<std::collections::BTreeMap<String, String>> {
    let instances = json(&["get", "instances"])?;
    let list = instances.as_array().context("instances are no list")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(list
        .iter()
        .map(|instance| (text(&instance["name"]), text(&instance["container"])))
        .collect())
}
