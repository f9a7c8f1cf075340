//! A value that many may hold and few ever change: clones share it, and whoever writes to a shared
//! one gets a copy of its own first. So a state with a hundred thousand records is copied by
//! copying pointers, and two states are compared by looking at what is not the very same.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// See the module.
#[derive(Default)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Whether both are the very same value, which is known without looking at it. What was written
    /// to is another one, also when it is equal.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T: Clone> Shared<T> {
    /// The value, copied if others hold it too.
    pub fn into_inner(self) -> T {
        Arc::unwrap_or_clone(self.0)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || *self.0 == *other.0
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: PartialEq> PartialEq<T> for Shared<T> {
    fn eq(&self, other: &T) -> bool {
        *self.0 == *other
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

impl<'a, T> IntoIterator for &'a Shared<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;
    fn into_iter(self) -> Self::IntoIter {
        self.0.deref().into_iter()
    }
}

impl<'a, T: Clone> IntoIterator for &'a mut Shared<T>
where
    &'a mut T: IntoIterator,
{
    type Item = <&'a mut T as IntoIterator>::Item;
    type IntoIter = <&'a mut T as IntoIterator>::IntoIter;
    fn into_iter(self) -> Self::IntoIter {
        Arc::make_mut(&mut self.0).into_iter()
    }
}

/// What differs between two maps: keys, with what each map has for them. `same` tells values alike;
/// shared ones are alike at once where they are the very same.
pub fn differences<'a, K: Ord, V>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
) -> Vec<Difference<'a, K, V>> {
    let mut found = Vec::new();
    if std::ptr::eq(before, after) {
        return found;
    }
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        let Some((key, _)) = was.or(is) else {
            return found;
        };
        let (was, is) = (was.map(|(_, v)| v), is.map(|(_, v)| v));
        if !was.zip(is).is_some_and(|(was, is)| same(was, is)) {
            found.push((key, was, is));
        }
    }
}

/// A key, and what two maps have for it.
pub type Difference<'a, K, V> = (&'a K, Option<&'a V>, Option<&'a V>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_what_came_went_or_changed() {
        let before = BTreeMap::from([(1, 'a'), (2, 'b'), (3, 'c')]);
        let after = BTreeMap::from([(2, 'b'), (3, 'd'), (4, 'e')]);
        let found = differences(&before, &after, |a, b| a == b);
        let wanted = [
            (&1, Some(&'a'), None),
            (&3, Some(&'c'), Some(&'d')),
            (&4, None, Some(&'e')),
        ];
        assert_eq!(found, wanted);
        assert_eq!(differences(&before, &before.clone(), |a, b| a == b), []);
    }

    #[test]
    fn who_writes_gets_a_copy_and_the_others_keep_what_they_had() {
        let first: Shared<Vec<u8>> = vec![1].into();
        let mut second = first.clone();
        assert!(first.is(&second));
        second.push(2);
        assert!(!first.is(&second));
        assert_eq!((&*first, &*second), (&vec![1], &vec![1, 2]));
        second.pop();
        assert_eq!(first, second, "equal, though not the same");
        assert_eq!(serde_json::to_string(&first).unwrap(), "[1]");
    }
}
