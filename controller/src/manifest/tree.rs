//! A document as a tree that knows where everything in it stands.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::fmt;

/// Line and column, from 1.
pub(crate) type Place = (usize, usize);

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    place: Place,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Map(Vec<(String, Place, Tree)>),
    Sequence(Vec<Tree>),
    Scalar(String),
    /// A scalar that is no text: a number, or `true` or `false`.
    Plain(String),
    Null,
}

/// What a node is, for whoever goes through a tree.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape<'a> {
    Map(&'a [(String, Place, Tree)]),
    Sequence(&'a [Tree]),
    Text(&'a str),
    /// A number, `true` or `false`, in its usual form.
    Plain(&'a str),
    Null,
}

fn place(location: Location) -> Place {
    let at = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    (at(location.line()), at(location.column()))
}

impl Tree {
    /// A value of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|e| e.0 == key).map(|e| &e.2),
            _ => None,
        }
    }

    /// The keys of a mapping; `None` for anything else.
    pub(crate) fn keys(&self) -> Option<impl Iterator<Item = &str>> {
        match &self.content {
            Content::Map(entries) => Some(entries.iter().map(|e| e.0.as_str())),
            _ => None,
        }
    }

    /// A scalar as it was understood.
    pub(crate) fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(text) | Content::Plain(text) => Some(text),
            Content::Null => Some(""),
            _ => None,
        }
    }

    /// Keys, where each stands, and values of a mapping; `None` for anything else.
    pub(crate) fn entries(&self) -> Option<&[(String, Place, Self)]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a sequence; `None` for anything else.
    pub(crate) fn items(&self) -> Option<&[Self]> {
        match &self.content {
            Content::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// What it is.
    pub(crate) fn shape(&self) -> Shape<'_> {
        match &self.content {
            Content::Map(entries) => Shape::Map(entries),
            Content::Sequence(items) => Shape::Sequence(items),
            Content::Scalar(text) => Shape::Text(text),
            Content::Plain(text) => Shape::Plain(text),
            Content::Null => Shape::Null,
        }
    }

    /// The same tree with everything elsewhere.
    pub(crate) fn moved(self, to: &impl Fn(Place) -> Place) -> Self {
        let content = match self.content {
            Content::Map(entries) => {
                let entries = entries.into_iter();
                let moved = entries.map(|(key, at, value)| (key, to(at), value.moved(to)));
                Content::Map(moved.collect())
            }
            Content::Sequence(items) => {
                Content::Sequence(items.into_iter().map(|item| item.moved(to)).collect())
            }
            other => other,
        };
        Self {
            place: to(self.place),
            content,
        }
    }

    /// Whether nothing was said.
    pub(crate) const fn is_null(&self) -> bool {
        matches!(self.content, Content::Null)
    }

    /// The same tree with other scalars. `path` leads to it; `change` is told the path and place
    /// of each scalar.
    pub(crate) fn map_scalars(
        &self,
        path: &str,
        change: &mut impl FnMut(&str, Place, &str) -> String,
    ) -> Self {
        let below = |key: &dyn fmt::Display| match path {
            "" => key.to_string(),
            path => format!("{path}.{key}"),
        };
        let content = match &self.content {
            Content::Map(entries) => {
                let entries = entries.iter().map(|(key, place, value)| {
                    let value = value.map_scalars(&below(key), change);
                    (key.clone(), *place, value)
                });
                Content::Map(entries.collect())
            }
            Content::Sequence(items) => {
                let items = items.iter().enumerate();
                let items = items.map(|(at, item)| item.map_scalars(&below(&at), change));
                Content::Sequence(items.collect())
            }
            Content::Scalar(text) | Content::Plain(text) => {
                Content::Scalar(change(path, self.place, text))
            }
            Content::Null => Content::Null,
        };
        Self {
            place: self.place,
            content,
        }
    }

    /// Where it begins.
    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// Where the thing at `path` stands, or the last thing on the way to it that exists.
    pub(crate) fn locate(&self, path: &[&str]) -> Place {
        let Some((first, rest)) = path.split_first() else {
            return self.place;
        };
        let next = match &self.content {
            Content::Map(_) => self.get(first),
            Content::Sequence(items) => first.parse().ok().and_then(|i: usize| items.get(i)),
            Content::Scalar(_) | Content::Plain(_) | Content::Null => None,
        };
        match next {
            Some(next) => next.locate(rest),
            None => self.place,
        }
    }

    /// Where a key stands that is somewhere in the tree: the first in reading order.
    pub(crate) fn find_key(&self, key: &str) -> Option<Place> {
        match &self.content {
            Content::Map(entries) => entries.iter().find_map(|(name, place, value)| {
                if name == key {
                    Some(*place)
                } else {
                    value.find_key(key)
                }
            }),
            Content::Sequence(items) => items.iter().find_map(|item| item.find_key(key)),
            Content::Scalar(_) | Content::Plain(_) | Content::Null => None,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self {
            place: place(spanned.referenced),
            content: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Plain(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Plain(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Plain(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Plain(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Content::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value()?;
            entries.push((key.value, place(key.referenced), value));
        }
        Ok(Content::Map(entries))
    }
}
