//! Variables of a container: `env_file`, and `environment` over it.

use super::dotenv;
use super::project::Project;
use super::spot::Spot;
use crate::resource::ServiceSpec;

pub(super) fn environment(project: &Project<'_>, spot: &Spot<'_>, spec: &mut ServiceSpec) {
    if let Some(files) = spot.get("env_file") {
        let files = match files.is_list() {
            true => files.list(),
            false => vec![files],
        };
        for file in files {
            read(project, &file, spec);
        }
    }
    let Some(environment) = spot.get("environment") else {
        return;
    };
    if environment.is_list() {
        for (text, at) in environment.texts() {
            match text.split_once('=') {
                Some((name, value)) => set(project, &at, name, Some(value), spec),
                None => set(project, &at, text, None, spec),
            }
        }
    } else {
        for (name, at) in environment.map() {
            match at.is_null() {
                true => set(project, &at, name, None, spec),
                false => set(project, &at, name, at.text(), spec),
            }
        }
    }
}

/// Sets a variable; without a value it is the environment's, if that has one.
fn set(
    project: &Project<'_>,
    at: &Spot<'_>,
    name: &str,
    value: Option<&str>,
    spec: &mut ServiceSpec,
) {
    let own = || project.around.variables.get(name).cloned();
    match value.map(str::to_owned).or_else(own) {
        Some(value) => {
            spec.env.insert(name.to_owned(), value);
        }
        None => at.warn(format!(
            "{name} is not set here, so the container does not get it"
        )),
    }
}

fn read(project: &Project<'_>, spot: &Spot<'_>, spec: &mut ServiceSpec) {
    let mut path = None;
    let mut required = true;
    let mut raw = false;
    if spot.is_map() {
        for (key, value) in spot.fields(&["path", "required", "format"]) {
            match key {
                "path" => path = value.text(),
                "required" => required = value.flag(),
                _ => raw = value.text() == Some("raw"),
            }
        }
    } else {
        path = spot.text();
    }
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        spot.wrong("which file?", "write path: FILE");
        return;
    };
    let text = match (project.around.read)(path) {
        Ok(text) => text,
        Err(_) if !required => return,
        Err(error) => {
            spot.wrong(
                format!("cannot read {path}: {error}"),
                "make it, or write required: false",
            );
            return;
        }
    };
    if raw {
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        spec.env
            .extend(pairs.map(|(name, value)| (name.trim().to_owned(), value.to_owned())));
        return;
    }
    let lookup = |name: &str| project.around.variables.get(name).cloned();
    match dotenv::parse(&text, &lookup) {
        Ok(found) => {
            let said = found
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)));
            spec.env.extend(said);
        }
        Err(error) => spot.wrong(format!("{path}: {error}"), "write NAME=VALUE, a line each"),
    }
}
