//! A place in a Compose file: what is written there, under which keys, and how to speak of it.
//! Mistakes are collected, so that one run tells all of them.

use super::super::tree::Place;
use super::super::words::{hint, nearest};
use super::super::{ManifestError, Page, Tree};
use std::cell::RefCell;

/// Most that is kept of mistakes, and of oddities: nobody reads more.
const MOST: usize = 200;
/// Most keys that are listed to who wrote another.
const MOST_KEYS: usize = 20;
/// Last column that is looked at in a line.
const WIDEST: usize = 1_000;

/// Where mistakes and oddities go.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    page: Page<'a>,
    lines: Vec<&'a str>,
    pub(super) errors: RefCell<Vec<ManifestError>>,
    pub(super) warnings: RefCell<Vec<ManifestError>>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(page: Page<'a>, text: &'a str) -> Self {
        Self {
            page,
            lines: text.lines().collect(),
            errors: RefCell::new(Vec::new()),
            warnings: RefCell::new(Vec::new()),
        }
    }

    /// A mistake at a place, and what would be right.
    pub(super) fn wrong(&self, place: Place, message: String, hint: Option<String>) {
        let mut errors = self.errors.borrow_mut();
        if errors.len() < MOST {
            let error = self.page.error(place.0, place.1, message);
            errors.push(ManifestError { hint, ..error });
        }
    }

    /// Something that is not taken up.
    pub(super) fn warn(&self, place: Place, message: String) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < MOST {
            warnings.push(self.page.error(place.0, place.1, message));
        }
    }

    /// What is written from a place on to the end of its line, where people write by hand.
    pub(super) fn written(&self, (line, column): Place) -> Option<&'a str> {
        let line = self.lines.get(line.checked_sub(1)?)?;
        let column = column.checked_sub(1).filter(|column| *column < WIDEST)?;
        let (from, _) = line.char_indices().nth(column)?;
        line.get(from..)
    }
}

/// A value and how one gets to it.
#[derive(Debug, Clone)]
pub(super) struct Spot<'a> {
    desk: &'a Desk<'a>,
    tree: &'a Tree,
    /// Where its key stands; itself in a sequence.
    key: Place,
    path: String,
}

impl<'a> Spot<'a> {
    pub(super) const fn root(desk: &'a Desk<'a>, tree: &'a Tree) -> Self {
        Self {
            desk,
            tree,
            key: tree.place(),
            path: String::new(),
        }
    }

    fn below(&self, name: &str, key: Place, tree: &'a Tree) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Self {
            desk: self.desk,
            tree,
            key,
            path,
        }
    }

    /// Line and column of the key.
    pub(super) const fn place(&self) -> Place {
        self.key
    }

    /// The keys that lead here.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) const fn is_null(&self) -> bool {
        self.tree.is_null()
    }

    pub(super) const fn tree(&self) -> &'a Tree {
        self.tree
    }

    fn said(&self, message: &str) -> String {
        match self.path.as_str() {
            "" => message.to_owned(),
            path => format!("{path}: {message}"),
        }
    }

    /// A mistake here, and what to do about it.
    pub(super) fn wrong(&self, message: impl AsRef<str>, todo: impl Into<String>) {
        let todo = Some(todo.into()).filter(|todo| !todo.is_empty());
        self.desk.wrong(self.key, self.said(message.as_ref()), todo);
    }

    /// Something here is not taken up.
    pub(super) fn warn(&self, message: impl AsRef<str>) {
        self.desk.warn(self.key, self.said(message.as_ref()));
    }

    /// What is said under `key`, if anything is.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let entries = self.tree.entries()?;
        let (name, place, tree) = entries.iter().find(|(name, ..)| name == key)?;
        (!tree.is_null()).then(|| self.below(name, *place, tree))
    }

    /// Keys and values. Extensions, which are for other programs, are left out.
    pub(super) fn map(&self) -> Vec<(&'a str, Self)> {
        match self.tree.entries() {
            Some(entries) => entries
                .iter()
                .filter(|(name, ..)| !name.starts_with("x-"))
                .map(|(name, place, tree)| (name.as_str(), self.below(name, *place, tree)))
                .collect(),
            None => {
                if !self.is_null() {
                    self.wrong("this must be a mapping", "write KEY: VALUE, a line each");
                }
                Vec::new()
            }
        }
    }

    /// The same, where only some keys have a meaning.
    pub(super) fn fields(&self, known: &[&str]) -> Vec<(&'a str, Self)> {
        let mut entries = self.map();
        entries.retain(|(key, spot)| {
            let fits = known.contains(key);
            if !fits {
                spot.unknown(key, known);
            }
            fits
        });
        entries
    }

    /// Says that there is no such key, and which there are.
    pub(super) fn unknown(&self, key: &str, known: &[&str]) {
        let message = self.said(&format!("Compose files have no key {key:?} here"));
        let hint = match known.len() > MOST_KEYS {
            true => {
                nearest(key, known.iter().copied()).map(|meant| format!("did you mean {meant}?"))
            }
            false => hint(key, "keys here", known.iter().copied()),
        };
        self.desk.wrong(self.key, message, hint);
    }

    /// Whether it is a sequence.
    pub(super) fn is_list(&self) -> bool {
        self.tree.items().is_some()
    }

    /// Whether it is a mapping.
    pub(super) fn is_map(&self) -> bool {
        self.tree.entries().is_some()
    }

    /// The items of a sequence.
    pub(super) fn list(&self) -> Vec<Self> {
        match self.tree.items() {
            Some(items) => items
                .iter()
                .enumerate()
                .map(|(at, tree)| self.below(&at.to_string(), tree.place(), tree))
                .collect(),
            None => {
                if !self.is_null() {
                    self.wrong("this must be a list", "write - VALUE, a line each");
                }
                Vec::new()
            }
        }
    }

    /// A scalar's text.
    pub(super) fn text(&self) -> Option<&'a str> {
        let text = self.tree.scalar();
        if text.is_none() {
            self.wrong("this must be a single value", "no list and no mapping");
        }
        text
    }

    /// A scalar, or several in a list.
    pub(super) fn texts(&self) -> Vec<(&'a str, Self)> {
        let spots = match self.is_list() {
            true => self.list(),
            false => vec![self.clone()],
        };
        let text = |spot: Self| Some((spot.text()?, spot));
        spots.into_iter().filter_map(text).collect()
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> bool {
        match self.text() {
            Some("true") => true,
            Some("false") | None => false,
            Some(other) => {
                self.wrong(format!("{other:?} is neither true nor false"), "");
                false
            }
        }
    }

    /// A scalar that is something: `what` is its name, a colon, and what to write.
    pub(super) fn parsed<T>(&self, what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text()?;
        let parsed = parse(text);
        if parsed.is_none() {
            let (name, todo) = what.split_once(": ").unwrap_or((what, ""));
            self.wrong(format!("{text:?} is no {name}"), todo);
        }
        parsed
    }

    /// A whole number.
    pub(super) fn number(&self) -> Option<u32> {
        self.parsed("number: write 0 or more, in digits", |text| {
            text.parse().ok()
        })
    }

    /// Whether it says nothing that matters: nothing at all, `false`, or nothing in it.
    pub(super) fn is_idle(&self) -> bool {
        let empty = |all: Option<usize>| all == Some(0);
        self.is_null()
            || self.tree.scalar() == Some("false")
            || empty(self.tree.items().map(<[Tree]>::len))
            || empty(self.tree.entries().map(<[_]>::len))
    }
}
