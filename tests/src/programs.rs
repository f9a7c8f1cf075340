//! Where the programs under test are.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// A program beside the test's own directory: `target/debug/<name>`.
///
/// # Errors
/// It is not built.
pub fn find(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find the running test")?;
    let built = own
        .ancestors()
        .nth(2)
        .context("the test is in no target directory")?;
    existing(built.join(name), "cargo build --workspace --bins --tests")
}

/// The static `kc-function`: `KC_TEST_FUNCTION`, or where `make e2e` builds it.
///
/// # Errors
/// It is not built.
pub fn function() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("KC_TEST_FUNCTION") {
        return existing(path.into(), "make test-build");
    }
    let own = std::env::current_exe().context("cannot find the running test")?;
    let target = own
        .ancestors()
        .nth(3)
        .context("the test is in no target directory")?;
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let path = target.join("static").join(host).join("debug/kc-function");
    existing(path, "make test-build")
}

fn existing(path: PathBuf, recipe: &str) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("{} is not built: {recipe}", path.display());
    }
    Ok(path)
}
