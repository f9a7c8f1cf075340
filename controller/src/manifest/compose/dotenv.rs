//! Files of variables: `.env` and `env_file`. A line is `NAME=VALUE`, `export NAME=VALUE` or `NAME`;
//! values in single quotes are literal, others may hold variables, those in double quotes
//! escapes too, and quoted ones may go over several lines (compose-spec, "Env_file format").

use super::interpolate::interpolate;
use std::collections::BTreeMap;

/// A line that is none of that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(super) struct DotenvError {
    pub(super) line: usize,
    pub(super) what: String,
}

/// Names and values in their order; no value where the environment's counts.
pub(super) type Variables = Vec<(String, Option<String>)>;

/// Reads a file. `lookup` knows what is set besides, and wins over what the file says itself.
pub(super) fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Variables, DotenvError> {
    let mut found: Variables = Vec::new();
    let mut earlier: BTreeMap<String, String> = BTreeMap::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let refuse = |what: String| DotenvError { line, what };
        let (first, below) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = first.trim();
        let declared = trimmed.strip_prefix("export ").unwrap_or(trimmed);
        let after = match declared.split_once('=') {
            _ if trimmed.is_empty() || trimmed.starts_with('#') => below,
            None => {
                let odd = || refuse(format!("{declared:?} is no NAME=VALUE"));
                let name = checked(declared).ok_or_else(odd)?;
                found.push((name.to_owned(), lookup(name)));
                below
            }
            Some((name, _)) => {
                let odd = || refuse(format!("{name:?} is no variable's name"));
                let name = checked(name.trim()).ok_or_else(odd)?;
                let (_, behind) = rest.split_once('=').unwrap_or((rest, ""));
                let (raw, after) = value(behind).map_err(|what| refuse(what.to_owned()))?;
                let known = |name: &str| lookup(name).or_else(|| earlier.get(name).cloned());
                let value = match raw {
                    Raw::Literal(value) => value,
                    Raw::Open(value) => {
                        let filled = interpolate(&value, &known);
                        filled.map_err(|error| refuse(error.to_string()))?.0
                    }
                };
                earlier.insert(name.to_owned(), value.clone());
                found.push((name.to_owned(), Some(value)));
                after
            }
        };
        let read = rest.len() - after.len();
        line += rest
            .get(..read)
            .map_or(0, |read| read.matches('\n').count());
        rest = after;
    }
    Ok(found)
}

/// A name that a variable may have.
fn checked(name: &str) -> Option<&str> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    (!name.is_empty() && name.chars().all(good)).then_some(name)
}

/// A value as it is written.
enum Raw {
    Literal(String),
    Open(String),
}

/// The value at the beginning of `text`, and what follows its line.
fn value(text: &str) -> Result<(Raw, &str), &'static str> {
    let text = text.trim_start_matches([' ', '\t']);
    for quote in ['\'', '"'] {
        let Some(inside) = text.strip_prefix(quote) else {
            continue;
        };
        let end = closing(inside, quote).ok_or("a quote is not closed")?;
        let (inside, behind) = inside.split_at(end);
        let behind = behind.get(1..).unwrap_or_default();
        let (tail, below) = behind.split_once('\n').unwrap_or((behind, ""));
        let tail = tail.trim();
        if !tail.is_empty() && !tail.starts_with('#') {
            return Err("there is something behind the closing quote");
        }
        let raw = match quote {
            '"' => Raw::Open(unescaped(inside)),
            _ => Raw::Literal(inside.to_owned()),
        };
        return Ok((raw, below));
    }
    let (line, below) = text.split_once('\n').unwrap_or((text, ""));
    let line = if line.starts_with('#') { "" } else { line };
    let comment = [" #", "\t#"]
        .iter()
        .filter_map(|mark| line.find(mark))
        .min();
    let line = comment.and_then(|at| line.get(..at)).unwrap_or(line);
    Ok((Raw::Open(line.trim().to_owned()), below))
}

/// Where the quoted text ends; in double quotes a backslash protects what follows it.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut protected = false;
    for (at, c) in text.char_indices() {
        if protected {
            protected = false;
        } else if c == '\\' && quote == '"' {
            protected = true;
        } else if c == quote {
            return Some(at);
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            // Stays a dollar when variables are filled in.
            Some('$') => plain.push_str("$$"),
            Some(c @ ('"' | '\\')) => plain.push(c),
            Some(c) => plain.extend(['\\', c]),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Option<String>)> {
        let lookup = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        parse(text, &lookup).unwrap()
    }

    fn one(text: &str) -> String {
        read(text).pop().unwrap().1.unwrap()
    }

    #[test]
    fn every_way_to_write_a_value_is_read() {
        for (text, right) in [
            ("A=b", "b"),
            ("A = b ", "b"),
            ("export A=b", "b"),
            ("A=", ""),
            ("A=b # comment", "b"),
            ("A=b#c", "b#c"),
            ("A=# comment", ""),
            ("A='b # c' # d", "b # c"),
            (r"A='\n$HOME'", r"\n$HOME"),
            (r#"A="b\n\"c\" \$x \y""#, "b\n\"c\" $x \\y"),
            ("A=\"b\nc\"\n", "b\nc"),
            ("A=b=c", "b=c"),
            ("A=$HOME/x", "/root/x"),
            ("A=\"${HOME}\"", "/root"),
            ("A=x\r\n", "x"),
            ("B=1\nA=${B}2", "12"),
            ("A=${C:-d}", "d"),
            ("\u{feff}A=b", "b"),
        ] {
            assert_eq!(one(text), right, "{text}");
        }
        assert_eq!(read("# none\n\n  \n"), []);
        assert_eq!(
            read("HOME\nOTHER"),
            [
                ("HOME".into(), Some("/root".into())),
                ("OTHER".into(), None)
            ]
        );
    }

    #[test]
    fn what_is_no_variable_is_told_with_its_line() {
        for (text, said) in [
            ("A=b\n\nno name=x", "line 3: \"no name\""),
            ("A=b\nC='d\n", "line 2: a quote is not closed"),
            ("A='b' c", "line 1: there is something behind"),
            ("A=$", "line 1: \"$\" is no variable"),
            ("=x", "line 1"),
        ] {
            let error = parse(text, &|_| None).unwrap_err().to_string();
            assert!(error.starts_with(said), "{text}: {error}");
        }
    }
}
