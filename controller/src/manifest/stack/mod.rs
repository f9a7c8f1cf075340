//! `kind: Stack`: a template with parameters, which becomes ordinary resources.
//!
//! `${name}` in a scalar is replaced by a parameter, `$${` stands for `${`. A scalar that is nothing
//! but `${name}` takes the parameter's type. Values are never looked into again, so that what comes
//! out is at most as long as what stands in the template times the longest value, and that is
//! bounded too ([`Room`]). Pure: what is given comes in, resources come out, and every mistake in
//! them points at the line of the template that it comes from.
//!
//! A hidden parameter may only go into the values of a Secret, which the vault takes up: nothing that
//! is stored or shown apart from it can then have it.

mod constraint;
mod given;
mod output;
mod owner;
mod parameter;
mod reference;
mod sheet;
#[cfg(test)]
mod tests;

pub use given::Parameters;
pub(super) use owner::{leaving, owners};
pub(super) use sheet::Room;

use super::secret::is_secret;
use super::tree::Shape;
use super::words::hint;
use super::{Document, ManifestError, Page, Tree, read};
use crate::resource::{ApiVersion, Kind, Metadata, Name, Stack};
use given::Given;
use parameter::{Known, WrittenParameter};
use reference::Part;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sheet::Sheet;
use std::collections::{BTreeMap, BTreeSet};

/// Written by itself, it is the stack's own name.
const OWN_NAME: &str = "stack";

/// A template as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    #[serde(rename = "kind")]
    _kind: Kind,
    metadata: Metadata,
    spec: WrittenSpec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenSpec {
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: BTreeMap<String, WrittenParameter>,
    #[serde(rename = "resources")]
    _resources: Vec<IgnoredAny>,
    #[serde(default)]
    outputs: BTreeMap<String, WrittenOutput>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenOutput {
    #[serde(default)]
    description: Option<String>,
    #[serde(rename = "value")]
    _value: IgnoredAny,
}

/// A template that was read, and where everything in it stands.
pub(super) struct Template<'a> {
    page: Page<'a>,
    tree: Tree,
    metadata: Metadata,
    spec: WrittenSpec,
}

/// What a template became.
#[derive(Default)]
pub(super) struct Expanded<'a> {
    pub(super) documents: Vec<Document<'a>>,
    pub(super) stacks: Vec<Stack>,
    pub(super) warnings: Vec<ManifestError>,
}

/// Reads a template without looking at what it says.
pub(super) fn read_template<'a>(
    page: Page<'a>,
    text: &str,
    tree: Tree,
) -> Result<Template<'a>, ManifestError> {
    let written: Written = read::typed(&page, text, Some(&tree))?;
    Ok(Template {
        page,
        tree,
        metadata: written.metadata,
        spec: written.spec,
    })
}

/// What a mistake on a line with a reference on it may come from.
pub(super) fn unquoted(page: &Page<'_>, error: ManifestError, line: usize) -> ManifestError {
    let reference = page.line(line).is_some_and(|text| text.contains("${"));
    match error.hint {
        None if reference => ManifestError {
            hint: Some("between { } or [ ] a reference needs quotes: \"${name}\"".to_owned()),
            ..error
        },
        _ => error,
    }
}

impl<'a> Template<'a> {
    pub(super) fn name(&self) -> &Name {
        &self.metadata.name
    }

    /// A mistake at `path`, or at the nearest thing around it that exists.
    pub(super) fn error(&self, path: &[&str], message: impl Into<String>) -> ManifestError {
        let (line, column) = self.tree.locate(path);
        self.page.error(line, column, message.into())
    }

    /// Its parameters with their values.
    fn values(
        &self,
        given: &Given<'_>,
        errors: &mut Vec<ManifestError>,
    ) -> BTreeMap<String, Known> {
        let mut values = BTreeMap::new();
        for (name, written) in &self.spec.parameters {
            let at = ["spec", "parameters", name];
            if !parameter::is_name(name) {
                let message = format!(
                    "parameter {name:?} must be 1 to 63 characters of a-z A-Z 0-9 _ -, the first a letter"
                );
                errors.push(self.error(&at, message));
            } else if name == OWN_NAME {
                let message = "${stack} is the name of the stack already; call it something else";
                errors.push(self.error(&at, message));
            } else if let Some(known) = parameter::settle(self, name, written, given, errors) {
                values.insert(name.clone(), known);
            }
        }
        values
    }
}

/// Expands all templates of a request with what was given.
pub(super) fn expand<'a>(
    templates: Vec<Template<'a>>,
    parameters: &Parameters,
    room: &mut Room,
    errors: &mut Vec<ManifestError>,
) -> Expanded<'a> {
    let mut expanded = Expanded::default();
    let declared: BTreeSet<&str> = templates
        .iter()
        .flat_map(|template| template.spec.parameters.keys())
        .map(String::as_str)
        .collect();
    let given = Given::read(parameters, &declared, !templates.is_empty(), errors);
    let mut names: BTreeMap<Name, ManifestError> = BTreeMap::new();
    for template in templates {
        let here = template.error(&["metadata", "name"], "");
        if let Some(first) = names.get(template.name()) {
            let message = format!(
                "Stack/{} is already at {}:{}:{}",
                template.name(),
                first.file,
                first.line,
                first.column
            );
            errors.push(template.error(&["metadata", "name"], message));
            continue;
        }
        names.insert(template.name().clone(), here);
        let before = errors.len();
        let values = template.values(&given, errors);
        if errors.len() == before {
            one(&template, &values, room, &mut expanded, errors);
        }
    }
    expanded
}

/// Expands one template.
fn one<'a>(
    template: &Template<'a>,
    values: &BTreeMap<String, Known>,
    room: &mut Room,
    expanded: &mut Expanded<'a>,
    errors: &mut Vec<ManifestError>,
) {
    let resources = template
        .tree
        .get("spec")
        .and_then(|spec| spec.get("resources"));
    let resources = resources.and_then(Tree::items).unwrap_or_default();
    if resources.is_empty() {
        let message = "a stack needs at least one resource";
        errors.push(template.error(&["spec", "resources"], message));
    }
    let first = errors.len();
    let mut members = BTreeSet::new();
    let mut shown = Vec::new();
    for resource in resources {
        let before = errors.len();
        let document = member(template, resource, values, room, expanded, errors);
        if let Some(mut document) = document.filter(|_| errors.len() == before) {
            document.stack = Some(template.name().clone());
            members.insert(document.resource.id());
            expanded.documents.push(document);
        }
        shown.push(reference::shown(resource, is_kind(resource, Kind::Secret)));
    }
    if errors.len() > first {
        return;
    }
    let outputs = output::read(template, values, &members, errors);
    let parameters = values.iter();
    let parameters = parameters.map(|(name, known)| (name.clone(), known.shown()));
    expanded.stacks.push(Stack {
        api_version: ApiVersion::V1,
        metadata: template.metadata.clone(),
        description: template.spec.description.clone(),
        parameters: parameters.collect(),
        members,
        outputs,
        template: shown,
    });
}

fn is_kind(resource: &Tree, kind: Kind) -> bool {
    resource.get("kind").and_then(Tree::scalar) == Some(kind.as_str())
}

/// Expands one resource and reads it.
fn member<'a>(
    template: &Template<'a>,
    resource: &Tree,
    values: &BTreeMap<String, Known>,
    room: &mut Room,
    expanded: &mut Expanded<'a>,
    errors: &mut Vec<ManifestError>,
) -> Option<Document<'a>> {
    let page = template.page;
    let wrong = |tree: &Tree, message: &str| {
        let (line, column) = tree.place();
        page.error(line, column, message.to_owned())
    };
    if !matches!(resource.shape(), Shape::Map(_)) {
        let message = "a resource is a mapping with apiVersion, kind, metadata and spec";
        errors.push(wrong(resource, message));
        return None;
    }
    if is_kind(resource, Kind::Stack) {
        errors.push(wrong(resource, "a stack holds no other stacks"));
        return None;
    }
    // What a resource is decides how its values are hidden, before anything is replaced.
    for key in ["apiVersion", "kind"] {
        let written = resource.get(key).and_then(Tree::scalar).unwrap_or_default();
        if written.contains("${") {
            let tree = resource.get(key).unwrap_or(resource);
            errors.push(wrong(tree, &format!("{key} has to be written out")));
            return None;
        }
    }
    let secret = is_kind(resource, Kind::Secret);
    let before = errors.len();
    let mut sheet = Sheet::new(template, values, secret, room, errors);
    sheet.write(resource);
    let (text, places, open) = sheet.done();
    for place in open {
        let message = "this goes into a secret, and none of its parameters is hidden: `kc describe stack` shows \
                       them; write hidden: true";
        expanded
            .warnings
            .push(page.error(place.0, place.1, message.to_owned()));
    }
    if errors.len() > before {
        return None;
    }
    let from = |line: usize| {
        let place = line.checked_sub(1).and_then(|index| places.get(index));
        place.copied().unwrap_or_else(|| resource.place())
    };
    let sheet = Page::new("", &text).hiding(page.is_hidden() || is_secret(&text));
    match read::read(sheet, &text) {
        Ok(read::Read::Document(document)) => Some(Document {
            page,
            tree: document.tree.moved(&|(line, _)| from(line)),
            resource: document.resource,
            stack: None,
        }),
        Ok(read::Read::Stack(_)) => None,
        Err(error) => {
            let (line, column) = from(usize::try_from(error.line).unwrap_or(usize::MAX));
            errors.push(ManifestError {
                hint: error.hint,
                ..page.error(line, column, error.message)
            });
            None
        }
    }
}

/// `name` is none of `known`.
fn unknown<'n>(
    name: &str,
    known: impl IntoIterator<Item = &'n String>,
) -> (String, Option<String>) {
    let known = known.into_iter().map(String::as_str);
    let hint = hint(name, "parameters", known);
    (format!("there is no parameter {name}"), hint)
}

/// The text of a scalar with its references.
fn parts(template: &Template<'_>, tree: &Tree, text: &str) -> Result<Vec<Part>, ManifestError> {
    let (line, column) = tree.place();
    let told = |message: String| {
        template
            .page
            .error(line, at(&template.page, line, column, "${"), message)
    };
    reference::parts(text).map_err(|unclosed| told(unclosed.to_string()))
}

/// The column of `what` on a line, when it stands there behind `column`; else `column`.
fn at(page: &Page<'_>, line: usize, column: usize, what: &str) -> usize {
    let text = page.line(line).unwrap_or_default();
    let before = text.char_indices().nth(column.saturating_sub(1));
    let found = before.and_then(|(start, _)| {
        let found = text.get(start..)?.find(what)?;
        Some(text.get(..start + found)?.chars().count() + 1)
    });
    found.unwrap_or(column)
}
