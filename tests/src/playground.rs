//! The playground under test, taken away again whatever happens.

use crate::programs;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A playground; dropping it removes it.
#[derive(Debug)]
pub struct Playground {
    gone: bool,
}

impl Playground {
    /// Makes one, and returns it with what `up` printed.
    ///
    /// # Errors
    /// `up` failed; its output and the logs are in the error.
    pub fn up(arguments: &[&str]) -> Result<(Self, String)> {
        let guard = Self { gone: false };
        let output = command("up")?
            .args(["--function-binary"])
            .arg(programs::function()?)
            .arg("--keep-going")
            .args(arguments)
            .output()?;
        let said = text(&output);
        if !output.status.success() {
            bail!("up failed:\n{said}\n{}", logs());
        }
        Ok((guard, said))
    }

    /// Runs another verb and returns what it printed.
    ///
    /// # Errors
    /// It ended with another code than 0.
    pub fn verb(verb: &str) -> Result<String> {
        let output = command(verb)?.output()?;
        let said = text(&output);
        if !output.status.success() {
            bail!("kc playground {verb} ended with {}:\n{said}", output.status);
        }
        Ok(said)
    }

    /// Takes it away.
    ///
    /// # Errors
    /// Something is left.
    pub fn down(mut self) -> Result<String> {
        self.gone = true;
        Self::verb("down")
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        if !self.gone {
            eprintln!("{}", logs());
            match Self::verb("down") {
                Ok(said) => eprintln!("{said}"),
                Err(error) => eprintln!("{error:#}"),
            }
        }
    }
}

/// `kc playground <verb>`, ready to run.
///
/// # Errors
/// `kc` is not built.
pub fn command(verb: &str) -> Result<Command> {
    let mut command = Command::new(programs::find("kc")?);
    command.args(["playground", verb]).stdin(Stdio::null());
    Ok(command)
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(err),
        String::from_utf8_lossy(out)
    )
}

/// The ends of all logs of the playground.
pub fn logs() -> String {
    let entries = fs::read_dir("/run/kcluster-playground/logs")
        .into_iter()
        .flatten()
        .flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files.iter().map(|file| end(file, 40)).collect()
}

fn end(file: &Path, lines: usize) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // containerd's shims talk a lot at every start.
    let worth = |line: &&str| !line.contains("level=info");
    let all: Vec<&str> = text.lines().filter(worth).collect();
    let last = all[all.len().saturating_sub(lines)..].join("\n");
    format!("---- {}\n{last}\n", file.display())
}

/// The engine of a box, as Docker's `--host` wants it.
pub fn engine(node: &str) -> String {
    format!("unix:///run/kcluster-playground/{node}/docker.sock")
}

/// Runs Docker's client against the engine of a box.
///
/// # Errors
/// It failed.
pub fn docker(node: &str, arguments: &[&str]) -> Result<String> {
    let debian = Path::new("/usr/bin/docker");
    let program = if debian.exists() {
        debian
    } else {
        Path::new("docker")
    };
    let output = Command::new(program)
        .args(["--host", &engine(node)])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("cannot run docker")?;
    if !output.status.success() {
        bail!(
            "docker {} on {node}: {}",
            arguments.join(" "),
            text(&output)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
