//! What values of a parameter may be, beside their type.

use super::Template;
use super::parameter::{Value, WrittenParameter};
use crate::manifest::ManifestError;
use crate::manifest::tree::Tree;
use crate::manifest::words::hint;
use crate::resource::ParameterType;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Largest program a pattern may become, in octets.
const PATTERN_OCTETS: usize = 1 << 20;

/// Constraints as a template declares them.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct WrittenConstraints {
    #[serde(default)]
    allowed_values: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    range: Option<Range>,
    #[serde(default)]
    length: Option<Length>,
    #[serde(default)]
    allowed_pattern: Option<String>,
}

/// Bounds of a number, both included.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Range {
    #[serde(default)]
    min: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
}

/// Bounds of how many characters or items there are, both included.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Length {
    #[serde(default)]
    min: Option<usize>,
    #[serde(default)]
    max: Option<usize>,
}

impl WrittenConstraints {
    /// Checks that they make sense for `kind`, and reads the pattern, which has to match a value whole.
    pub(super) fn compile(
        &self,
        template: &Template<'_>,
        name: &str,
        kind: ParameterType,
        errors: &mut Vec<ManifestError>,
    ) -> Option<Regex> {
        let mut wrong = |key: &str, message: String| {
            let path = ["spec", "parameters", name, "constraints", key];
            errors.push(template.error(&path, message));
        };
        use ParameterType::{Boolean, List, Number, String as Text};
        let odd = |wanted: &str| format!("a {} has no such bound; a {wanted} has", kind.as_str());
        if self.range.is_some() && kind != Number {
            wrong("range", odd("number"));
        }
        if self.length.is_some() && matches!(kind, Number | Boolean) {
            wrong("length", odd("string or list"));
        }
        if self.allowed_pattern.is_some() && kind != Text {
            wrong("allowedPattern", odd("string"));
        }
        if self.allowed_values.is_some() && kind == List {
            wrong("allowedValues", odd("string, number or boolean"));
        }
        let empty = |min: Option<f64>, max: Option<f64>| match (min, max) {
            (None, None) => Some("write min, max or both".to_owned()),
            (Some(min), Some(max)) if min > max => Some(format!("{min} is more than {max}")),
            _ => None,
        };
        if let Some(message) = self.range.as_ref().and_then(|r| empty(r.min, r.max)) {
            wrong("range", message);
        }
        #[expect(clippy::cast_precision_loss, reason = "only for comparing the two")]
        let float = |bound: usize| bound as f64;
        let length = self.length.as_ref();
        let length = length.and_then(|l| empty(l.min.map(float), l.max.map(float)));
        if let Some(message) = length {
            wrong("length", message);
        }
        let pattern = self.allowed_pattern.as_ref()?;
        let mut builder = RegexBuilder::new(&format!("^(?:{pattern})$"));
        match builder.size_limit(PATTERN_OCTETS).build() {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                wrong("allowedPattern", format!("no regular expression: {last}"));
                None
            }
        }
    }
}

/// Why a value is not taken. Values themselves are not quoted: they may be hidden.
pub(super) fn check(
    template: &Template<'_>,
    declared: &Tree,
    written: &WrittenParameter,
    pattern: Option<&Regex>,
    value: &Value,
) -> Result<(), String> {
    let bounds = &written.constraints;
    if let Some(range) = &bounds.range
        && let Value::Number(text) = value
    {
        let number = text.parse::<f64>().unwrap_or(f64::NAN);
        let low = range.min.is_some_and(|min| number < min);
        let high = range.max.is_some_and(|max| number > max);
        if low || high {
            let span = span(range.min, range.max);
            return Err(format!("this must be {span}"));
        }
    }
    if let Some(length) = &bounds.length {
        let (count, what) = match value {
            Value::List(items) => (items.len(), "items"),
            other => (
                other.text().unwrap_or_default().chars().count(),
                "characters",
            ),
        };
        let low = length.min.is_some_and(|min| count < min);
        let high = length.max.is_some_and(|max| count > max);
        if low || high {
            let span = span(length.min, length.max);
            return Err(format!("this has {count} {what}; it must have {span}"));
        }
    }
    if let Some(pattern) = pattern
        && !pattern.is_match(value.text().unwrap_or_default())
    {
        let pattern = bounds.allowed_pattern.as_deref().unwrap_or_default();
        return Err(format!("this does not match {pattern}"));
    }
    let allowed = declared
        .get("constraints")
        .and_then(|constraints| constraints.get("allowedValues"));
    let allowed = allowed.and_then(Tree::items);
    if let (Some(_), Some(allowed)) = (&bounds.allowed_values, allowed) {
        let mut values = Vec::new();
        for item in allowed {
            values.push(Value::of_tree(&template.page, item, written.kind)?);
        }
        if !values.iter().any(|allowed| same(allowed, value)) {
            let words: Vec<_> = values.iter().filter_map(Value::text).collect();
            let word = value.text().unwrap_or_default();
            let hint = hint(word, "values", words).unwrap_or_default();
            return Err(format!("this is not one of those allowed; {hint}"));
        }
    }
    Ok(())
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.parse::<f64>().ok().map(f64::to_bits) == b.parse::<f64>().ok().map(f64::to_bits)
        }
        _ => a == b,
    }
}

fn span<T: std::fmt::Display>(min: Option<T>, max: Option<T>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("{min} or more"),
        (None, Some(max)) => format!("{max} or less"),
        (None, None) => "anything".to_owned(),
    }
}
