//! `kc apply`, `kc diff` and `kc delete`.

use super::args::{ApplyArgs, DeleteArgs, FileArgs, Format};
use super::client::Client;
use super::failure::Failure;
use super::get::escape;
use super::human;
use super::print;
use crate::manifest::MAX_BYTES;
use crate::views::{ApplyResult, Change, ErrorBody, ManifestFile, ManifestFiles};
use anyhow::Context as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// `kc apply`.
pub(super) async fn apply(client: &Client, args: &ApplyArgs) -> Result<(), Failure> {
    let result = send(client, "apply", &args.from.files, args.dry_run, "").await?;
    told(&result, args.from.output)
}

/// `kc diff`.
pub(super) async fn diff(client: &Client, args: &FileArgs) -> Result<(), Failure> {
    let result = send(client, "apply", &args.files, true, "").await?;
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
                "{kind} come and go by themselves; node, function, chain and service can be deleted"
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
    let result = send(client, "delete", &args.files, dry, &extra).await?;
    told(&result, None)
}

async fn send(
    client: &Client,
    verb: &str,
    paths: &[PathBuf],
    dry_run: bool,
    extra: &str,
) -> Result<ApplyResult, Failure> {
    let files = read(paths)?;
    let body = serde_json::to_vec(&ManifestFiles { files }).context("cannot write JSON")?;
    let path = format!("/api/v1/{verb}?dry-run={dry_run}{extra}");
    Ok(client.post(&path, body).await?)
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
        let line = warning
            .line
            .map_or_else(String::new, |line| format!(":{line}"));
        eprintln!("warning: {}{line}: {}", warning.file, warning.message);
    }
    for step in &result.steps {
        print::line(&format!("  {}", step.text))?;
    }
    Ok(())
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
fn read(paths: &[PathBuf]) -> Result<Vec<ManifestFile>, Failure> {
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
