//! The top of a Compose file: its name, which of its services count, and what they share.

use super::keys::{self, Fate};
use super::spot::Spot;
use super::written::Made;
use super::{Surroundings, service};
use crate::resource::{Name, Resource};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// A project's name, and what it became.
pub(super) struct Translated {
    pub(super) name: Name,
    pub(super) made: Vec<Made>,
}

/// What all services of a project have in common.
pub(super) struct Project<'a> {
    pub(super) root: &'a Spot<'a>,
    pub(super) name: Name,
    pub(super) around: Surroundings<'a>,
    /// Our names of the services that count.
    pub(super) services: BTreeMap<&'a str, Name>,
    /// Services that no profile turns on.
    pub(super) off: BTreeSet<&'a str>,
    /// Secrets that services have, by their keys.
    pub(super) secrets: RefCell<BTreeMap<String, Made>>,
}

/// Translates everything.
pub(super) fn project<'a>(root: &'a Spot<'a>, around: Surroundings<'a>) -> Option<Translated> {
    if !root.is_map() {
        root.wrong("a Compose file is a mapping", "begin with services:");
        return None;
    }
    for (key, spot) in root.map() {
        match keys::TOP.iter().find(|(name, _)| *name == key) {
            None => spot.unknown(key, &keys::TOP.map(|(key, _)| key)),
            Some((_, Fate::Taken)) => {}
            Some((_, Fate::Ignored(why))) if !spot.is_idle() => spot.warn(why),
            Some((_, Fate::Refused(why, todo))) if !spot.is_idle() => spot.wrong(why, *todo),
            Some(_) => {}
        }
    }
    networks(root);
    let name = name(root, around)?;
    let mut project = Project {
        root,
        name,
        around,
        services: BTreeMap::new(),
        off: BTreeSet::new(),
        secrets: RefCell::default(),
    };
    let Some(services) = root.get("services") else {
        root.wrong(
            "there is no service to run",
            "write services: and a service below",
        );
        return None;
    };
    let mut all = services.map();
    all.retain(|(key, spot)| {
        let on = is_on(spot, around.profiles);
        if !on {
            project.off.insert(key);
        }
        on
    });
    let mut taken: BTreeMap<Name, &str> = BTreeMap::new();
    for (key, spot) in &all {
        let Some(ours) = called(&project.name, key, spot) else {
            continue;
        };
        if let Some(other) = taken.insert(ours.clone(), key) {
            spot.wrong(
                format!("{key} and {other} would both be called {ours}"),
                "take names that differ in more than case, `_`, `.` and `-`",
            );
        }
        project.services.insert(key, ours);
    }
    if all.is_empty() {
        services.wrong(
            "there is no service to run",
            match project.off.is_empty() {
                true => "write services: and a service below",
                false => {
                    "all of them are in profiles that are off; turn one on with --profile NAME"
                }
            },
        );
        return None;
    }
    if all.len() > 1 {
        services.warn(
            "services do not find each other by name here; use the addresses of `kc get services`, or \
             localhost between services on the network of one box",
        );
    }
    let services: Vec<Made> = all
        .iter()
        .filter_map(|(key, spot)| {
            Some(Made {
                resource: Resource::Service(service::service(&project, key, spot)?),
                place: spot.place(),
                path: spot.path().to_owned(),
            })
        })
        .collect();
    let secrets = project.secrets.take().into_values();
    Some(Translated {
        made: secrets.chain(services).collect(),
        name: project.name,
    })
}

/// The project's name: said by the caller, in the file, or that of the directory.
fn name(root: &Spot<'_>, around: Surroundings<'_>) -> Option<Name> {
    let written = root.get("name");
    let text = around
        .project
        .or_else(|| written.as_ref()?.text())
        .unwrap_or(around.directory);
    let name = Name::new(plain(text)).ok();
    if name.is_none() {
        let at = written.as_ref().unwrap_or(root);
        at.wrong(
            format!("{text:?} cannot be a project's name"),
            "give it one of a-z 0-9 -: name: at the top of the file, or --project-name",
        );
    }
    name
}

/// What Docker leaves of a name, with our hyphens.
fn plain(text: &str) -> String {
    let kept = text
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            'a'..='z' | '0'..='9' | '-' => Some(c),
            '_' | '.' | ' ' => Some('-'),
            _ => None,
        })
        .collect::<String>();
    kept.trim_matches('-').to_owned()
}

/// The name of a part of a project.
pub(super) fn called(project: &Name, key: &str, spot: &Spot<'_>) -> Option<Name> {
    let full = format!("{project}-{}", key.to_lowercase().replace(['_', '.'], "-"));
    let name = Name::new(&full).ok();
    if name.is_none() {
        spot.wrong(
            format!("{full:?} is no name for a resource"),
            "a name has 1 to 50 characters of a-z 0-9 -, the project's name and a hyphen counted",
        );
    }
    name
}

/// Whether a service is in no profile, or in one that is on.
fn is_on(spot: &Spot<'_>, profiles: &[String]) -> bool {
    let Some(own) = spot.get("profiles") else {
        return true;
    };
    let own = own.texts();
    let on = own.is_empty()
        || own
            .iter()
            .any(|(name, _)| profiles.iter().any(|on| on == name || on == "*"));
    if !on {
        let names: Vec<_> = own.iter().map(|(name, _)| *name).collect();
        spot.warn(format!(
            "left out: no profile of its is on; turn one on with --profile {}",
            names.join(" or --profile ")
        ));
    }
    on
}

/// Networks of the file: there is one segment for all.
fn networks(root: &Spot<'_>) {
    let Some(networks) = root.get("networks") else {
        return;
    };
    for (name, spot) in networks.map() {
        for (key, value) in spot.fields(&keys::NETWORK) {
            let driver = |taken: &[&str]| value.text().is_some_and(|text| taken.contains(&text));
            match key {
                "internal" if !value.is_idle() => value.wrong(
                    "no network here is cut off from others",
                    "leave it out, or keep it away with a firewall",
                ),
                "driver" if !driver(&["bridge", "overlay", "default", ""]) => value.wrong(
                    "services have an address in the cluster's own segment, or the box's network",
                    "leave driver out, or give the service network_mode: host",
                ),
                _ => {}
            }
        }
        if name != "default" {
            spot.warn("all services are in one segment of the cluster; networks do not part them");
        }
    }
}
