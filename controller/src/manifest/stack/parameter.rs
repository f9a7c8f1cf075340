//! Parameters: what they may be, and what they are.

use super::constraint::{WrittenConstraints, check};
use super::given::Given;
use super::{Template, unknown};
use crate::manifest::tree::{Place, Shape, Tree};
use crate::manifest::{ManifestError, Page};
use crate::resource::{Parameter, ParameterType};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value as Json;

/// Most items of a list.
const MAX_ITEMS: usize = 1000;

/// A parameter as a template declares it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct WrittenParameter {
    #[serde(rename = "type")]
    pub(super) kind: ParameterType,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    default: Option<IgnoredAny>,
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    pub(super) constraints: WrittenConstraints,
}

/// A value.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// As it was written.
    Number(String),
    Boolean(bool),
    /// Of anything but lists.
    List(Vec<Self>),
}

impl Value {
    /// As a part of text; `None` for a list.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Boolean(true) => Some("true"),
            Self::Boolean(false) => Some("false"),
            Self::List(_) => None,
        }
    }

    pub(super) fn json(&self) -> Json {
        match self {
            Self::Text(text) => Json::String(text.clone()),
            Self::Number(text) => {
                serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.clone()))
            }
            Self::Boolean(value) => Json::Bool(*value),
            Self::List(items) => Json::Array(items.iter().map(Self::json).collect()),
        }
    }

    /// A value as the command line has it.
    pub(super) fn of_text(text: &str, kind: ParameterType) -> Result<Self, String> {
        match kind {
            ParameterType::String => Ok(Self::Text(text.to_owned())),
            ParameterType::Number if is_number(text) => Ok(Self::Number(text.to_owned())),
            ParameterType::Number => Err("this must be a number".to_owned()),
            ParameterType::Boolean => match text {
                "true" => Ok(Self::Boolean(true)),
                "false" => Ok(Self::Boolean(false)),
                _ => Err("this must be true or false".to_owned()),
            },
            ParameterType::List => {
                let items = text.split(',').map(str::trim);
                let items = items.filter(|_| !text.trim().is_empty());
                let items = items.map(|item| match item {
                    "true" => Self::Boolean(true),
                    "false" => Self::Boolean(false),
                    item if is_number(item) => Self::Number(item.to_owned()),
                    item => Self::Text(item.to_owned()),
                });
                short(items.collect())
            }
        }
    }

    /// A value as a file has it.
    pub(super) fn of_tree(
        page: &Page<'_>,
        tree: &Tree,
        kind: ParameterType,
    ) -> Result<Self, String> {
        match (tree.shape(), kind) {
            (Shape::Text(text), _) => Self::of_text(text, kind),
            (Shape::Plain(text), ParameterType::String) => {
                Ok(Self::Text(raw(page, tree.place(), text)))
            }
            (Shape::Plain(text), ParameterType::Number | ParameterType::Boolean) => {
                Self::of_text(&raw(page, tree.place(), text), kind)
            }
            (Shape::Sequence(items), ParameterType::List) => {
                let items = items.iter().map(|item| match item.shape() {
                    Shape::Text(text) => Ok(Self::Text(text.to_owned())),
                    Shape::Plain(text @ ("true" | "false")) => Ok(Self::Boolean(text == "true")),
                    Shape::Plain(text) => Ok(Self::Number(raw(page, item.place(), text))),
                    Shape::Map(_) | Shape::Sequence(_) | Shape::Null => {
                        Err("a list is of strings, numbers, true and false".to_owned())
                    }
                });
                short(items.collect::<Result<_, _>>()?)
            }
            (_, ParameterType::List) => {
                Err("this must be a list: [a, b], or text with commas".to_owned())
            }
            (_, kind) => Err(format!("this must be a {}", kind.as_str())),
        }
    }
}

fn short(items: Vec<Value>) -> Result<Value, String> {
    match items.len() > MAX_ITEMS {
        true => Err(format!(
            "{} items; at most {MAX_ITEMS} are taken",
            items.len()
        )),
        false => Ok(Value::List(items)),
    }
}

/// A parameter, and what it is.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) value: Value,
    pub(super) hidden: bool,
    kind: ParameterType,
    description: Option<String>,
    default: bool,
}

impl Known {
    /// What may be kept of it.
    pub(super) fn shown(&self) -> Parameter {
        Parameter {
            kind: self.kind,
            description: self.description.clone(),
            value: (!self.hidden).then(|| self.value.json()),
            hidden: self.hidden,
            default: self.default,
        }
    }
}

/// Whether text can be the name of a parameter.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    name.len() <= 63
        && name.bytes().all(plain)
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
}

/// Whether text is a number that JSON and YAML agree on, also one with zeros before it.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || b".eE+-".contains(&b))
        && text.len() <= 64
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// What a number, `true` or `false` was written as: `1.10` is no `1.1` when it is a version.
pub(super) fn raw(page: &Page<'_>, (line, column): Place, usual: &str) -> String {
    let text = page.line(line).unwrap_or_default();
    let rest = text.chars().skip(column.saturating_sub(1));
    let token: String = rest
        .take_while(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c))
        .take(65)
        .collect();
    let same = token
        .parse::<f64>()
        .ok()
        .zip(usual.parse::<f64>().ok())
        .is_some_and(|(token, usual)| token.to_bits() == usual.to_bits());
    match same && is_number(&token) {
        true => token,
        false => usual.to_owned(),
    }
}

/// Finds the value of a parameter: what was given, else its default.
pub(super) fn settle(
    template: &Template<'_>,
    name: &str,
    written: &WrittenParameter,
    given: &Given<'_>,
    errors: &mut Vec<ManifestError>,
) -> Option<Known> {
    let before = errors.len();
    let at = |key| ["spec", "parameters", name, key];
    check_default(template, name, written, errors);
    let pattern = written
        .constraints
        .compile(template, name, written.kind, errors);
    if errors.len() > before {
        return None;
    }
    let declared = template.tree.get("spec")?.get("parameters")?.get(name)?;
    let bounds = |value: &Value| check(template, declared, written, pattern.as_ref(), value);
    let whole =
        |value: Result<Value, String>| value.and_then(|value| bounds(&value).map(|()| value));
    let (value, default) = match (given.get(name, written.kind), declared.get("default")) {
        (Some((value, place)), _) => {
            let value = whole(value).map_err(|message| place.error(name, &message));
            (value, false)
        }
        (None, Some(tree)) if written.default.is_some() => {
            let value = whole(Value::of_tree(&template.page, tree, written.kind));
            let value = value.map_err(|message| template.error(&at("default"), message));
            (value, true)
        }
        (None, _) => {
            let message = format!(
                "parameter {name} has no default and was not given: -p {name}={}",
                written.kind.as_str().to_uppercase()
            );
            let path = ["spec", "parameters", name];
            (Err(template.error(&path, message)), false)
        }
    };
    match value {
        Ok(value) => Some(Known {
            value,
            hidden: written.hidden,
            kind: written.kind,
            description: written.description.clone(),
            default,
        }),
        Err(error) => {
            errors.push(error);
            None
        }
    }
}

/// A default is in the template for everybody to read.
fn check_default(
    template: &Template<'_>,
    name: &str,
    written: &WrittenParameter,
    errors: &mut Vec<ManifestError>,
) {
    if written.hidden && written.default.is_some() {
        let message =
            format!("{name} is hidden, and a default is there for all to read; leave it out");
        let (line, column) = template
            .tree
            .locate(&["spec", "parameters", name, "default"]);
        errors.push(template.page.hiding(true).error(line, column, message));
    }
}

/// `name` is not declared.
pub(super) fn undeclared(name: &str, declared: &[String]) -> (String, Option<String>) {
    unknown(name, declared)
}
