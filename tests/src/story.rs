//! A test told in steps: each is named, timed and printed, and the first that fails ends it with
//! its name.

use anyhow::{Context, Result};
use std::time::Instant;

/// A story under way.
#[derive(Debug)]
pub struct Story {
    began: Instant,
    lines: Vec<String>,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            lines: Vec::new(),
        }
    }
}

impl Story {
    /// Does one step; what it returns is printed beside its name.
    ///
    /// # Errors
    /// The step's, with its name.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> Result<String>) -> Result<()> {
        eprintln!("[{:6.1} s] {name}", self.began.elapsed().as_secs_f64());
        let began = Instant::now();
        let said = work().with_context(|| format!("step failed: {name}"))?;
        let line = format!("{:6.1} s  {name}: {said}", began.elapsed().as_secs_f64());
        eprintln!("           {said}");
        self.lines.push(line);
        Ok(())
    }

    /// All steps so far.
    pub fn told(&self) -> String {
        self.lines.join("\n")
    }
}

/// Whether a chapter is told: `KC_CHAPTERS=overload,updates` for some, all without.
pub fn wants(chapter: &str) -> bool {
    std::env::var("KC_CHAPTERS").map_or(true, |wanted| wanted.split(',').any(|one| one == chapter))
}
