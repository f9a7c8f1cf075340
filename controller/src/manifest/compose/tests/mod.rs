//! Compose files and what becomes of them.

mod golden;
mod mistakes;
mod properties;

use super::*;
use std::fmt::Write as _;

/// Translates `text` as if it were in a directory `lab`, with two variables and one file beside it.
fn translated(text: &str) -> Result<Translation, Vec<ManifestError>> {
    let variables = [("SET", "set"), ("COUNT", "2")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let around = Surroundings {
        project: None,
        directory: "lab",
        variables: &BTreeMap::from(variables),
        profiles: &[],
        read: &|path| match path {
            "there.env" => Ok("FROM_FILE=1\nBOTH=file\n".to_owned()),
            "there.conf" => Ok("colour = blue\n".to_owned()),
            _ => Err("no such file".to_owned()),
        },
    };
    let name = "compose.yaml";
    translate(Source { name, text }, around)
}

/// A service with an image and `keys`, at the top of a file with `more` behind it.
fn service(keys: &str, more: &str) -> String {
    let mut text = "services:\n  web:\n    image: web:1\n".to_owned();
    for line in keys.lines() {
        writeln!(text, "    {line}").unwrap();
    }
    text + more
}

/// The only service's specification.
fn spec(keys: &str) -> crate::resource::ServiceSpec {
    let text = service(keys, "");
    let made = translated(&text).unwrap_or_else(|errors| panic!("{}: {errors:?}", text));
    match made.resources().last() {
        Some(Resource::Service(object)) => object.spec.clone(),
        other => panic!("{other:?}"),
    }
}
