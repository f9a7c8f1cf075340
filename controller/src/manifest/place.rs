//! A file's lines, and mistakes that point into them.

use super::ManifestError;

/// Longest line that is shown.
const SHOWN: usize = 160;

/// A file, seen from one of its documents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    name: &'a str,
    text: &'a str,
    /// Lines of the file before the document.
    before: usize,
    /// Whether what is written there is nobody's to see.
    hidden: bool,
}

impl<'a> Page<'a> {
    pub(crate) const fn new(name: &'a str, text: &'a str) -> Self {
        Self {
            name,
            text,
            before: 0,
            hidden: false,
        }
    }

    /// The same file, with lines counted from `first_line` on.
    pub(crate) const fn at(self, first_line: usize) -> Self {
        Self {
            before: first_line,
            ..self
        }
    }

    /// The same file, of which no line is shown when `hidden`.
    pub(crate) const fn hiding(self, hidden: bool) -> Self {
        Self { hidden, ..self }
    }

    /// A line of the document, from 1.
    pub(crate) fn line(&self, line: usize) -> Option<&'a str> {
        let index = (self.before + line).checked_sub(1)?;
        self.text.lines().nth(index)
    }

    /// Whether nothing of it may be quoted.
    pub(crate) const fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// A mistake at a line and column of the document, both from 1; 0 for the file as a whole.
    pub(crate) fn error(&self, line: usize, column: usize, message: String) -> ManifestError {
        let line = if line == 0 { 0 } else { self.before + line };
        let snippet = line
            .checked_sub(1)
            .and_then(|index| self.text.lines().nth(index));
        let snippet = snippet
            .filter(|_| !self.hidden && column <= SHOWN)
            .map(|line| {
                let shown = line.chars().take(SHOWN);
                shown
                    .map(|c| if c.is_control() { '\u{b7}' } else { c })
                    .collect()
            });
        ManifestError {
            file: self.name.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            message,
            hint: None,
            snippet,
        }
    }
}
