//! What a look at a box has found, and how it is put right. Says nothing about how it was looked
//! at.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One check and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What was looked at, such as `memory-cgroup` or `tunnel box2`. Stays the same from version
    /// to version.
    pub check: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, for people.
    pub found: String,
    /// What puts it right, in one line; absent where nothing is wrong.
    pub fix: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, and will not for ever.
    Warning,
    /// Something does not work.
    Problem,
    /// It cannot be told. Also a severity that only a newer box knows.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::Unknown => "unknown",
        })
    }
}

impl Finding {
    /// As it should be.
    pub fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Severity::Ok, check, found, None)
    }

    /// It works, and will not for ever.
    pub fn warning(
        check: impl Into<String>,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, check, found, Some(fix.into()))
    }

    /// Something does not work.
    pub fn problem(
        check: impl Into<String>,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Problem, check, found, Some(fix.into()))
    }

    /// It cannot be told; `fix` is what would make it known.
    pub fn unknown(
        check: impl Into<String>,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Unknown, check, found, Some(fix.into()))
    }

    fn new(
        severity: Severity,
        check: impl Into<String>,
        found: impl Into<String>,
        fix: Option<String>,
    ) -> Self {
        Self {
            check: check.into(),
            severity,
            found: found.into(),
            fix,
        }
    }
}

/// Findings as people read them: a line each in aligned columns, the fix below.
///
/// ```
/// use kc_agent_api::{Finding, Listing};
/// let findings = [
///     Finding::ok("power", "no under-voltage"),
///     Finding::problem("clock", "it is 1970", "install chrony"),
/// ];
/// assert_eq!(
///     Listing(&findings).to_string(),
///     "ok       power  no under-voltage\n\
///      problem  clock  it is 1970\n         \
///      fix:   install chrony\n"
/// );
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a>(pub &'a [Finding]);

/// Width of the longest severity.
const SEVERITY: usize = 7;

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = self.0.iter().map(|finding| finding.check.chars().count());
        let width = lengths.max().unwrap_or(0);
        for finding in self.0 {
            let (check, found) = (one_line(&finding.check), one_line(&finding.found));
            writeln!(f, "{:SEVERITY$}  {check:width$}  {found}", finding.severity)?;
            if let Some(fix) = &finding.fix {
                writeln!(f, "{:SEVERITY$}  {:width$}  {}", "", "fix:", one_line(fix))?;
            }
        }
        Ok(())
    }
}

/// A finding is one line, whatever a kernel or an engine has said.
fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_of_tomorrow_is_unknown_today() {
        let read: Severity = serde_json::from_str(r#""catastrophe""#).unwrap();
        assert_eq!(read, Severity::Unknown);
    }

    #[test]
    fn what_was_found_cannot_break_out_of_its_line() {
        let findings = [Finding::problem("docker", "no\nengine\x1b[31m", "a\nb")];
        let text = Listing(&findings).to_string();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
}
