//! `down` and Ctrl-C, in the middle of `up`.

use anyhow::{Context, Result, bail, ensure};
use kc_tests::playground::{Playground, command};
use kc_tests::story::Story;
use kc_tests::{process, programs, remains};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Stdio};

pub(crate) fn steps(story: &mut Story, before: &BTreeSet<String>) -> Result<()> {
    story.step("up killed in the middle, down cleans up", || {
        let (mut up, _lines) = up_until("engines:")?;
        up.kill()?;
        up.wait()?;
        let said = Playground::verb("down")?;
        nothing_left(before)?;
        Ok(said.trim().to_owned())
    })?;
    story.step("up interrupted cleans up by itself", || {
        let (mut up, lines) = up_until("network:")?;
        process::signal(i32::try_from(up.id())?, Signal::SIGINT)?;
        lines.lines().for_each(drop);
        let status = up.wait()?;
        ensure!(status.code() == Some(1), "up ended with {status}");
        nothing_left(before)?;
        Ok(status.to_string())
    })
}

/// Starts `up` and waits until it reports the step.
fn up_until(step: &str) -> Result<(Child, BufReader<ChildStderr>)> {
    let mut up = command("up")?
        .arg("--function-binary")
        .arg(programs::function()?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(up.stderr.take().context("up has no stderr")?);
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            bail!("up ended before {step} with {}", up.wait()?);
        }
        if line.contains(step) {
            return Ok((up, lines));
        }
    }
}

fn nothing_left(before: &BTreeSet<String>) -> Result<()> {
    let left: Vec<_> = remains::look().difference(before).cloned().collect();
    ensure!(left.is_empty(), "left: {left:#?}");
    Ok(())
}
