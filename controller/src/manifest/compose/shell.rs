//! Commands written as one string, cut into words as a POSIX shell would (XCU 2.2), but nothing
//! else: no shell runs them. `#` begins no comment.

/// A quote that is never closed, or a backslash at the very end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a quote is not closed, or a backslash is the last character")]
pub(super) struct Unclosed;

/// A command's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) words: Vec<String>,
    /// The first unquoted character that only a shell would act on.
    pub(super) operator: Option<char>,
}

/// Cuts `text`.
pub(super) fn split(text: &str) -> Result<Words, Unclosed> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut operator = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or(Unclosed)? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or(Unclosed)? {
                        '"' => break,
                        '\\' => match characters.next().ok_or(Unclosed)? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            '\n' => {}
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => match characters.next().ok_or(Unclosed)? {
                '\n' => {}
                c => word.get_or_insert_default().push(c),
            },
            c => {
                if matches!(c, ';' | '&' | '|' | '<' | '>' | '`') {
                    operator.get_or_insert(c);
                }
                word.get_or_insert_default().push(c);
            }
        }
    }
    words.extend(word);
    Ok(Words { words, operator })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_a_shell_does() {
        for (text, right) in [
            ("", vec![]),
            ("  a\t b\n", vec!["a", "b"]),
            (r#"a "b c" 'd e'"#, vec!["a", "b c", "d e"]),
            (r#"a"b"'c'd"#, vec!["abcd"]),
            (r#"'' """#, vec!["", ""]),
            (r"a\ b \\ \'", vec!["a b", r"\", "'"]),
            (r#""\"q\" \$x \n""#, vec![r#""q" $x \n"#]),
            (r"'\n'", vec![r"\n"]),
            ("--colour #fff", vec!["--colour", "#fff"]),
            ("a \\\n b", vec!["a", "b"]),
        ] {
            let words = split(text).unwrap();
            assert_eq!(
                (words.words, words.operator),
                (right.iter().map(|w| (*w).to_owned()).collect(), None),
                "{text}"
            );
        }
        for odd in ["'a", "\"a", "a\\", "\"a\\"] {
            assert_eq!(split(odd), Err(Unclosed), "{odd}");
        }
    }

    #[test]
    fn what_only_a_shell_would_do_is_noticed() {
        assert_eq!(split("a | b > c").unwrap().operator, Some('|'));
        assert_eq!(split("a 'b|c' \"d>e\" f\\;").unwrap().operator, None);
    }
}
