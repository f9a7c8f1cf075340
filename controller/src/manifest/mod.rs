//! Reads manifests: strict YAML, several documents a file, every mistake answered with file,
//! line, column and what would be right. The whole set is taken or nothing.
//!
//! Each document is read twice: once into a tree that remembers where everything stands, so
//! that any later check can point at its place, and once into the resource's own type.

mod alarm;
mod check;
pub mod compose;
mod container;
#[cfg(test)]
mod container_tests;
mod cross;
mod error;
mod health;
mod physical;
#[cfg(test)]
mod physical_tests;
mod place;
mod read;
mod scaling;
#[cfg(test)]
mod scaling_tests;
mod secret;
#[cfg(test)]
mod secret_tests;
mod split;
mod stack;
#[cfg(test)]
mod tests;
mod tree;
mod words;

pub(crate) use words::hint;

pub use error::ManifestError;
pub(crate) use place::Page;
pub(crate) use read::typed;
pub use stack::Parameters;
pub(crate) use tree::Tree;

use crate::resource::{Name, Resource, ResourceId, Stack};
use kc_agent_api::NodeName;
use std::collections::{BTreeMap, BTreeSet};

/// Longest manifest in bytes.
pub const MAX_BYTES: usize = 4 << 20;

/// Most documents in one file.
const MAX_DOCUMENTS: usize = 4096;

/// Most mistakes told at once.
const MAX_ERRORS: usize = 20;

/// One file as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

impl<'a> Source<'a> {
    /// Takes a file's bytes if they are text of a bearable size.
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_BYTES {
            return Err(too_large(name, bytes.len()));
        }
        let wrong = match std::str::from_utf8(bytes) {
            Ok(text) => return Ok(Self { name, text }),
            Err(wrong) => wrong.valid_up_to(),
        };
        let good = bytes
            .get(..wrong)
            .and_then(|good| std::str::from_utf8(good).ok());
        let good = good.unwrap_or_default();
        let last = good.rsplit('\n').next().unwrap_or_default();
        let page = Page::new(name, good).hiding(secret::is_secret(good));
        let line = good.matches('\n').count() + 1;
        Err(page.error(
            line,
            last.chars().count() + 1,
            "this byte is no UTF-8 text".to_owned(),
        ))
    }
}

fn too_large(name: &str, bytes: usize) -> ManifestError {
    let tenths = bytes / ((1 << 20) / 10);
    let message = format!(
        "the file has {}.{} MiB; a manifest may have at most {} MiB",
        tenths / 10,
        tenths % 10,
        MAX_BYTES >> 20
    );
    Page::new(name, "").error(0, 0, message)
}

/// What manifests are checked against.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Resources that exist already.
    pub resources: &'a BTreeMap<ResourceId, Resource>,
    /// Nodes that registered themselves.
    pub nodes: &'a BTreeSet<NodeName>,
}

/// What else is asked, where there are stacks.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Stacks that exist already.
    pub stacks: &'a BTreeMap<Name, Stack>,
    /// Values of parameters.
    pub parameters: &'a Parameters,
    /// Whether resources that exist and belong to no stack become those of the stack that has them.
    pub adopt: bool,
}

/// Resources that are sound, alone and together with those that exist.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// In the order they were written.
    pub resources: Vec<Resource>,
    /// Stacks; their members are among the resources.
    pub stacks: Vec<Stack>,
    /// What is odd but not wrong.
    pub warnings: Vec<ManifestError>,
}

/// A document that was read, and where everything in it stands.
pub(crate) struct Document<'a> {
    page: Page<'a>,
    tree: Tree,
    resource: Resource,
    /// The stack it belongs to.
    stack: Option<Name>,
}

impl Document<'_> {
    /// A mistake at `path`, or at the nearest thing around it that exists.
    fn error(&self, path: &[&str], message: impl Into<String>) -> ManifestError {
        let (line, column) = self.tree.locate(path);
        self.page.error(line, column, message.into())
    }
}

/// Reads and validates several files as one, where there are no stacks yet and no parameters.
pub fn load(sources: &[Source<'_>], context: Context<'_>) -> Result<Loaded, Vec<ManifestError>> {
    let asked = Asked {
        stacks: &BTreeMap::new(),
        parameters: &Parameters::default(),
        adopt: false,
    };
    load_with(sources, context, asked)
}

/// Reads and validates several files as one.
pub fn load_with(
    sources: &[Source<'_>],
    context: Context<'_>,
    asked: Asked<'_>,
) -> Result<Loaded, Vec<ManifestError>> {
    let mut errors = Vec::new();
    let (mut documents, templates) = parse_all(sources, &mut errors);
    let mut room = stack::Room::default();
    let expanded = stack::expand(templates, asked.parameters, &mut room, &mut errors);
    documents.extend(expanded.documents);
    if documents.len() > MAX_DOCUMENTS {
        let message = format!(
            "{} resources; at most {MAX_DOCUMENTS} are taken",
            documents.len()
        );
        errors.push(whole(sources, message));
        return Err(errors);
    }
    for document in &documents {
        check::check(document, &mut errors);
    }
    let mut warnings = expanded.warnings;
    stack::owners(&documents, context, asked, &mut errors, &mut warnings);
    let leaving = stack::leaving(asked.stacks, &expanded.stacks);
    let staying: BTreeMap<ResourceId, Resource>;
    let context = match leaving.is_empty() {
        true => context,
        false => {
            let all = context.resources.iter();
            let all = all.filter(|(id, _)| !leaving.contains(*id));
            staying = all.map(|(id, known)| (id.clone(), known.clone())).collect();
            Context {
                resources: &staying,
                ..context
            }
        }
    };
    cross::check(&documents, context, &mut errors, &mut warnings);
    if errors.is_empty() {
        let resources = documents
            .into_iter()
            .map(|document| document.resource)
            .collect();
        return Ok(Loaded {
            resources,
            stacks: expanded.stacks,
            warnings,
        });
    }
    Err(limit(errors))
}

/// What files name, for those who only want to know that.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Named {
    /// Resources that stand in them by themselves.
    pub resources: Vec<Resource>,
    /// Stacks, whose resources are known by what was applied.
    pub stacks: Vec<Name>,
}

/// Reads several files as one for what they name.
pub fn name(sources: &[Source<'_>]) -> Result<Named, Vec<ManifestError>> {
    let mut errors = Vec::new();
    let (documents, templates) = parse_all(sources, &mut errors);
    for document in &documents {
        check::check(document, &mut errors);
    }
    cross::twice(&documents, &mut errors);
    if !errors.is_empty() {
        return Err(limit(errors));
    }
    let resources = documents.into_iter().map(|document| document.resource);
    let stacks = templates.iter().map(|template| template.name().clone());
    Ok(Named {
        resources: resources.collect(),
        stacks: stacks.collect(),
    })
}

/// Reads all files without looking at what is in them.
fn parse_all<'a>(
    sources: &[Source<'a>],
    errors: &mut Vec<ManifestError>,
) -> (Vec<Document<'a>>, Vec<stack::Template<'a>>) {
    let (mut documents, mut templates) = (Vec::new(), Vec::new());
    for source in sources {
        match parse(*source) {
            Ok(found) => {
                for read in found {
                    match read {
                        read::Read::Document(document) => documents.push(*document),
                        read::Read::Stack(template) => templates.push(*template),
                    }
                }
            }
            Err(wrong) => errors.extend(wrong),
        }
    }
    if documents.is_empty() && templates.is_empty() && errors.is_empty() {
        errors.push(whole(sources, "there is no resource in it".to_owned()));
    }
    (documents, templates)
}

fn whole(sources: &[Source<'_>], message: String) -> ManifestError {
    let name = sources.first().map_or("manifest", |source| source.name);
    Page::new(name, "").error(0, 0, message)
}

/// As many mistakes as can be read, and how many more there are.
fn limit(mut errors: Vec<ManifestError>) -> Vec<ManifestError> {
    let more = errors.len().saturating_sub(MAX_ERRORS);
    errors.truncate(MAX_ERRORS);
    if let Some(last) = errors.last_mut().filter(|_| more > 0) {
        last.message
            .push_str(&format!(" (and {more} more mistakes)"));
    }
    errors
}

/// Reads one file without looking at anything else.
fn parse<'a>(source: Source<'a>) -> Result<Vec<read::Read<'a>>, Vec<ManifestError>> {
    if source.text.len() > MAX_BYTES {
        return Err(vec![too_large(source.name, source.text.len())]);
    }
    let page = Page::new(source.name, source.text);
    let whole = page.hiding(secret::is_secret(source.text));
    if let Some((line, column, control)) = split::control_character(source.text) {
        let code = u32::from(control);
        let message = format!("control character U+{code:04X} does not belong in a manifest");
        return Err(vec![whole.error(line, column, message)]);
    }
    let parts = split::split(source.text);
    if parts.len() > MAX_DOCUMENTS {
        let message = format!(
            "{} documents; at most {MAX_DOCUMENTS} are taken",
            parts.len()
        );
        return Err(vec![page.error(0, 0, message)]);
    }
    let mut documents = Vec::new();
    let mut errors = Vec::new();
    for part in parts {
        match read::read(
            page.at(part.first_line)
                .hiding(secret::is_secret(&part.text)),
            &part.text,
        ) {
            Ok(document) => documents.push(document),
            Err(error) => errors.push(error),
        }
        if errors.len() > MAX_ERRORS {
            break;
        }
    }
    if errors.is_empty() {
        Ok(documents)
    } else {
        Err(errors)
    }
}
