//! One document: syntax first, then apiVersion and kind, then the kind's own fields.

use super::stack::{Template, read_template, unquoted};
use super::words::hint;
use super::{Document, ManifestError, Page, Tree};
use crate::resource::{
    API_VERSION, ApiVersion, ChainSpec, FunctionSpec, Kind, Metadata, NodeResourceSpec, Object,
    Resource, ServiceSpec,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::{Error, Options, RenderOptions, SnippetMode};

/// Deepest nesting taken.
const MAX_DEPTH: usize = 32;
/// Most YAML nodes in one document.
const MAX_NODES: usize = 200_000;

/// Limits that no honest manifest meets.
fn parse_options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_aliases: 256,
            max_anchors: 256,
            max_documents: 1,
        },
        with_snippet: false,
        strict_booleans: true,
    }
}

/// A document as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written<S> {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    #[serde(rename = "kind")]
    _kind: Kind,
    metadata: Metadata,
    spec: S,
}

/// A node may have nothing but a name and labels.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenNode {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    #[serde(rename = "kind")]
    _kind: Kind,
    metadata: Metadata,
    #[serde(default)]
    spec: NodeResourceSpec,
}

/// A document that was read.
pub(super) enum Read<'a> {
    Document(Box<Document<'a>>),
    Stack(Box<Template<'a>>),
}

/// Reads one document.
pub(super) fn read<'a>(page: Page<'a>, text: &str) -> Result<Read<'a>, ManifestError> {
    let tree: Tree =
        serde_saphyr::from_str_with_options(text, parse_options()).map_err(|error| {
            let line = error.location().map_or(0, |location| location.line());
            let line = usize::try_from(line).unwrap_or(usize::MAX);
            unquoted(&page, explain(&page, None, error.without_snippet()), line)
        })?;
    let kind = header(&page, &tree)?;
    let resource = match kind {
        Kind::ServiceFunction => {
            Resource::ServiceFunction(object::<FunctionSpec>(&page, text, &tree)?)
        }
        Kind::Chain => Resource::Chain(object::<ChainSpec>(&page, text, &tree)?),
        Kind::Service => Resource::Service(object::<ServiceSpec>(&page, text, &tree)?),
        Kind::Secret => Resource::Secret(super::secret::read(&page, text, &tree)?),
        Kind::Stack => {
            return read_template(page, text, tree)
                .map(Box::new)
                .map(Read::Stack);
        }
        Kind::Node => {
            let written: WrittenNode = typed(&page, text, Some(&tree))?;
            Resource::Node(Object {
                api_version: ApiVersion::V1,
                metadata: written.metadata,
                spec: written.spec,
            })
        }
    };
    Ok(Read::Document(Box::new(Document {
        page,
        tree,
        resource,
        stack: None,
    })))
}

fn object<S: DeserializeOwned>(
    page: &Page<'_>,
    text: &str,
    tree: &Tree,
) -> Result<Object<S>, ManifestError> {
    let written: Written<S> = typed(page, text, Some(tree))?;
    Ok(Object {
        api_version: ApiVersion::V1,
        metadata: written.metadata,
        spec: written.spec,
    })
}

/// Checks `apiVersion` and `kind`, which decide how the rest is read.
fn header(page: &Page<'_>, tree: &Tree) -> Result<Kind, ManifestError> {
    let at = |path: &[&str], message: String, hint: Option<String>| {
        let (line, column) = tree.locate(path);
        ManifestError {
            hint,
            ..page.error(line, column, message)
        }
    };
    let Some(keys) = tree.keys() else {
        let message = "a resource is a mapping with apiVersion, kind, metadata and spec";
        return Err(at(&[], message.to_owned(), None));
    };
    let keys: Vec<_> = keys.collect();
    if super::compose::is_project(tree) {
        let message = "this is a Compose file, which is no manifest";
        let hint = "kc apply -f translates it; kc convert -f prints the translation";
        return Err(at(&["services"], message.to_owned(), Some(hint.to_owned())));
    }
    for wanted in ["apiVersion", "kind"] {
        if tree.get(wanted).is_none() {
            let wrong = super::words::nearest(wanted, keys.iter().copied());
            let (line, column) = wrong
                .and_then(|wrong| tree.find_key(wrong))
                .unwrap_or(tree.place());
            let message = match wrong {
                Some(wrong) => format!("{wrong:?} should be {wanted}"),
                None => format!("{wanted} is missing"),
            };
            return Err(page.error(line, column, message));
        }
    }
    let word = |key| tree.get(key).and_then(Tree::scalar).unwrap_or_default();
    let version = word("apiVersion");
    if version != API_VERSION {
        let message = format!("apiVersion {version:?} is not known");
        return Err(at(
            &["apiVersion"],
            message,
            Some(format!("write {API_VERSION}")),
        ));
    }
    let kind = word("kind");
    let found = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
    found.ok_or_else(|| {
        let hint = hint(kind, "kinds", Kind::ALL.iter().map(|kind| kind.as_str()));
        at(&["kind"], format!("kind {kind:?} is not known"), hint)
    })
}

/// Reads text as `T`; `tree` helps to find what the parser cannot place.
pub(crate) fn typed<T: DeserializeOwned>(
    page: &Page<'_>,
    text: &str,
    tree: Option<&Tree>,
) -> Result<T, ManifestError> {
    serde_saphyr::from_str_with_options(text, parse_options())
        .map_err(|error| explain(page, tree, error.without_snippet()))
}

fn explain(page: &Page<'_>, tree: Option<&Tree>, error: &Error) -> ManifestError {
    let (message, hint, key) = match error {
        Error::SerdeUnknownField {
            field, expected, ..
        } => {
            let hint = hint(field, "fields here", expected.iter().copied());
            (
                format!("there is no field {field:?} here"),
                hint,
                Some(field.as_str()),
            )
        }
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => {
            let hint = hint(variant, "values", expected.iter().copied());
            (format!("{variant:?} is not a value for this"), hint, None)
        }
        Error::SerdeMissingField { field, .. } => {
            (format!("field {field:?} is missing"), None, None)
        }
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. }
            if page.is_hidden() =>
        {
            (format!("expected {expected}"), None, None)
        }
        Error::SerdeInvalidType {
            unexpected,
            expected,
            ..
        }
        | Error::SerdeInvalidValue {
            unexpected,
            expected,
            ..
        } => (
            format!("expected {expected}, found {unexpected}"),
            None,
            None,
        ),
        Error::InvalidScalar { ty, .. } => (format!("this must be {}", plain(ty)), None, None),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("field {key:?} is here twice"), None, None)
        }
        // Whatever else there is to say may quote a value.
        _ if page.is_hidden() => {
            let message =
                "this cannot be read; it is not shown, because it may be a secret's value";
            (message.to_owned(), None, None)
        }
        Error::Message { msg, .. } => (msg.clone(), None, None),
        Error::Budget { breach, .. } => (
            format!("too deep or too large for a manifest: {breach:?}"),
            None,
            None,
        ),
        other => (rendered(other), None, None),
    };
    let place = error.location().map(|location| {
        let at = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        (at(location.line()), at(location.column()))
    });
    let known = place.filter(|(line, _)| *line > 0);
    let by_key = || tree?.find_key(key?);
    let root = || tree.map(Tree::place);
    let (line, column) = known.or_else(by_key).or_else(root).unwrap_or((1, 1));
    ManifestError {
        hint,
        ..page.error(line, column, message)
    }
}

/// What people call a type.
fn plain(ty: &str) -> String {
    match ty {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number from 0 up".to_owned(),
        "bool" | "boolean" => "true or false".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        other => format!("a value of type {other}"),
    }
}

/// The parser's own words, on one line and without the place.
fn rendered(error: &Error) -> String {
    let formatter = serde_saphyr::UserMessageFormatter;
    let mut options = RenderOptions::new(&formatter);
    options.snippets = SnippetMode::Off;
    let text = error.render_with_options(options);
    let line = text.lines().next().unwrap_or_default();
    let end = line.find(" at line ").unwrap_or(line.len());
    line[..end].trim().to_owned()
}
