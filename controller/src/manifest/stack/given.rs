//! Values of parameters as users give them: `-p name=value`, and files of them.

use super::parameter::{Value, undeclared};
use crate::manifest::{ManifestError, Page, Source, Tree, typed};
use crate::resource::ParameterType;
use std::collections::{BTreeMap, BTreeSet};

/// Longest value in octets: many a reference may stand for it.
const MAX_VALUE: usize = 64 << 10;

/// What a user gives. The later wins, and single values win over files.
#[derive(Clone, Default)]
pub struct Parameters {
    /// `name=value`.
    pub single: Vec<String>,
    /// Names of files, and mappings of names to values in YAML.
    pub files: Vec<(String, String)>,
}

impl std::fmt::Debug for Parameters {
    /// Some may be hidden.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (single, files) = (self.single.len(), self.files.len());
        write!(f, "Parameters({single} and {files} files)")
    }
}

/// The same, taken apart.
pub(super) struct Given<'a> {
    single: BTreeMap<&'a str, &'a str>,
    files: Vec<(Page<'a>, Tree)>,
}

/// Where a value was given.
pub(super) enum Place<'g, 'a> {
    Single,
    File(&'g Page<'a>, crate::manifest::tree::Place),
}

impl Place<'_, '_> {
    /// A mistake in the value of `name`. No value is ever quoted.
    pub(super) fn error(&self, name: &str, message: &str) -> ManifestError {
        match self {
            Self::Single => at(&format!("-p {name}"), message.to_owned()),
            Self::File(page, (line, column)) => {
                page.error(*line, *column, format!("{name}: {message}"))
            }
        }
    }
}

fn at(file: &str, message: String) -> ManifestError {
    Page::new(file, "").error(0, 0, message)
}

impl<'a> Given<'a> {
    /// Reads what was given, and refuses what no template of the request declares.
    pub(super) fn read(
        parameters: &'a Parameters,
        declared: &BTreeSet<&str>,
        stacks: bool,
        errors: &mut Vec<ManifestError>,
    ) -> Self {
        let mut given = Self {
            single: BTreeMap::new(),
            files: Vec::new(),
        };
        for text in &parameters.single {
            match text.split_once('=') {
                Some((name, value)) if value.len() <= MAX_VALUE => {
                    given.single.insert(name, value);
                }
                Some((name, _)) => errors.push(Place::Single.error(name, &too_long())),
                None => errors.push(at("-p", "a parameter is given as NAME=VALUE".to_owned())),
            }
        }
        for (name, text) in &parameters.files {
            match file(name, text) {
                Ok(read) => given.files.push(read),
                Err(error) => errors.push(error),
            }
        }
        // A stack that cannot be read may declare anything.
        if !errors.is_empty() {
            return given;
        }
        if !stacks && (!given.single.is_empty() || !given.files.is_empty()) {
            let message =
                "parameters are for stacks, and there is no `kind: Stack` in the manifests";
            errors.push(at("-p", message.to_owned()));
            return given;
        }
        let words: Vec<String> = declared.iter().map(|name| (*name).to_owned()).collect();
        for name in given.single.keys().filter(|name| !declared.contains(*name)) {
            let (message, hint) = undeclared(name, &words);
            let error = at(&format!("-p {name}"), message);
            errors.push(ManifestError { hint, ..error });
        }
        for (page, tree) in &given.files {
            for (name, (line, column), value) in tree.entries().unwrap_or_default() {
                let long = |text: &str| text.len() > MAX_VALUE;
                if !declared.contains(name.as_str()) {
                    let (message, hint) = undeclared(name, &words);
                    let error = page.error(*line, *column, message);
                    errors.push(ManifestError { hint, ..error });
                } else if value.scalar().is_some_and(long) {
                    errors.push(Place::File(page, (*line, *column)).error(name, &too_long()));
                }
            }
        }
        given
    }

    /// What was given for a parameter, and where.
    pub(super) fn get(
        &self,
        name: &str,
        kind: ParameterType,
    ) -> Option<(Result<Value, String>, Place<'_, 'a>)> {
        if let Some(text) = self.single.get(name) {
            return Some((Value::of_text(text, kind), Place::Single));
        }
        self.files.iter().rev().find_map(|(page, tree)| {
            let value = tree.get(name)?;
            let place = Place::File(page, value.place());
            Some((Value::of_tree(page, value, kind), place))
        })
    }
}

fn too_long() -> String {
    format!("a value may have at most {} KiB", MAX_VALUE >> 10)
}

/// Reads a file of parameters. No line of it is shown: any may be a hidden one's.
fn file<'a>(name: &'a str, text: &'a str) -> Result<(Page<'a>, Tree), ManifestError> {
    Source::new(name, text.as_bytes())?;
    let page = Page::new(name, text).hiding(true);
    let tree: Tree = typed(&page, text, None)?;
    if tree.entries().is_none() {
        let message = "parameters are written NAME: VALUE, a line each";
        return Err(page.error(1, 1, message.to_owned()));
    }
    Ok((page, tree))
}
