//! `${…}` in a scalar, and what of a template may be shown.

use crate::manifest::tree::{Shape, Tree};
use serde_json::Value as Json;

/// A piece of a scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// As it is.
    Text(String),
    /// What stands between `${` and `}`.
    Reference(String),
}

/// A reference without an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this reference has no end: ${{name}} is a parameter, $${{ stands for ${{")]
pub(super) struct Unclosed;

/// Takes a scalar apart.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, Unclosed> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, here) = rest.split_at(at);
        plain.push_str(before);
        if let Some(after) = here.strip_prefix("$${") {
            plain.push_str("${");
            rest = after;
        } else if let Some(after) = here.strip_prefix("${") {
            let (name, after) = after.split_once('}').ok_or(Unclosed)?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Reference(name.to_owned()));
            rest = after;
        } else {
            plain.push('$');
            rest = here.strip_prefix('$').unwrap_or_default();
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

/// A resource as the template has it, for people. Of a secret only references are shown.
pub(super) fn shown(resource: &Tree, secret: bool) -> Json {
    let Shape::Map(entries) = resource.shape() else {
        return Json::Null;
    };
    let fields = entries.iter().map(|(key, _, value)| {
        let open = !secret || matches!(key.as_str(), "apiVersion" | "kind" | "metadata");
        (key.clone(), json(value, open))
    });
    Json::Object(fields.collect())
}

/// A tree as JSON; scalars that hold more than references are left out unless `open`.
pub(super) fn json(tree: &Tree, open: bool) -> Json {
    let only_references = |text: &str| {
        let parts = parts(text).unwrap_or_default();
        parts.iter().all(|part| matches!(part, Part::Reference(_)))
    };
    match tree.shape() {
        Shape::Map(entries) => {
            let entries = entries.iter();
            Json::Object(
                entries
                    .map(|(key, _, value)| (key.clone(), json(value, open)))
                    .collect(),
            )
        }
        Shape::Sequence(items) => Json::Array(items.iter().map(|item| json(item, open)).collect()),
        Shape::Null => Json::Null,
        Shape::Text(text) if open || only_references(text) => Json::String(text.to_owned()),
        Shape::Plain(text) if open => {
            serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()))
        }
        Shape::Text(_) | Shape::Plain(_) => Json::String("(hidden)".to_owned()),
    }
}
