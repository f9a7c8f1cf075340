//! Tables from a file: TOML as a person writes it, JSON as a program does. A mistake is answered
//! with file, line and column. The file is checked whole; nothing is opened here.

use crate::tables::{Compiled, Entry, TableError};
use kc_forwarder_api::Tables;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Why a file gives no tables.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{}: cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Neither `.toml` nor `.json`.
    #[error("{}: the name must end in .toml or .json", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, or not tables.
    #[error("{at}: {}", error.message().trim_end())]
    Toml {
        /// Where it is wrong.
        at: Origin,
        /// What is wrong.
        error: Box<toml::de::Error>,
    },
    /// Not JSON, or not tables.
    #[error("{at}: {error}")]
    Json {
        /// Where it is wrong.
        at: Origin,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// The tables contradict themselves.
    #[error("{at}: {error}")]
    Tables {
        /// Where the entry at fault is, as far as that can be told.
        at: Origin,
        /// What is wrong.
        error: Box<TableError>,
    },
}

/// A file, and a place in it where one is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub path: PathBuf,
    /// The place.
    pub place: Option<Place>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match self.place {
            Some(Place { line, column }) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// A place in a text, both counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl Place {
    /// The place of the octet at `offset`.
    fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before
            .get(line_start..)
            .map_or(0, |line| line.chars().count())
            + 1;
        Self {
            line: before.matches('\n').count() + 1,
            column,
        }
    }
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// See [`ConfigError`].
pub fn read(path: &Path) -> Result<Tables, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// Checks `text`, which came from `path`.
///
/// # Errors
/// See [`ConfigError`].
pub fn parse(path: &Path, text: &str) -> Result<Tables, ConfigError> {
    let at = |place| Origin {
        path: path.to_owned(),
        place,
    };
    let offset_at = |offset| at(Some(Place::of(text, offset)));
    let extension = path.extension().and_then(|extension| extension.to_str());
    let tables: Tables = match extension {
        Some("toml") => toml::from_str(text).map_err(|error| ConfigError::Toml {
            at: offset_at(error.span().map_or(0, |span| span.start)),
            error: Box::new(error),
        })?,
        Some("json") => serde_json::from_str(text).map_err(|error| ConfigError::Json {
            at: at(Some(Place {
                line: error.line(),
                column: error.column(),
            })),
            error,
        })?,
        _ => {
            return Err(ConfigError::Extension {
                path: path.to_owned(),
            });
        }
    };
    match Compiled::new(tables) {
        Ok(compiled) => Ok(compiled.into_tables()),
        Err(error) => {
            let offset = entry(&error).and_then(|entry| locate(text, &entry));
            let at = offset.map_or_else(|| at(None), offset_at);
            Err(ConfigError::Tables {
                at,
                error: Box::new(error),
            })
        }
    }
}

/// The entry that `error` is about, where it names one.
fn entry(error: &TableError) -> Option<Entry> {
    Some(match error {
        TableError::Unknown { entry, .. }
        | TableError::NoSuchHop { entry, .. }
        | TableError::FunctionAtZero(entry)
        | TableError::NextHop { entry, .. }
        | TableError::NoAddress { entry, .. }
        | TableError::TagHidden { entry, .. }
        | TableError::NoUnderlay(entry)
        | TableError::Family { entry, .. }
        | TableError::Address { entry, .. }
        | TableError::Mtu { entry, .. }
        | TableError::Vlan { entry, .. }
        | TableError::Contradiction { entry, .. }
        | TableError::GroupMac { entry, .. }
        | TableError::DuplicateMac { entry, .. }
        | TableError::TooManyIn { entry, .. }
        | TableError::Liveness(entry)
        | TableError::LivenessAddress { entry, .. }
        | TableError::VirtualAddress { entry, .. }
        | TableError::VirtualMac { entry, .. }
        | TableError::PlacelessMember { entry, .. }
        | TableError::NotAMember { entry, .. } => entry.clone(),
        TableError::Weightless { entry, .. } | TableError::NshLength { entry, .. } => entry.clone(),
        TableError::EmptyGroup(name) => Entry::Group(name.clone()),
        TableError::SharedInterface { second, .. } => Entry::Port(second.clone()),
        TableError::PortRole { port, .. } | TableError::PortAddress { port, .. } => {
            Entry::Port(port.clone())
        }
        TableError::DuplicateHop { spi, si } => Entry::Hop(*spi, *si),
        TableError::Duplicate { .. } | TableError::TooMany { .. } => return None,
    })
}

/// Offset of `entry` in a TOML text.
fn locate(text: &str, entry: &Entry) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let find = |array: &str, key: &str, wanted: &str| {
        let entries = document.get_ref().get(array)?.get_ref().as_array()?;
        entries.iter().find_map(|entry| {
            let value = entry.get_ref().as_table()?.get(key)?;
            is(value.get_ref(), wanted).then(|| value.span().start)
        })
    };
    match entry {
        Entry::Underlay => document
            .get_ref()
            .get("underlay")
            .map(|value| value.span().start),
        Entry::Port(name) => find("ports", "name", name.as_str()),
        Entry::Tunnel(name) => find("tunnels", "name", name),
        Entry::Function(name) => find("functions", "name", name.as_str()),
        Entry::Group(name) => find("groups", "name", name.as_str()),
        Entry::Rule(name) => find("rules", "name", name),
        Entry::Path(spi) | Entry::Hop(spi, _) => find("paths", "spi", &spi.to_string()),
        Entry::Segment(vni) => find("segments", "vni", &vni.to_string()),
    }
}

/// Whether a TOML string or number reads `wanted`.
fn is(value: &DeValue<'_>, wanted: &str) -> bool {
    match value {
        DeValue::String(text) => text == wanted,
        DeValue::Integer(number) => number.as_str() == wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, text: &str) -> String {
        parse(Path::new(name), text).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_word_is_told_with_its_place_and_the_right_ones() {
        let told = error("a.toml", "generation = 1\n[[ports]]\nnme = \"p\"\n");
        assert!(
            told.starts_with("a.toml:3:1: unknown field `nme`, expected one of `name`"),
            "{told}"
        );
        let told = error("a.json", "{\n  \"port\": []\n}");
        assert!(
            told.starts_with("a.json:2:8: unknown field `port`"),
            "{told}"
        );
    }

    #[test]
    fn a_contradiction_is_told_where_its_entry_is() {
        let text = "[[ports]]\nname = \"p0\"\n\n[[tunnels]]\ntransport = { vxlan-gpe = { remote = \"10.0.0.2\", vni = 5 } }\nname = \"t\"\n";
        let told = error("a.toml", text);
        assert!(
            told.starts_with("a.toml:6:8: tunnel t needs an underlay"),
            "{told}"
        );
        let text = "[underlay]\naddress = \"0.0.0.0\"\n";
        assert!(
            error("a.toml", text).starts_with("a.toml:1:1: the underlay"),
            "{}",
            error("a.toml", text)
        );
    }

    #[test]
    fn columns_count_characters_not_octets() {
        assert_eq!(Place::of("a\nöß x", 7), Place { line: 2, column: 4 });
        assert_eq!(Place::of("", 0), Place { line: 1, column: 1 });
        assert_eq!(Place::of("ab", 99), Place { line: 1, column: 3 });
    }

    #[test]
    fn the_examples_are_sound() {
        let text = include_str!("../examples/standalone.toml");
        let tables = parse(Path::new("standalone.toml"), text).unwrap();
        assert_eq!(
            (tables.ports.len(), tables.rules.len(), tables.paths.len()),
            (4, 4, 2)
        );
        let text = include_str!("../examples/lan.toml");
        let tables = parse(Path::new("lan.toml"), text).unwrap();
        assert_eq!((tables.tunnels.len(), tables.paths.len()), (3, 3));
        let text = include_str!("../examples/spread.toml");
        let tables = parse(Path::new("spread.toml"), text).unwrap();
        assert_eq!((tables.groups.len(), tables.functions.len()), (1, 4));
    }

    #[test]
    fn another_kind_of_file_is_refused_by_name() {
        assert_eq!(
            error("a.yaml", ""),
            "a.yaml: the name must end in .toml or .json"
        );
    }
}
