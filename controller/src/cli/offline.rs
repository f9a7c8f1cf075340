//! Verbs that need no controller.

use super::apply;
use super::args::{Cli, CompletionArgs, FileArgs, Format, SimulateArgs};
use super::compose::Project;
use super::failure::Failure;
use super::print;
use crate::manifest::ManifestError;
use crate::simulate;
use crate::views::ErrorBody;
use anyhow::Context as _;
use clap::CommandFactory as _;
use std::io::Read as _;

/// `kc completions`.
pub(super) fn completions(args: &CompletionArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kc", &mut script);
    print::raw(&String::from_utf8_lossy(&script))
}

/// `kc version --client`.
pub(super) fn version() -> Result<(), Failure> {
    print::line(concat!("kc ", env!("CARGO_PKG_VERSION")))
}

/// `kc convert`.
pub(super) fn convert(args: &FileArgs) -> Result<(), Failure> {
    let mut files = apply::read(&args.files)?;
    let compose = apply::named(&args.compose, &args.stacks)?;
    let projects = Project::translate(&mut files, &compose)?;
    if projects.len() < files.len() {
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        return Err(Failure::Usage(format!(
            "not all of {} are Compose files: those have services: at the top, and no kind:",
            names.join(", ")
        )));
    }
    for warning in projects.iter().flat_map(Project::warnings) {
        apply::warn(&warning);
    }
    match args.output {
        Some(Format::Json) => {
            let manifests = projects.iter().flat_map(Project::manifests);
            print::value(&manifests.collect::<Vec<_>>(), Format::Json)
        }
        _ => files.iter().try_for_each(|file| print::raw(&file.content)),
    }
}

/// `kc simulate`.
pub(super) fn simulate(args: &SimulateArgs) -> Result<(), Failure> {
    let name = if args.file.as_os_str() == "-" {
        "stdin".to_owned()
    } else {
        args.file.display().to_string()
    };
    let mut text = String::new();
    let read = if args.file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_string(&mut text)
    } else {
        std::fs::File::open(&args.file).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read {name}"))?;
    if simulate::is_recording(&text) {
        let replay = simulate::replay(&name, &text).map_err(|mistakes| refuse(&mistakes))?;
        return match args.output {
            Some(format @ (Format::Json | Format::Yaml)) => print::value(&replay, format),
            Some(Format::Wide | Format::Name) | None => print::raw(&replay.to_string()),
        };
    }
    let simulation = simulate::simulate(&name, &text).map_err(|mistakes| refuse(&mistakes))?;
    match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => print::value(&simulation, format),
        Some(Format::Wide | Format::Name) | None => print::raw(&simulation.to_string()),
    }
}

fn refuse(mistakes: &[ManifestError]) -> Failure {
    let lines: Vec<String> = mistakes.iter().map(ManifestError::to_string).collect();
    Failure::Refused(Box::new(ErrorBody {
        code: "invalid-manifest".to_owned(),
        message: lines.join("\n"),
        details: Vec::new(),
    }))
}
