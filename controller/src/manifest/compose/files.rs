//! Small files that go along with a container: `configs`, and `secrets`.

use super::project::Project;
use super::spot::Spot;
use crate::resource::{FileSpec, ServiceSpec};

pub(super) fn files(project: &Project<'_>, spot: &Spot<'_>, spec: &mut ServiceSpec) {
    for config in spot.get("configs").map_or_else(Vec::new, |all| all.list()) {
        let Some((source, target)) = reference(&config) else {
            continue;
        };
        let target = target.map_or_else(|| format!("/{source}"), str::to_owned);
        if let Some(content) = content(project, &config, "configs", source) {
            spec.files.push(FileSpec {
                path: target,
                content,
            });
        }
    }
    if let Some(secrets) = spot.get("secrets") {
        secrets.wrong(
            "secrets are not handed to containers",
            "put the file on the box, and mount its path with volumes",
        );
    }
}

/// What an entry names, and where it goes.
fn reference<'a>(spot: &Spot<'a>) -> Option<(&'a str, Option<&'a str>)> {
    if !spot.is_map() {
        return Some((spot.text()?, None));
    }
    let (mut source, mut target) = (None, None);
    for (key, value) in spot.fields(&["source", "target", "uid", "gid", "mode"]) {
        match key {
            "source" => source = value.text(),
            "target" => target = value.text(),
            _ => value.warn("left out: the file is root's, and everybody may read it"),
        }
    }
    if source.is_none() {
        spot.wrong("which one?", "write source: NAME");
    }
    Some((source?, target))
}

/// The text that is declared at the top under `list` as `name`.
fn content(project: &Project<'_>, at: &Spot<'_>, list: &str, name: &str) -> Option<String> {
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
    for (key, value) in declared.fields(&["file", "environment", "content", "external", "name"]) {
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
                    "there is no store of such things",
                    "write file:, content: or environment:",
                );
                return None;
            }
            _ => {}
        }
    }
    if found.is_none() {
        declared.wrong(
            "there is nothing in it",
            "write file:, content: or environment:",
        );
    }
    found
}
