//! Names to numbers, with the nearest name for one that is not there.

use super::error::{Entry, Kind, Suggestion, TableError};
use rustc_hash::FxHashMap;
use std::fmt::Display;
use std::hash::Hash;

/// Things of one kind, numbered in table order.
#[derive(Debug, Clone)]
pub(crate) struct Names<K> {
    kind: Kind,
    numbers: FxHashMap<K, u16>,
}

impl<K: Eq + Hash + Clone + Display> Names<K> {
    /// Numbers `names`; refuses duplicates and more than 65,535.
    pub(crate) fn number<'a>(
        kind: Kind,
        names: impl ExactSizeIterator<Item = &'a K>,
    ) -> Result<Self, TableError>
    where
        K: 'a,
    {
        let count = names.len();
        let max = usize::from(u16::MAX);
        let mut numbers = FxHashMap::default();
        for (number, name) in names.enumerate() {
            let number = u16::try_from(number).ok().filter(|&n| n < u16::MAX);
            let number = number.ok_or(TableError::TooMany { kind, count, max })?;
            if numbers.insert(name.clone(), number).is_some() {
                return Err(TableError::Duplicate {
                    kind,
                    name: name.to_string(),
                });
            }
        }
        Ok(Self { kind, numbers })
    }

    /// The number of `name`.
    pub(crate) fn get(&self, name: &K) -> Option<u16> {
        self.numbers.get(name).copied()
    }

    /// The number of `name`, or an error on behalf of `entry`.
    pub(crate) fn resolve(
        &self,
        name: &K,
        entry: impl FnOnce() -> Entry,
    ) -> Result<u16, TableError> {
        self.get(name).ok_or_else(|| {
            let name = name.to_string();
            let known: Vec<_> = self.numbers.keys().map(K::to_string).collect();
            let near = nearest(&name, known.iter().map(String::as_str)).map(str::to_owned);
            TableError::Unknown {
                entry: entry(),
                kind: self.kind,
                name,
                suggestion: Suggestion(near),
            }
        })
    }
}

/// The one of `known` that is most like `name`, if any is like it at all.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().max(name.len()).div_ceil(2))
        .map(|(_, known)| known)
}
