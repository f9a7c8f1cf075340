//! Writes a resource of a template with its parameters filled in, one thing a line, so that whatever
//! the ordinary reader of manifests says of a line can be said of the place it was made from.

use super::parameter::{Known, Value};
use super::reference::Part;
use super::{OWN_NAME, Template, at, parts, unknown};
use crate::manifest::tree::{Place, Shape, Tree};
use crate::manifest::{MAX_BYTES, ManifestError};
use std::collections::BTreeMap;

/// How much may still come out of all templates of one request. Values cannot refer to anything, so
/// that a template can only grow by a factor; this bounds the product.
#[derive(Debug)]
pub(in crate::manifest) struct Room {
    octets: usize,
    told: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            octets: 2 * MAX_BYTES,
            told: false,
        }
    }
}

/// See the module.
pub(super) struct Sheet<'s, 'a> {
    template: &'s Template<'a>,
    values: &'s BTreeMap<String, Known>,
    room: &'s mut Room,
    errors: &'s mut Vec<ManifestError>,
    /// Whether it is a Secret.
    secret: bool,
    /// Whether what is written now is the value of a secret.
    vault: bool,
    text: String,
    places: Vec<Place>,
    /// Values of secrets that are made of parameters, and none of them hidden.
    open: Vec<Place>,
}

impl<'s, 'a> Sheet<'s, 'a> {
    pub(super) fn new(
        template: &'s Template<'a>,
        values: &'s BTreeMap<String, Known>,
        secret: bool,
        room: &'s mut Room,
        errors: &'s mut Vec<ManifestError>,
    ) -> Self {
        Self {
            template,
            values,
            room,
            errors,
            secret,
            vault: false,
            text: String::new(),
            places: Vec::new(),
            open: Vec::new(),
        }
    }

    /// The text, where each of its lines comes from, and values of secrets that anybody can read.
    pub(super) fn done(self) -> (String, Vec<Place>, Vec<Place>) {
        (self.text, self.places, self.open)
    }

    fn line(&mut self, place: Place, token: &str) {
        let Some(left) = self.room.octets.checked_sub(token.len() + 1) else {
            self.room.octets = 0;
            if !std::mem::replace(&mut self.room.told, true) {
                let message = format!(
                    "with its parameters filled in this is longer than {} MiB",
                    (2 * MAX_BYTES) >> 20
                );
                self.errors
                    .push(self.template.page.error(place.0, place.1, message));
            }
            return;
        };
        self.room.octets = left;
        self.text.push_str(token);
        self.text.push('\n');
        self.places.push(place);
    }

    /// Writes a resource.
    pub(super) fn write(&mut self, resource: &Tree) {
        let Shape::Map(entries) = resource.shape() else {
            return;
        };
        self.line(resource.place(), "{");
        for (key, place, value) in entries {
            self.vault = self.secret && matches!(key.as_str(), "data" | "stringData");
            self.entry(key, *place, value);
        }
        self.line(resource.place(), "}");
    }

    fn entry(&mut self, key: &str, place: Place, value: &Tree) {
        if key.contains("${") {
            let message = "a parameter can be a value, not the name of a field";
            self.wrong(place, message.to_owned(), None);
        }
        self.line(place, &format!("{}:", quoted(key)));
        self.node(value);
        self.line(place, ",");
    }

    fn node(&mut self, tree: &Tree) {
        let place = tree.place();
        if self.room.octets == 0 {
            return;
        }
        match tree.shape() {
            Shape::Map(entries) => {
                self.line(place, "{");
                for (key, place, value) in entries {
                    self.entry(key, *place, value);
                }
                self.line(place, "}");
            }
            Shape::Sequence(items) => {
                self.line(place, "[");
                for item in items {
                    self.node(item);
                    self.line(place, ",");
                }
                self.line(place, "]");
            }
            Shape::Null => self.line(place, "null"),
            Shape::Plain(text) => {
                let raw = super::parameter::raw(&self.template.page, place, text);
                self.line(place, &raw);
            }
            Shape::Text(text) => self.scalar(tree, text),
        }
    }

    fn scalar(&mut self, tree: &Tree, text: &str) {
        let place = tree.place();
        if !text.contains('$') {
            return self.line(place, &quoted(text));
        }
        let parts = match parts(self.template, tree, text) {
            Ok(parts) => parts,
            Err(error) => return self.errors.push(error),
        };
        if let [Part::Reference(name)] = parts.as_slice() {
            if let Some(value) = self.value(name, place, true) {
                self.put(place, &value);
            }
            return;
        }
        let mut whole = String::new();
        for part in &parts {
            match part {
                Part::Text(text) => whole.push_str(text),
                Part::Reference(name) => {
                    let Some(value) = self.value(name, place, false) else {
                        continue;
                    };
                    match value.text() {
                        Some(text) => whole.push_str(text),
                        None => {
                            let message = format!(
                                "{name} is a list, and cannot be put into text; write it by itself"
                            );
                            self.wrong(place, message, Some(name));
                        }
                    }
                }
            }
            if whole.len() > self.room.octets {
                self.line(place, &whole);
                return;
            }
        }
        let references = parts.iter().filter_map(|part| match part {
            Part::Reference(name) => Some(name),
            Part::Text(_) => None,
        });
        let hidden = |name: &String| self.values.get(name).is_some_and(|known| known.hidden);
        let mut references = references.peekable();
        if self.vault && references.peek().is_some() && !references.any(hidden) {
            self.open.push(place);
        }
        self.line(place, &quoted(&whole));
    }

    /// What a reference stands for. `whole` when there is nothing beside it.
    fn value(&mut self, name: &str, place: Place, whole: bool) -> Option<Value> {
        if name == OWN_NAME {
            return Some(Value::Text(self.template.name().to_string()));
        }
        if name.contains('/') {
            let message = format!("{name} is an attribute of a resource; only outputs can have it");
            self.wrong(place, message, Some(name));
            return None;
        }
        let Some(known) = self.values.get(name) else {
            let (message, hint) = unknown(name, self.values.keys());
            let (line, column) = place;
            let page = &self.template.page;
            let column = at(page, line, column, &format!("${{{name}"));
            self.errors.push(ManifestError {
                hint: hint.or_else(|| Some("for text write $${".to_owned())),
                ..page.error(line, column, message)
            });
            return None;
        };
        if known.hidden && !self.vault {
            let message = format!(
                "{name} is hidden, and this would be stored and shown; put it into stringData of a Secret, and \
                 name that in spec.secrets of what needs it"
            );
            self.wrong(place, message, Some(name));
            return None;
        }
        if self.vault && whole && !known.hidden {
            self.open.push(place);
        }
        Some(known.value.clone())
    }

    fn put(&mut self, place: Place, value: &Value) {
        match value {
            Value::Text(text) => self.line(place, &quoted(text)),
            Value::Number(text) => self.line(place, text),
            Value::Boolean(value) => self.line(place, &value.to_string()),
            Value::List(items) => {
                self.line(place, "[");
                for item in items {
                    self.put(place, item);
                    self.line(place, ",");
                }
                self.line(place, "]");
            }
        }
    }

    fn wrong(&mut self, (line, column): Place, message: String, name: Option<&str>) {
        let page = &self.template.page;
        let column = name.map_or(column, |name| at(page, line, column, &format!("${{{name}")));
        self.errors.push(page.error(line, column, message));
    }
}

/// Text as YAML has it between double quotes, on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            // Not all of these would YAML let stand.
            c if c.is_control()
                || matches!(
                    c,
                    '\u{feff}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}'
                ) =>
            {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
