//! Reads manifests: strict YAML, several documents a file, every mistake answered with file,
//! line, column and what would be right. The whole set is taken or nothing.
//!
//! Each document is read twice: once into a tree that remembers where everything stands, so
//! that any later check can point at its place, and once into the resource's own type.

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
mod secret;
#[cfg(test)]
mod secret_tests;
mod split;
#[cfg(test)]
mod tests;
mod tree;
mod words;

pub(crate) use words::hint;

pub use error::ManifestError;
pub(crate) use place::Page;
pub(crate) use read::typed;
pub(crate) use tree::Tree;

use crate::resource::{Resource, ResourceId};
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

/// Resources that are sound, alone and together with those that exist.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// In the order they were written.
    pub resources: Vec<Resource>,
    /// What is odd but not wrong.
    pub warnings: Vec<ManifestError>,
}

/// A document that was read, and where everything in it stands.
pub(crate) struct Document<'a> {
    page: Page<'a>,
    tree: Tree,
    resource: Resource,
}

impl Document<'_> {
    /// A mistake at `path`, or at the nearest thing around it that exists.
    fn error(&self, path: &[&str], message: impl Into<String>) -> ManifestError {
        let (line, column) = self.tree.locate(path);
        self.page.error(line, column, message.into())
    }
}

/// Reads and validates several files as one.
pub fn load(sources: &[Source<'_>], context: Context<'_>) -> Result<Loaded, Vec<ManifestError>> {
    let mut errors = Vec::new();
    let mut documents = Vec::new();
    for source in sources {
        match parse(*source) {
            Ok(found) => documents.extend(found),
            Err(wrong) => errors.extend(wrong),
        }
    }
    if documents.is_empty() && errors.is_empty() {
        let name = sources.first().map_or("manifest", |source| source.name);
        errors.push(Page::new(name, "").error(0, 0, "there is no resource in it".to_owned()));
    }
    for document in &documents {
        check::check(document, &mut errors);
    }
    let mut warnings = Vec::new();
    cross::check(&documents, context, &mut errors, &mut warnings);
    if errors.is_empty() {
        let resources = documents
            .into_iter()
            .map(|document| document.resource)
            .collect();
        return Ok(Loaded {
            resources,
            warnings,
        });
    }
    Err(limit(errors))
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
fn parse<'a>(source: Source<'a>) -> Result<Vec<Document<'a>>, Vec<ManifestError>> {
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
