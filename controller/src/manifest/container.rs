//! The container of one function or service.

use super::check::Desk;
use super::health;
use crate::resource::WorkloadSpec;
use kc_agent_api::Volume;
use std::collections::BTreeSet;

/// Most text in all files of one resource: the document travels over MQTT.
const MAX_FILES: usize = 256 << 10;
/// Labels that begin so are ours.
const OUR_LABELS: &str = "kcluster.";
/// Kernel parameters that containers have for themselves, or all those below the last dot.
const SYSCTLS: [&str; 9] = [
    "net.",
    "fs.mqueue.",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// Checks what is said about one container.
pub(super) fn check(desk: &mut Desk<'_>, work: WorkloadSpec<'_>) {
    let image = work.image;
    if !desk.has(&["spec", "image"]) {
        desk.wrong(&["spec"], "field \"image\" is missing");
        return;
    }
    let odd = image.is_empty() || image.contains(char::is_whitespace);
    desk.refuse_if(
        odd,
        &["spec", "image"],
        format!("{image:?} is no image reference"),
    );
    for name in work.env.keys() {
        let odd = name.is_empty() || name.contains(['=', '\0']);
        desk.refuse_if(
            odd,
            &["spec", "env", name],
            format!("{name:?} is no variable name"),
        );
    }
    process(desk, work);
    targets(desk, work);
    devices(desk, work);
    for label in work.labels.keys() {
        let at = ["spec", "labels", label.as_str()];
        desk.refuse_if(label.is_empty(), &at, "a label needs a name");
        let ours = label.starts_with(OUR_LABELS);
        let message = format!("labels that begin with {OUR_LABELS} are K-Cluster's own");
        desk.refuse_if(ours, &at, message);
    }
    for key in work.sysctls.keys() {
        let own = |known: &&str| match known.strip_suffix('.') {
            Some(_) => key.len() > known.len() && key.starts_with(*known),
            None => key == known,
        };
        let message = format!("{key:?} is no kernel parameter that a container has for itself");
        let foreign = !SYSCTLS.iter().any(own);
        desk.refuse_if(foreign, &["spec", "sysctls", key], message);
    }
    if let Some(check) = work.health {
        health::health(desk, check);
    }
    health::update(desk, work.update, *work.stop_timeout);
}

/// What the process is told, and who it is.
fn process(desk: &mut Desk<'_>, work: WorkloadSpec<'_>) {
    let empty = work.command.first().is_some_and(String::is_empty);
    let message = "command is a list: the program, then its arguments";
    desk.refuse_if(empty, &["spec", "command"], message);
    if let Some(dir) = work.working_dir.as_ref().filter(|dir| !is_absolute(dir)) {
        let message = format!("{dir:?} is no absolute path in the container without `..` and `:`");
        desk.wrong(&["spec", "workingDir"], message);
    }
    if let Some(user) = work.user {
        let (name, group) = user.split_once(':').unwrap_or((user, "0"));
        let message = format!("{user:?} is no user; write user or user:group, names or numbers");
        let odd = !is_account(name) || !is_account(group);
        desk.refuse_if(odd, &["spec", "user"], message);
    }
    for (index, group) in work.group_add.iter().enumerate() {
        let message = format!("{group:?} is no group; write its name or number");
        let at = ["spec", "groupAdd", &index.to_string()];
        desk.refuse_if(!is_account(group), &at, message);
    }
    if let Some(hostname) = work.hostname {
        let label = |label: &str| {
            let plain = label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
            !label.is_empty() && plain && !label.starts_with('-') && !label.ends_with('-')
        };
        let good = hostname.len() <= 63 && hostname.split('.').all(label);
        let message = format!("{hostname:?} is no host name of at most 63 characters");
        desk.refuse_if(!good, &["spec", "hostname"], message);
    }
}

/// A name or number of a user or group.
fn is_account(text: &str) -> bool {
    !text.is_empty() && !text.contains([':', '\0']) && !text.contains(char::is_whitespace)
}

/// Everything that has a place in the container has a place of its own.
fn targets(desk: &mut Desk<'_>, work: WorkloadSpec<'_>) {
    let files = work.files;
    let total: usize = files.iter().map(|file| file.content.len()).sum();
    let message = format!("files of {total} bytes in all; at most {MAX_FILES} are taken");
    desk.refuse_if(total > MAX_FILES, &["spec", "files"], message);
    let files = files.iter().map(|file| ("files", "path", &file.path));
    let mounts = work.mounts.iter();
    let mounts = mounts.map(|mount| ("mounts", "target", &mount.target));
    let volumes = work.volumes.iter();
    let volumes = volumes.map(|volume| ("volumes", "target", &volume.target));
    let tmpfs = work.tmpfs.iter();
    let tmpfs = tmpfs.map(|tmpfs| ("tmpfs", "target", &tmpfs.target));
    secrets(desk, work);
    let mut seen = BTreeSet::new();
    let known = work.secrets.iter().filter(|secret| secret.key.is_some());
    let known: Vec<_> = known
        .map(|secret| secret.file(secret.key.as_deref().unwrap_or_default()))
        .collect();
    seen.extend(known.iter().map(String::as_str));
    target(desk, files.enumerate(), &mut seen);
    target(desk, mounts.enumerate(), &mut seen);
    target(desk, volumes.enumerate(), &mut seen);
    target(desk, tmpfs.enumerate(), &mut seen);
    for (index, mount) in work.mounts.iter().enumerate() {
        let message = format!(
            "{:?} is no absolute path without `..` and `:`",
            mount.source
        );
        let at = ["spec", "mounts", &index.to_string(), "source"];
        desk.refuse_if(!is_absolute(&mount.source), &at, message);
    }
    for (index, volume) in work.volumes.iter().enumerate() {
        let name = &volume.name;
        let message = format!(
            "{name:?} is no volume's name: 1 to 64 characters of a-z A-Z 0-9 . _ -, the first a letter \
             or digit; for a path of the box take mounts"
        );
        let at = ["spec", "volumes", &index.to_string(), "name"];
        desk.refuse_if(!Volume::is_legal_name(name), &at, message);
    }
}

fn secrets(desk: &mut Desk<'_>, work: WorkloadSpec<'_>) {
    let mut seen = BTreeSet::new();
    for (index, secret) in work.secrets.iter().enumerate() {
        let index = index.to_string();
        let at = |key| ["spec", "secrets", &index, key];
        if let Some(path) = secret.path.as_ref().filter(|path| !is_absolute(path)) {
            let message =
                format!("{path:?} is no absolute path in the container without `..` and `:`");
            desk.wrong(&at("path"), message);
        }
        if let Some(mode) = secret
            .mode
            .as_ref()
            .filter(|_| secret.permissions().is_none())
        {
            let message = format!(
                "mode {mode:?}; write permissions in octal, the owner reading, such as \"0400\""
            );
            desk.wrong(&at("mode"), message);
        }
        let twice = !seen.insert((&secret.name, &secret.key, &secret.path));
        desk.refuse_if(twice, &at("name"), format!("{} is here twice", secret.name));
    }
}

fn target<'a>(
    desk: &mut Desk<'_>,
    targets: impl Iterator<Item = (usize, (&'a str, &'a str, &'a String))>,
    seen: &mut BTreeSet<&'a str>,
) {
    for (index, (list, key, target)) in targets {
        let at = ["spec", list, &index.to_string(), key];
        let good = is_absolute(target) && !target.trim_matches('/').is_empty();
        let message =
            format!("{target:?} is no absolute path in the container without `..` and `:`");
        desk.refuse_if(!good, &at, message);
        let twice = !seen.insert(target);
        desk.refuse_if(twice, &at, format!("{target:?} is here twice"));
    }
}

fn devices(desk: &mut Desk<'_>, work: WorkloadSpec<'_>) {
    let mut seen = BTreeSet::new();
    for (index, device) in work.devices.iter().enumerate() {
        let index = index.to_string();
        let at = |key| ["spec", "devices", &index, key];
        let source = &device.source;
        let below =
            is_absolute(source) && source.len() > "/dev/".len() && source.starts_with("/dev/");
        let message = format!("{source:?} is no device; write a path below /dev");
        desk.refuse_if(!below, &at("source"), message);
        let inside = device.inside();
        let message =
            format!("{inside:?} is no absolute path in the container without `..` and `:`");
        desk.refuse_if(!is_absolute(inside), &at("target"), message);
        let twice = !seen.insert(inside);
        desk.refuse_if(twice, &at("target"), format!("{inside:?} is here twice"));
        if let Some(permissions) = &device.permissions {
            let known = permissions.chars().all(|c| "rwm".contains(c));
            let message = format!("{permissions:?} must be some of r, w and m");
            let odd = permissions.is_empty() || !known;
            desk.refuse_if(odd, &at("permissions"), message);
        }
    }
}

fn is_absolute(path: &str) -> bool {
    // A colon would end the path in the engine's own syntax.
    let plain = path.starts_with('/') && !path.contains(['\0', ':']);
    plain && !path.split('/').any(|part| part == "..")
}
