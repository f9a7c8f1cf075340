//! Small files that go along with a container: `configs`, and `secrets`.

use super::PROJECT;
use super::project::{Project, called};
use super::spot::Spot;
use super::written::Made;
use crate::resource::{
    ApiVersion, FileSpec, Metadata, Resource, Secret, SecretKey, SecretRef, ServiceSpec,
};
use kc_agent_api::Hidden;

/// Where Docker has secrets.
const SECRETS: &str = "/run/secrets";
/// Who may read a secret in a container, where nobody says otherwise: everybody there, as in Docker.
const MODE: &str = "0444";

pub(super) fn files(project: &Project<'_>, spot: &Spot<'_>, spec: &mut ServiceSpec) {
    for config in spot.get("configs").map_or_else(Vec::new, |all| all.list()) {
        let Some(named) = reference(&config) else {
            continue;
        };
        if let Some(mode) = named.mode {
            mode.warn("left out: the file is root's, and everybody may read it");
        }
        let own = || format!("/{}", named.source);
        let path = named.target.map_or_else(own, str::to_owned);
        if let Some((content, _)) = content(project, &config, "configs", named.source) {
            spec.files.push(FileSpec { path, content });
        }
    }
    for spot in spot.get("secrets").map_or_else(Vec::new, |all| all.list()) {
        let found = reference(&spot).and_then(|named| secret(project, &spot, &named));
        spec.secrets.extend(found);
    }
}

/// A secret in a container. The project has it as a resource of its own.
fn secret(project: &Project<'_>, at: &Spot<'_>, named: &Reference<'_>) -> Option<SecretRef> {
    let source = named.source;
    let (value, declared) = content(project, at, "secrets", source)?;
    let name = called(&project.name, source, &declared)?;
    let key = source.to_owned();
    let mut secrets = project.secrets.borrow_mut();
    secrets.entry(key.clone()).or_insert_with(|| Made {
        resource: Resource::Secret(Secret {
            api_version: ApiVersion::V1,
            metadata: Metadata {
                name: name.clone(),
                labels: [(PROJECT.to_owned(), project.name.to_string())].into(),
            },
            keys: [(key.clone(), SecretKey::new(Hidden::new(value.into_bytes())))].into(),
            since_ms: None,
        }),
        place: declared.place(),
        path: declared.path().to_owned(),
    });
    let target = named.target.unwrap_or(source);
    let mode = match &named.mode {
        Some(mode) => mode.text()?,
        None => MODE,
    };
    let reference = SecretRef {
        name,
        key: Some(key),
        path: Some(match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("{SECRETS}/{target}"),
        }),
        mode: Some(mode.to_owned()),
    };
    if let (None, Some(mode)) = (reference.permissions(), &named.mode) {
        mode.wrong(
            "these are no permissions to read a file",
            "write such as \"0440\"",
        );
    }
    Some(reference)
}

/// What an entry names, where it goes, and who may read it.
struct Reference<'a> {
    source: &'a str,
    target: Option<&'a str>,
    mode: Option<Spot<'a>>,
}

fn reference<'a>(spot: &Spot<'a>) -> Option<Reference<'a>> {
    let (mut source, mut target, mut mode) = (None, None, None);
    if spot.is_map() {
        for (key, value) in spot.fields(&["source", "target", "uid", "gid", "mode"]) {
            match key {
                "source" => source = value.text(),
                "target" => target = value.text(),
                "mode" => mode = Some(value),
                _ => value.warn("left out: the file is root's"),
            }
        }
    } else {
        source = Some(spot.text()?);
    }
    if source.is_none() {
        spot.wrong("which one?", "write source: NAME");
    }
    let source = source?;
    Some(Reference {
        source,
        target,
        mode,
    })
}

/// The text that is declared at the top under `list` as `name`.
fn content<'a>(
    project: &Project<'a>,
    at: &Spot<'_>,
    list: &str,
    name: &str,
) -> Option<(String, Spot<'a>)> {
    let top = project.root.get(list);
    let known = top.as_ref().map_or_else(Vec::new, Spot::map);
    let Some((_, declared)) = known.into_iter().find(|(key, _)| *key == name) else {
        at.wrong(
            format!("{list} has no {name}"),
            format!("write {name}: below {list}: at the top of the file"),
        );
        return None;
    };
    let mut found = None;
    let fields: &[&str] = match list {
        "secrets" => &["file", "environment", "external", "name"],
        _ => &["file", "environment", "external", "name", "content"],
    };
    for (key, value) in declared.fields(fields) {
        match key {
            "content" => found = value.text().map(str::to_owned),
            "environment" => {
                let variable = value.text()?;
                found = project.around.variables.get(variable).cloned();
                if found.is_none() {
                    value.wrong(
                        format!("variable {variable} is not set"),
                        "set it in the environment or in .env",
                    );
                    return None;
                }
            }
            "file" => {
                let path = value.text()?;
                match (project.around.read)(path) {
                    Ok(text) => found = Some(text),
                    Err(error) => {
                        value.wrong(
                            format!("cannot read {path}: {error}"),
                            "name a text file that is there",
                        );
                        return None;
                    }
                }
            }
            "external" if !value.is_idle() => {
                value.wrong(
                    "nothing is looked up elsewhere",
                    "write file: or environment:",
                );
                return None;
            }
            _ => {}
        }
    }
    if found.is_none() {
        declared.wrong("there is nothing in it", "write file: or environment:");
    }
    Some((found?, declared))
}
