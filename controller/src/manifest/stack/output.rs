//! Outputs of a template: text, parameters, and attributes of members, which are whatever
//! `kc get KIND NAME -o json` has. A field that a view gets can be had here without further ado.

use super::parameter::Known;
use super::reference::Part;
use super::{OWN_NAME, Template, at, parts};
use crate::manifest::ManifestError;
use crate::manifest::tree::{Shape, Tree};
use crate::manifest::words::hint;
use crate::resource::{Output, Piece, ResourceId};
use crate::views::attributes;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Deepest path to an attribute.
const MAX_STEPS: usize = 8;

/// Reads all outputs of a template.
pub(super) fn read(
    template: &Template<'_>,
    values: &BTreeMap<String, Known>,
    members: &BTreeSet<ResourceId>,
    errors: &mut Vec<ManifestError>,
) -> BTreeMap<String, Output> {
    let mut outputs = BTreeMap::new();
    for (name, written) in &template.spec.outputs {
        let tree = template.tree.get("spec").and_then(|s| s.get("outputs"));
        let Some(tree) = tree.and_then(|o| o.get(name)?.get("value")) else {
            continue;
        };
        let desk = Desk {
            template,
            values,
            members,
            tree,
        };
        match desk.pieces() {
            Ok(value) => {
                let description = written.description.clone();
                outputs.insert(name.clone(), Output { description, value });
            }
            Err(error) => errors.push(*error),
        }
    }
    outputs
}

struct Desk<'d, 'a> {
    template: &'d Template<'a>,
    values: &'d BTreeMap<String, Known>,
    members: &'d BTreeSet<ResourceId>,
    tree: &'d Tree,
}

impl Desk<'_, '_> {
    fn pieces(&self) -> Result<Vec<Piece>, Box<ManifestError>> {
        let text = match self.tree.shape() {
            Shape::Text(text) => text,
            Shape::Plain(_) => {
                return Ok(vec![Piece::Text(super::reference::json(self.tree, true))]);
            }
            Shape::Map(_) | Shape::Sequence(_) | Shape::Null => {
                return Err(self.wrong("", "an output is text, a number, true or false", None));
            }
        };
        let parts = parts(self.template, self.tree, text)?;
        let pieces = parts.into_iter().map(|part| match part {
            Part::Text(text) => Ok(Piece::Text(Json::String(text))),
            Part::Reference(name) => self.reference(&name),
        });
        pieces.collect()
    }

    fn reference(&self, name: &str) -> Result<Piece, Box<ManifestError>> {
        if name == OWN_NAME {
            return Ok(Piece::Text(Json::String(self.template.name().to_string())));
        }
        if let Some(known) = self.values.get(name) {
            if known.hidden {
                let message = format!("{name} is hidden, and an output is there for all to read");
                return Err(self.wrong(name, &message, None));
            }
            return Ok(Piece::Text(known.value.json()));
        }
        let Some((kind, rest)) = name.split_once('/') else {
            let (message, hint) = super::unknown(name, self.values.keys());
            let hint = hint.unwrap_or_default();
            let hint = format!("{hint}; attributes are written ${{service/web.replicas}}");
            let hint = hint.trim_start_matches("; ").to_owned();
            return Err(self.wrong(name, &message, Some(hint)));
        };
        let (of, path) = rest.split_once('.').unwrap_or((rest, ""));
        let known = || {
            let members = self.members.iter().map(crate::execute::object);
            members.collect::<Vec<_>>()
        };
        let kind = match kind {
            "function" => "servicefunction",
            kind => kind,
        };
        let id = format!("{kind}/{of}").parse::<ResourceId>().ok();
        let Some(id) = id.filter(|id| self.members.contains(id)) else {
            let known = known();
            let word = format!("{kind}/{of}");
            let hint = hint(&word, "resources", known.iter().map(String::as_str));
            let message = format!("the stack has no {word}");
            return Err(self.wrong(name, &message, hint));
        };
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        let fields = attributes(id.kind);
        let first = path.first().map_or("", String::as_str);
        if !fields.iter().any(|field| field == first) {
            let what = crate::execute::object(&id);
            let hint = hint(first, "attributes", fields.iter().map(String::as_str));
            let message = format!("{what} has no attribute {first:?}");
            return Err(self.wrong(name, &message, hint));
        }
        if path.len() > MAX_STEPS || path.iter().any(String::is_empty) {
            let message = format!("an attribute is 1 to {MAX_STEPS} names with points between");
            return Err(self.wrong(name, &message, None));
        }
        Ok(Piece::Attribute { of: id, path })
    }

    fn wrong(&self, name: &str, message: &str, hint: Option<String>) -> Box<ManifestError> {
        let (line, column) = self.tree.place();
        let page = &self.template.page;
        let column = at(page, line, column, &format!("${{{name}"));
        Box::new(ManifestError {
            hint,
            ..page.error(line, column, message.to_owned())
        })
    }
}
