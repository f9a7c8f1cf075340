//! Documents of a file. YAML 1.2 section 9.1.2: `---` or `...` at the start of a line, followed
//! by white space or the end of the line, is a document marker wherever it stands, also inside
//! scalars.

/// One document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Lines of the file before it.
    pub(super) first_line: usize,
    /// Its text; a leading marker is blanked out, so that columns stay right.
    pub(super) text: String,
}

/// The first character that YAML does not allow (1.2 section 5.1), and a carriage return
/// without a line feed: YAML would start a line there, and people's editors would not.
pub(super) fn control_character(text: &str) -> Option<(usize, usize, char)> {
    for (number, line) in text.split('\n').enumerate() {
        let shown = line.strip_suffix('\r').unwrap_or(line);
        let found = shown
            .chars()
            .enumerate()
            .find(|(_, c)| c.is_control() && *c != '\t');
        if let Some((before, control)) = found {
            return Some((number + 1, before + 1, control));
        }
    }
    None
}

/// Cuts at markers and leaves out what is empty.
pub(super) fn split(text: &str) -> Vec<Part> {
    let mut parts = vec![Part {
        first_line: 0,
        text: String::new(),
    }];
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let marker = ["---", "..."].iter().find(|marker| {
            let rest = line.strip_prefix(**marker);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']))
        });
        let kept = match marker {
            Some(marker) => {
                parts.push(Part {
                    first_line: number,
                    text: "   ".to_owned(),
                });
                &line[marker.len()..]
            }
            None => line,
        };
        if let Some(part) = parts.last_mut() {
            part.text.push_str(kept);
        }
    }
    let says_something = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    };
    parts.retain(|part| part.text.lines().any(says_something));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_remember_where_they_began() {
        let parts =
            split("# only a comment\n---\na: 1\n--- {b: 2}\n...\n---\n\n---\nc: |\n  ---\n");
        let seen: Vec<_> = parts
            .iter()
            .map(|p| (p.first_line, p.text.trim()))
            .collect();
        assert_eq!(seen, [(1, "a: 1"), (3, "{b: 2}"), (7, "c: |\n  ---")]);
    }

    #[test]
    fn control_characters_are_found_where_they_stand() {
        assert_eq!(control_character("a:\t1\r\nb: \u{e9}\n"), None);
        assert_eq!(control_character("a: 1\nb\u{0}: 2"), Some((2, 2, '\u{0}')));
        assert_eq!(control_character("a: 1\rb: 2\n"), Some((1, 5, '\r')));
    }

    #[test]
    fn dashes_that_are_no_marker_stay() {
        assert_eq!(split("----\n---x\n").len(), 1);
        assert_eq!(split("").len(), 0);
    }
}
