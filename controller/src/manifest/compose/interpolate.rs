//! Variables in values: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?why}`,
//! `${NAME?why}`, `${NAME:+other}`, `${NAME+other}`, and `$$` for a dollar (compose-spec,
//! 12-interpolation.md). Defaults may hold variables themselves.

/// Deepest nesting of defaults.
const MAX_DEPTH: usize = 16;

/// Why a text cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InterpolationError {
    /// A dollar that begins nothing.
    #[error("{0:?} is no variable")]
    Shape(String),
    /// A mandatory variable.
    #[error("variable {name} is {what}{}{why}", if .why.is_empty() { "" } else { ": " })]
    Required {
        /// Its name.
        name: String,
        /// `not set`, or `empty`.
        what: &'static str,
        /// What the file says of it.
        why: String,
    },
    /// Defaults in defaults in defaults.
    #[error("defaults of variables are nested more than {MAX_DEPTH} deep")]
    Depth,
}

impl InterpolationError {
    /// What to do about it.
    pub(super) fn todo(&self) -> String {
        match self {
            Self::Shape(_) => "write ${NAME}, or $$ for a dollar that is meant".to_owned(),
            Self::Required { name, .. } => format!("set {name} in the environment or in .env"),
            Self::Depth => "set the variable instead".to_owned(),
        }
    }
}

/// A text with its variables filled in, and the names of those that are not set.
pub(super) fn interpolate(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, Vec<String>), InterpolationError> {
    let mut unset = Vec::new();
    let filled = fill(text, lookup, &mut unset, 0)?;
    Ok((filled, unset))
}

fn fill(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, InterpolationError> {
    if depth > MAX_DEPTH {
        return Err(InterpolationError::Depth);
    }
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let end = closing(inside).ok_or_else(|| shape(after))?;
            let (inside, behind) = inside.split_at(end);
            filled.push_str(&braced(inside, lookup, unset, depth)?);
            rest = behind.get(1..).unwrap_or_default();
        } else {
            let (name, behind) = name(after).ok_or_else(|| shape(after))?;
            match lookup(name) {
                Some(value) => filled.push_str(&value),
                None => unset.push(name.to_owned()),
            }
            rest = behind;
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// What is wrong, a few characters of it.
fn shape(after: &str) -> InterpolationError {
    let shown: String = after.chars().take(20).collect();
    InterpolationError::Shape(format!("${shown}"))
}

/// Where the brace ends that was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        match c {
            '{' if before == '$' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

/// A variable's name at the beginning of a text, and what follows.
fn name(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let first = name.chars().next()?;
    (!first.is_ascii_digit()).then_some((name, rest))
}

/// What stands for `${inside}`.
fn braced(
    inside: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, InterpolationError> {
    let odd = || shape(&format!("{{{inside}}}"));
    let (name, operation) = name(inside).ok_or_else(odd)?;
    let value = lookup(name);
    if operation.is_empty() {
        return Ok(value.unwrap_or_else(|| {
            unset.push(name.to_owned());
            String::new()
        }));
    }
    // With a colon, empty is as good as not set.
    let (strict, operation) = match operation.strip_prefix(':') {
        Some(operation) => (true, operation),
        None => (false, operation),
    };
    let usable = value.filter(|value| !(strict && value.is_empty()));
    let mut characters = operation.chars();
    let kind = characters.next();
    let word = characters.as_str();
    let depth = depth + 1;
    match (kind, usable) {
        (Some('-' | '?'), Some(value)) => Ok(value),
        (Some('-'), None) | (Some('+'), Some(_)) => fill(word, lookup, unset, depth),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => Err(InterpolationError::Required {
            name: name.to_owned(),
            what: if lookup(name).is_some() {
                "empty"
            } else {
                "not set"
            },
            why: fill(word, lookup, unset, depth)?,
        }),
        _ => Err(odd()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, InterpolationError> {
        let lookup = |name: &str| match name {
            "SET" => Some("set".to_owned()),
            "EMPTY" => Some(String::new()),
            "_1" => Some("one".to_owned()),
            _ => None,
        };
        interpolate(text, &lookup).map(|(filled, _)| filled)
    }

    #[test]
    fn every_form_of_the_specifications_table_is_filled_in() {
        for (text, right) in [
            ("plain", "plain"),
            ("$SET", "set"),
            ("${SET}", "set"),
            ("$SET/$_1-x", "set/one-x"),
            ("${UNSET}", ""),
            ("${EMPTY}", ""),
            ("${SET:-d}", "set"),
            ("${EMPTY:-d}", "d"),
            ("${UNSET:-d}", "d"),
            ("${SET-d}", "set"),
            ("${EMPTY-d}", ""),
            ("${UNSET-d}", "d"),
            ("${SET:?e}", "set"),
            ("${SET?e}", "set"),
            ("${EMPTY?e}", ""),
            ("${SET:+r}", "r"),
            ("${EMPTY:+r}", ""),
            ("${UNSET:+r}", ""),
            ("${SET+r}", "r"),
            ("${EMPTY+r}", "r"),
            ("${UNSET+r}", ""),
            ("$$", "$"),
            ("$$SET $${SET}", "$SET ${SET}"),
            ("${UNSET:-}", ""),
            ("${UNSET:-${SET}}", "set"),
            ("${UNSET:-a${EMPTY:-b}c}d", "abcd"),
            ("${UNSET:-http://x:80/?q=1}", "http://x:80/?q=1"),
            ("${UNSET:-$$5}", "$5"),
            ("${UNSET:-{}}", "{}"),
        ] {
            assert_eq!(filled(text), Ok(right.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_mandatory_is_asked_for_with_the_files_words() {
        for (text, said) in [
            ("${UNSET:?give one}", "variable UNSET is not set: give one"),
            ("${EMPTY:?give one}", "variable EMPTY is empty: give one"),
            ("${UNSET?}", "variable UNSET is not set"),
            ("${UNSET:?see ${SET}}", "variable UNSET is not set: see set"),
        ] {
            assert_eq!(filled(text).unwrap_err().to_string(), said, "{text}");
        }
    }

    #[test]
    fn a_dollar_that_begins_nothing_is_refused() {
        for text in [
            "$", "a$ b", "$1", "${", "${}", "${1}", "${SET", "${SET!}", "${SET:}", "${A B}",
        ] {
            assert!(
                matches!(filled(text), Err(InterpolationError::Shape(_))),
                "{text}"
            );
        }
        let deep = format!("{}x{}", "${U:-".repeat(50), "}".repeat(50));
        assert_eq!(filled(&deep), Err(InterpolationError::Depth));
    }

    #[test]
    fn what_is_not_set_is_named() {
        let (_, unset) = interpolate("$A ${B} ${C:-c}", &|_| None).unwrap();
        assert_eq!(unset, ["A", "B"]);
    }
}
