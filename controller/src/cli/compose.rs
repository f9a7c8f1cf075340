//! Compose files on the command line: reads what is around them, and tells in their own lines what
//! the controller says of their translation.

use super::args::ComposeArgs;
use super::failure::Failure;
use crate::manifest::compose::{self, Manifest, PROJECT, SERVICE, Surroundings, Translation};
use crate::manifest::{MAX_BYTES, ManifestError, Page, Source};
use crate::resource::Resource;
use crate::views::{ErrorBody, ManifestFile, ManifestProblem};
use anyhow::Context as _;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// A Compose file and what became of it.
pub(super) struct Project {
    file: ManifestFile,
    translation: Translation,
}

impl Project {
    /// Puts translations in the place of Compose files; manifests stay as they are.
    pub(super) fn translate(
        files: &mut [ManifestFile],
        args: &ComposeArgs,
    ) -> Result<Vec<Self>, Failure> {
        let mut projects: Vec<Self> = Vec::new();
        for file in files {
            if !compose::is_compose(&file.content) {
                continue;
            }
            let translation = translate(file, args)?;
            let same = |other: &&Self| other.translation.project == translation.project;
            if let Some(other) = projects.iter().find(same) {
                return Err(Failure::Usage(format!(
                    "{} and {} are both project {}: Compose files are not merged; apply each by itself with a \
                     --project-name of its own, or write one file with `docker compose config`",
                    other.file.name, file.name, translation.project
                )));
            }
            let content = translation.text.clone();
            let name = file.name.clone();
            let file = std::mem::replace(file, ManifestFile { name, content });
            projects.push(Self { file, translation });
        }
        Ok(projects)
    }

    /// What was left out.
    pub(super) fn warnings(&self) -> impl Iterator<Item = ManifestProblem> {
        self.translation.warnings.iter().cloned().map(Into::into)
    }

    /// What it became.
    pub(super) fn manifests(&self) -> Vec<Manifest<'_>> {
        self.translation.manifests()
    }

    /// What `all` has of this project that the file does not have any more.
    pub(super) fn left(&self, all: &[Resource]) -> Vec<ManifestProblem> {
        let project = self.translation.project.as_str();
        let ours: BTreeSet<_> = self.translation.resources().map(Resource::id).collect();
        let of_project = |resource: &&Resource| {
            let labels = &resource.metadata().labels;
            labels.get(PROJECT).is_some_and(|found| found == project)
        };
        let left = all.iter().filter(of_project);
        left.filter(|resource| !ours.contains(&resource.id()))
            .map(|resource| {
                let (kind, name) = (resource.kind(), resource.name());
                let kind = kind.as_str().to_lowercase();
                let service = resource.metadata().labels.get(SERVICE);
                let service = service.map_or("it", String::as_str);
                self.about(format!(
                    "{kind} {name} is of project {project}, and the file has no {service} any more; \
                     `kc delete {kind} {name}` takes it away"
                ))
            })
            .collect()
    }

    /// Something about the file as a whole.
    fn about(&self, message: String) -> ManifestProblem {
        let page = Page::new(&self.file.name, &self.file.content);
        page.error(0, 0, message).into()
    }
}

/// Moves what was said of translations to the places of the Compose files they were made from.
pub(super) fn place(projects: &[Project], problems: &mut [ManifestProblem]) {
    for problem in problems {
        let Some(project) = projects.iter().find(|p| p.file.name == problem.file) else {
            continue;
        };
        let Some(line) = problem.line else { continue };
        let ((line, column), path) = project.translation.origin(line);
        let page = Page::new(&project.file.name, &project.file.content);
        let message = format!("{path}: {}", problem.message);
        *problem = page.error(line, column, message).into();
    }
}

fn translate(file: &ManifestFile, args: &ComposeArgs) -> Result<Translation, Failure> {
    let directory = match Path::new(&file.name).parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let variables = variables(&directory, args)?;
    let whole = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.clone());
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    let said = |name: &str| variables.get(name).filter(|value| !value.is_empty());
    let project = args.project_name.as_ref();
    let profiles = match args.profile.is_empty() {
        false => args.profile.clone(),
        true => said("COMPOSE_PROFILES").map_or_else(Vec::new, |all| {
            all.split(',').map(|name| name.trim().to_owned()).collect()
        }),
    };
    let around = Surroundings {
        project: project
            .or_else(|| said("COMPOSE_PROJECT_NAME"))
            .map(String::as_str),
        directory: &name,
        variables: &variables,
        profiles: &profiles,
        read: &|path: &str| text(&directory.join(path)).map_err(|error| error.to_string()),
    };
    let source = Source {
        name: &file.name,
        text: &file.content,
    };
    compose::translate(source, around).map_err(refuse)
}

/// The environment, over what the files of variables say.
fn variables(directory: &Path, args: &ComposeArgs) -> Result<BTreeMap<String, String>, Failure> {
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        Some((name, value))
    });
    let environment: BTreeMap<_, _> = environment.collect();
    let usual = directory.join(".env");
    let files = match args.env_file.is_empty() {
        true if usual.is_file() => vec![usual],
        _ => args.env_file.clone(),
    };
    let mut all = BTreeMap::new();
    for path in files {
        let name = path.display().to_string();
        let text = text(&path).with_context(|| format!("cannot read {name}"))?;
        let found = compose::variables(&name, &text, &environment);
        all.extend(found.map_err(|error| refuse(vec![error]))?);
    }
    all.extend(environment);
    Ok(all)
}

/// A text file of a bearable size.
fn text(path: &Path) -> std::io::Result<String> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(limit.saturating_add(1))
        .read_to_string(&mut text)?;
    match text.len() > MAX_BYTES {
        true => Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge)),
        false => Ok(text),
    }
}

fn refuse(mistakes: Vec<ManifestError>) -> Failure {
    let count = match mistakes.len() {
        1 => "a mistake".to_owned(),
        several => format!("{several} mistakes"),
    };
    Failure::Refused(Box::new(ErrorBody {
        code: "invalid-manifest".to_owned(),
        message: format!("{count} in the Compose file"),
        details: mistakes.into_iter().map(Into::into).collect(),
    }))
}
