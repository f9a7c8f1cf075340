//! Compose files (compose-spec.io) as our resources: a pure translation of the subset that has a
//! meaning here. Every key is taken up, left out with a warning that says why nothing depends on
//! it, or refused with what to write instead; `keys` lists which is which.
//!
//! What is beside the file (variables, `.env`, files it names) is handed in.

mod depends;
mod deploy;
mod dotenv;
mod environment;
mod files;
mod health;
mod interpolate;
mod keys;
mod mounts;
mod network;
mod process;
mod project;
mod quantity;
mod service;
mod shell;
mod spot;
#[cfg(test)]
mod tests;
mod written;

use super::tree::Place;
use super::{Context, ManifestError, Page, Source, Tree, limit, read, split, too_large};
use crate::resource::{Name, Resource};
use spot::{Desk, Spot};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use written::{Made, written};

pub use written::Manifest;

/// The project that a resource was translated from; Docker's own label for it.
pub const PROJECT: &str = "com.docker.compose.project";
/// The service of that project.
pub const SERVICE: &str = "com.docker.compose.service";

/// Reads a file whose path is as the Compose file has it.
pub type Reader<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// What is around a Compose file.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The project's name where the caller says one.
    pub project: Option<&'a str>,
    /// Name of the directory that the file is in.
    pub directory: &'a str,
    /// Variables that values may name: the environment, over `.env`.
    pub variables: &'a BTreeMap<String, String>,
    /// Profiles that are on; `*` for all.
    pub profiles: &'a [String],
    /// Files that it names.
    pub read: &'a Reader<'a>,
}

/// A Compose file, translated.
#[derive(Clone, PartialEq)]
pub struct Translation {
    /// The project's name.
    pub project: Name,
    /// What was left out, and why.
    pub warnings: Vec<ManifestError>,
    /// The resources as manifests.
    pub text: String,
    made: Vec<Made>,
    /// First line of each in `text`.
    lines: Vec<usize>,
}

impl fmt::Debug for Translation {
    /// Secrets may be in its text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Translation({}, {:?})", self.project, self.made)
    }
}

impl Translation {
    /// What it became: secrets, then services in the order they were written.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.made.iter().map(|made| &made.resource)
    }

    /// The same as they are written, for other formats than YAML.
    pub fn manifests(&self) -> Vec<Manifest<'_>> {
        self.resources().map(Manifest::from).collect()
    }

    /// Line, column and keys of what made a line of [`Self::text`].
    pub fn origin(&self, line: u64) -> (Place, &str) {
        let before = |first: &&usize| u64::try_from(**first).is_ok_and(|first| first <= line);
        let behind = self.lines.iter().take_while(before);
        let found = behind.zip(&self.made).last();
        found.map_or(((1, 1), ""), |(_, made)| (made.place, &made.path))
    }
}

/// Variables of a `.env` file, under those of the environment.
pub fn variables(
    name: &str,
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ManifestError> {
    let lookup = |name: &str| environment.get(name).cloned();
    let found = dotenv::parse(text, &lookup)
        .map_err(|error| Page::new(name, text).error(error.line, 1, error.what))?;
    let said = found
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let mut variables: BTreeMap<_, _> = said.collect();
    variables.extend(environment.clone());
    Ok(variables)
}

/// Whether a file is a Compose file and no manifest: `services` at the top, and no `kind`.
pub fn is_compose(text: &str) -> bool {
    let parts = split::split(text);
    let Some(first) = parts.first() else {
        return false;
    };
    let tree: Result<Tree, _> = read::typed(&Page::new("", text), &first.text, None);
    match tree {
        Ok(tree) => is_project(&tree),
        // It cannot be read; what it was meant to be decides who explains why.
        Err(_) => {
            let begins = |word| first.text.lines().any(|line| line.starts_with(word));
            begins("services:") && !begins("kind:") && !begins("apiVersion:")
        }
    }
}

/// Whether a document is a Compose file's.
pub(super) fn is_project(tree: &Tree) -> bool {
    tree.get("services").is_some() && tree.get("kind").is_none()
}

/// Translates a Compose file, or tells all its mistakes.
pub fn translate(
    source: Source<'_>,
    around: Surroundings<'_>,
) -> Result<Translation, Vec<ManifestError>> {
    let page = Page::new(source.name, source.text);
    let tree = parsed(source, page).map_err(|error| vec![error])?;
    let desk = Desk::new(page, source.text);
    let tree = filled(&desk, &tree, around.variables);
    let root = Spot::root(&desk, &tree);
    let made = project::project(&root, around);
    if let Some(project) = made.filter(|_| desk.errors.borrow().is_empty()) {
        let (text, lines) = written(&project.made);
        let translation = Translation {
            project: project.name,
            warnings: sorted(desk.warnings.take()),
            text,
            made: project.made,
            lines,
        };
        return match judged(page, &translation) {
            errors if errors.is_empty() => Ok(translation),
            errors => Err(limit(errors)),
        };
    }
    Err(limit(sorted(desk.errors.take())))
}

fn sorted(mut told: Vec<ManifestError>) -> Vec<ManifestError> {
    told.sort_by_key(|error| (error.line, error.column));
    told
}

/// The file as a tree.
fn parsed(source: Source<'_>, page: Page<'_>) -> Result<Tree, ManifestError> {
    let text = source.text;
    if text.len() > super::MAX_BYTES {
        return Err(too_large(source.name, text.len()));
    }
    if let Some((line, column, control)) = split::control_character(text) {
        let code = u32::from(control);
        let message = format!("control character U+{code:04X} does not belong in a Compose file");
        return Err(page.error(line, column, message));
    }
    let parts = split::split(text);
    match parts.as_slice() {
        [] => Err(page.error(0, 0, "there is nothing in it".to_owned())),
        [only] => {
            // Lines are those of the file, whatever stands before the document.
            let above = "\n".repeat(only.first_line);
            read::typed(&page, &format!("{above}{}", only.text), None)
        }
        [_, second, ..] => {
            let message = "a Compose file is one document; put the others into files of their own";
            Err(page.error(second.first_line + 1, 1, message.to_owned()))
        }
    }
}

/// The tree with variables filled in.
fn filled(desk: &Desk<'_>, tree: &Tree, variables: &BTreeMap<String, String>) -> Tree {
    let lookup = |name: &str| variables.get(name).cloned();
    let mut told = BTreeSet::new();
    tree.map_scalars("", &mut |path, place, text| {
        if path.starts_with("x-") {
            return text.to_owned();
        }
        if let Some(written) = desk.written(place).and_then(|line| loses_zeros(line, text)) {
            let message = format!("{path}: {written} is read as the number {text}");
            let todo = format!("write \"{written}\" with its quotes");
            desk.wrong(place, message, Some(todo));
        }
        match interpolate::interpolate(text, &lookup) {
            Ok((filled, unset)) => {
                for name in unset {
                    if told.insert(name.clone()) {
                        let message =
                            format!("{path}: variable {name} is not set, so nothing stands for it");
                        desk.warn(place, message);
                    }
                }
                filled
            }
            Err(error) => {
                desk.wrong(place, format!("{path}: {error}"), Some(error.todo()));
                text.to_owned()
            }
        }
    })
}

/// A number as it is written when it begins with zeros, which YAML takes for nothing, or for base 8.
fn loses_zeros<'a>(line: &'a str, text: &str) -> Option<&'a str> {
    let end = line.find(|c: char| !c.is_ascii_digit());
    let (written, behind) = line.split_at(end.unwrap_or(line.len()));
    let ends = behind.is_empty() || behind.starts_with([' ', '\t', ',', ']', '}', '\r']);
    let number = text.bytes().all(|b| b.is_ascii_digit());
    (ends && number && written.starts_with('0') && written != text).then_some(written)
}

/// What any manifest is checked for, told where it came from.
fn judged(page: Page<'_>, translation: &Translation) -> Vec<ManifestError> {
    let context = Context {
        resources: &BTreeMap::new(),
        nodes: &BTreeSet::new(),
    };
    let source = Source {
        name: "",
        text: &translation.text,
    };
    let errors = match super::load(&[source], context) {
        Ok(_) => Vec::new(),
        Err(errors) => errors,
    };
    let told = errors.into_iter().map(|error| {
        let ((line, column), path) = translation.origin(error.line.into());
        let said = error.snippet.unwrap_or_default();
        let message = match said.trim() {
            "" => format!("{path}: {}", error.message),
            said => format!("{path}: {said}: {}", error.message),
        };
        ManifestError {
            hint: error.hint,
            ..page.error(line, column, message)
        }
    });
    told.collect()
}
