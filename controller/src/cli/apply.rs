//! `kc apply`, `kc diff` and `kc delete`.

use super::args::{ApplyArgs, ComposeArgs, DeleteArgs, FileArgs, Format, StackArgs};
use super::client::Client;
use super::compose::{Project, place};
use super::failure::Failure;
use super::get::escape;
use super::human;
use super::print;
use crate::manifest::MAX_BYTES;
use crate::resource::Resource;
use crate::views::{ApplyResult, Change, ErrorBody, ManifestFile, ManifestFiles, ManifestProblem};
use anyhow::Context as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// `kc apply`.
pub(super) async fn apply(client: &Client, args: &ApplyArgs) -> Result<(), Failure> {
    let sent = Sent::read(&args.from.files, &args.from.compose, &args.from.stacks)?;
    let mut result = sent.post(client, "apply", args.dry_run, "").await?;
    let left = sent.left(client).await?;
    result.warnings.extend(left);
    told(&result, args.from.output)
}

/// `kc diff`.
pub(super) async fn diff(client: &Client, args: &FileArgs) -> Result<(), Failure> {
    let sent = Sent::read(&args.files, &args.compose, &args.stacks)?;
    let result = sent.post(client, "apply", true, "").await?;
    if let Some(format) = args.output {
        print::value(&result, format)?;
    } else {
        for resource in &result.resources {
            if resource.change != Change::Unchanged {
                let (kind, name) = (&resource.kind, &resource.name);
                print::line(&format!("{} {kind}/{name}", resource.change))?;
                print::raw(&painted(&resource.diff, print::colours()))?;
            }
        }
        steps(&result)?;
    }
    if result.changes_something() {
        Err(Failure::Differs)
    } else {
        Ok(())
    }
}

/// `kc delete`.
pub(super) async fn delete(client: &Client, args: &DeleteArgs) -> Result<(), Failure> {
    let ignore = args.ignore_not_found;
    let dry = args.dry_run;
    if let Some(kind) = args.kind {
        let Some(manifest) = kind.manifest() else {
            return Err(Failure::Usage(format!(
                "{kind} come and go by themselves; node, function, chain, service, secret and stack can be deleted"
            )));
        };
        for name in &args.names {
            let path = format!(
                "/api/v1/resources/{manifest}/{}?dry-run={dry}",
                escape(name)
            );
            match client
                .delete::<ApplyResult>(&path)
                .await
                .map_err(Failure::from)
            {
                Ok(result) => told(&result, None)?,
                Err(Failure::NotFound(_)) if ignore => {}
                Err(failure) => return Err(failure),
            }
        }
        return Ok(());
    }
    let extra = format!("&ignore-not-found={ignore}");
    let sent = Sent::read(&args.files, &args.compose, &args.stacks)?;
    let result = sent.post(client, "delete", dry, &extra).await?;
    told(&result, None)
}

/// What the flags name, ready to be sent.
struct Sent {
    manifests: ManifestFiles,
    projects: Vec<Project>,
}

impl Sent {
    fn read(paths: &[PathBuf], compose: &ComposeArgs, stacks: &StackArgs) -> Result<Self, Failure> {
        let mut files = read(paths)?;
        let compose = named(compose, stacks)?;
        let projects = Project::translate(&mut files, &compose)?;
        let parameters = stacks.parameters.iter();
        let parameters = parameters.filter(|given| given.contains('='));
        let manifests = ManifestFiles {
            files,
            parameters: parameters.cloned().collect(),
            parameter_files: read(&stacks.parameters_file)?,
            adopt: stacks.adopt,
        };
        Ok(Self {
            manifests,
            projects,
        })
    }

    async fn post(
        &self,
        client: &Client,
        verb: &str,
        dry_run: bool,
        extra: &str,
    ) -> Result<ApplyResult, Failure> {
        let body = serde_json::to_vec(&self.manifests).context("cannot write JSON")?;
        let path = format!("/api/v1/{verb}?dry-run={dry_run}{extra}");
        match client
            .post::<ApplyResult>(&path, body)
            .await
            .map_err(Failure::from)
        {
            Ok(mut result) => {
                place(&self.projects, &mut result.warnings);
                // Whoever deletes has heard them before.
                if verb == "apply" {
                    let own = self.projects.iter().flat_map(Project::warnings);
                    result.warnings.splice(0..0, own);
                }
                Ok(result)
            }
            Err(Failure::Refused(mut body)) => {
                place(&self.projects, &mut body.details);
                Err(Failure::Refused(body))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Services that are of the same projects and in these files no more.
    async fn left(&self, client: &Client) -> Result<Vec<ManifestProblem>, Failure> {
        if self.projects.is_empty() {
            return Ok(Vec::new());
        }
        let all: Vec<Resource> = client.get("/api/v1/resources").await?;
        Ok(self
            .projects
            .iter()
            .flat_map(|project| project.left(&all))
            .collect())
    }
}

/// `-p NAME` is the project of a Compose file, as `docker compose` has it; `-p NAME=VALUE` is a stack's.
pub(super) fn named(compose: &ComposeArgs, stacks: &StackArgs) -> Result<ComposeArgs, Failure> {
    let mut compose = compose.clone();
    for project in stacks
        .parameters
        .iter()
        .filter(|given| !given.contains('='))
    {
        if compose.project_name.replace(project.clone()).is_some() {
            return Err(Failure::Usage(format!(
                "-p {project}: there is a project name already; a stack's parameter is -p NAME=VALUE"
            )));
        }
    }
    Ok(compose)
}

fn told(result: &ApplyResult, format: Option<Format>) -> Result<(), Failure> {
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => return print::value(result, format),
        Some(Format::Name) => {
            for resource in &result.resources {
                print::line(&format!("{}/{}", resource.kind, resource.name))?;
            }
            return Ok(());
        }
        Some(Format::Wide) | None => {}
    }
    let rehearsal = if result.dry_run { " (dry run)" } else { "" };
    for resource in &result.resources {
        print::line(&format!(
            "{}/{} {}{rehearsal}",
            resource.kind, resource.name, resource.change
        ))?;
    }
    steps(result)
}

fn steps(result: &ApplyResult) -> Result<(), Failure> {
    for warning in &result.warnings {
        warn(warning);
    }
    for step in &result.steps {
        print::line(&format!("  {}", step.text))?;
    }
    Ok(())
}

/// Tells on stderr what is odd but not wrong.
pub(super) fn warn(warning: &ManifestProblem) {
    let line = warning
        .line
        .map_or_else(String::new, |line| format!(":{line}"));
    eprintln!("warning: {}{line}: {}", warning.file, warning.message);
}

fn painted(diff: &str, colours: bool) -> String {
    let mut text = String::new();
    for line in diff.lines() {
        let code = match line.as_bytes().first() {
            Some(b'+') if colours => "\x1b[32m",
            Some(b'-') if colours => "\x1b[31m",
            _ => "",
        };
        text.push_str(code);
        text.push_str(line);
        if !code.is_empty() {
            text.push_str("\x1b[0m");
        }
        text.push('\n');
    }
    text
}

/// Reads what the flags name; directories give their manifests in name order.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<ManifestFile>, Failure> {
    let mut files = Vec::new();
    let mut total = 0;
    for path in paths {
        for path in expand(path)? {
            let file = one(&path)?;
            total += file.content.len();
            if total > MAX_BYTES {
                return Err(too_large(&file.name));
            }
            files.push(file);
        }
    }
    Ok(files)
}

fn expand(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if path.as_os_str() == "-" || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let listing =
        std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut files = Vec::new();
    for entry in listing {
        let file = entry
            .with_context(|| format!("cannot read {}", path.display()))?
            .path();
        let yaml = file.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::Usage(format!(
            "{} holds no *.yaml or *.yml file",
            path.display()
        )));
    }
    Ok(files)
}

fn one(path: &Path) -> Result<ManifestFile, Failure> {
    let (name, source): (String, Box<dyn std::io::Read>) = if path.as_os_str() == "-" {
        ("stdin".to_owned(), Box::new(std::io::stdin().lock()))
    } else {
        let file =
            std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        (path.display().to_string(), Box::new(file))
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    source
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {name}"))?;
    if bytes.len() > MAX_BYTES {
        return Err(too_large(&name));
    }
    match String::from_utf8(bytes) {
        Ok(content) => Ok(ManifestFile { name, content }),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let line = error
                .as_bytes()
                .iter()
                .take(good)
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            Err(refuse(format!(
                "{name}:{line}: the file is not UTF-8 text; a manifest is YAML"
            )))
        }
    }
}

fn too_large(name: &str) -> Failure {
    let most = human::bytes(u64::try_from(MAX_BYTES).unwrap_or(u64::MAX));
    refuse(format!(
        "{name}: more than {most}, which is the most manifests may have in one request"
    ))
}

fn refuse(message: String) -> Failure {
    Failure::Refused(Box::new(ErrorBody {
        code: "invalid-manifest".to_owned(),
        message,
        details: Vec::new(),
    }))
}
