//! Where a container can write and what of the box it sees: `volumes`, `tmpfs`, `devices`.

use super::project::Project;
use super::quantity::{self, SIZE};
use super::spot::Spot;
use crate::resource::{DeviceSpec, Memory, MountSpec, ServiceSpec, TmpfsSpec, VolumeSpec};

/// What to do with a path of the machine where the Compose file is.
const HERE: &str = "write the absolute path that it has on the box; a small file can go along: name it in configs \
                    with file:, and its path in the container as target";

pub(super) fn mounts(project: &Project<'_>, spot: &Spot<'_>, spec: &mut ServiceSpec) {
    for volume in spot.get("volumes").map_or_else(Vec::new, |all| all.list()) {
        match volume.is_map() {
            true => long(project, &volume, spec),
            false => short(project, &volume, spec),
        }
    }
    for (text, at) in spot.get("tmpfs").map_or_else(Vec::new, |all| all.texts()) {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mut size = None;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("size", text)) => match quantity::size(text) {
                    Some(found) => size = found,
                    None => at.wrong(format!("{text:?} is no size"), "write such as 64m or 1g"),
                },
                _ => at.warn(format!(
                    "option {option} is left out: file systems in memory have a size only"
                )),
            }
        }
        tmpfs(target, size, spec);
    }
    if let Some(shm) = spot.get("shm_size")
        && let Some(Some(size)) = shm.parsed(SIZE, quantity::size)
    {
        tmpfs("/dev/shm", Some(size), spec);
    }
    for device in spot.get("devices").map_or_else(Vec::new, |all| all.list()) {
        device_entry(&device, spec);
    }
    let stays = spec
        .volumes
        .first()
        .filter(|_| spec.placement.nodes.is_empty());
    if let Some(volume) = stays {
        spot.warn(format!(
            "volume {} is on the box where the container runs first and does not move with it; pin the service with \
             deploy.placement.constraints: [node.hostname == BOX]",
            volume.name
        ));
    }
}

fn tmpfs(target: &str, size: Option<Memory>, spec: &mut ServiceSpec) {
    let target = target.to_owned();
    spec.tmpfs.push(TmpfsSpec { target, size });
}

/// `SOURCE:TARGET[:OPTIONS]`.
fn short(project: &Project<'_>, spot: &Spot<'_>, spec: &mut ServiceSpec) {
    let Some(text) = spot.text() else { return };
    let parts: Vec<_> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [_] => {
            spot.wrong(
                "a volume without a name goes with its container",
                "write NAME:PATH, and NAME below volumes",
            );
            return;
        }
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => {
            spot.wrong(
                format!("{text:?} is no volume"),
                "write SOURCE:TARGET, or SOURCE:TARGET:ro",
            );
            return;
        }
    };
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            // What systems without SELinux, and Docker on Macs, do not have.
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" | "rprivate" | "private"
            | "nocopy" => {}
            _ => spot.wrong(
                format!("mounts have no option {option}"),
                "write ro, or nothing",
            ),
        }
    }
    let path = source.starts_with(['/', '.', '~']) || source.contains('/');
    match path {
        true => bind(spot, source, target, read_only, spec),
        false => named(project, spot, source, target, read_only, spec),
    }
}

fn long(project: &Project<'_>, spot: &Spot<'_>, spec: &mut ServiceSpec) {
    let (mut kind, mut source, mut target) = ("", "", "");
    let (mut read_only, mut size) = (false, None);
    for (key, value) in spot.fields(&[
        "type",
        "source",
        "target",
        "read_only",
        "bind",
        "volume",
        "tmpfs",
        "consistency",
        "image",
    ]) {
        match key {
            "type" => kind = value.text().unwrap_or_default(),
            "source" => source = value.text().unwrap_or_default(),
            "target" => target = value.text().unwrap_or_default(),
            "read_only" => read_only = value.flag(),
            "bind" => {
                for (_, option) in
                    value.fields(&["create_host_path", "selinux", "propagation", "recursive"])
                {
                    if option
                        .tree()
                        .scalar()
                        .is_some_and(|text| text.contains("shared") || text.contains("slave"))
                    {
                        option.wrong(
                            "mounts made later are not passed on",
                            "leave propagation out",
                        );
                    }
                }
            }
            "volume" => {
                for (name, option) in value.fields(&["nocopy", "subpath", "labels"]) {
                    if name == "subpath" {
                        option.wrong("volumes are mounted whole", "make a volume of its own");
                    }
                }
            }
            "tmpfs" => {
                for (name, option) in value.fields(&["size", "mode"]) {
                    match name {
                        "size" => size = option.parsed(SIZE, quantity::size).flatten(),
                        _ => option.warn("left out: file systems in memory have a size only"),
                    }
                }
            }
            _ => {}
        }
    }
    if target.is_empty() {
        spot.wrong("where in the container?", "write target: /PATH");
        return;
    }
    match kind {
        "bind" => bind(spot, source, target, read_only, spec),
        "volume" if source.is_empty() => {
            spot.wrong(
                "a volume without a name goes with its container",
                "write source: NAME, and NAME below volumes",
            );
        }
        "volume" => named(project, spot, source, target, read_only, spec),
        "tmpfs" => tmpfs(target, size, spec),
        other => spot.wrong(
            format!("{other:?} is no type of volume here"),
            "write bind, volume or tmpfs",
        ),
    }
}

fn bind(spot: &Spot<'_>, source: &str, target: &str, read_only: bool, spec: &mut ServiceSpec) {
    if !source.starts_with('/') {
        spot.wrong(
            format!("{source:?} is on this machine, and the container runs on a box"),
            HERE,
        );
        return;
    }
    let (source, target) = (source.to_owned(), target.to_owned());
    spec.mounts.push(MountSpec {
        source,
        target,
        read_only,
    });
}

fn named(
    project: &Project<'_>,
    spot: &Spot<'_>,
    key: &str,
    target: &str,
    read_only: bool,
    spec: &mut ServiceSpec,
) {
    let top = project.root.get("volumes");
    let known = top.as_ref().map_or_else(Vec::new, Spot::map);
    let Some((_, declared)) = known.iter().find(|(name, _)| *name == key) else {
        spot.wrong(
            format!("there is no volume {key}"),
            format!("write {key}: below volumes: at the top of the file"),
        );
        return;
    };
    let mut name = format!("{}_{key}", project.name);
    for (field, value) in declared.fields(&["driver", "driver_opts", "external", "labels", "name"])
    {
        let said = !value.is_idle();
        match field {
            "name" => name = value.text().unwrap_or_default().to_owned(),
            "driver" if said && value.tree().scalar() != Some("local") => {
                value.wrong(
                    "volumes are directories of the box",
                    "leave driver out, or mount a path of the box",
                );
            }
            "driver_opts" if said => {
                value.wrong(
                    "volumes are directories of the box",
                    "mount it on the box, and name its path as source",
                );
            }
            "external" if said => value.wrong(
                "volumes that others made are not used: ours are called kc-NAME",
                "leave external out, or name its path below /var/lib/docker/volumes as source",
            ),
            _ => {}
        }
    }
    let target = target.to_owned();
    spec.volumes.push(VolumeSpec {
        name,
        target,
        read_only,
    });
}

/// `SOURCE[:TARGET[:PERMISSIONS]]`, or a mapping.
fn device_entry(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    let (mut source, mut target, mut permissions) = (None, None, None);
    if spot.is_map() {
        for (key, value) in spot.fields(&["source", "target", "permissions"]) {
            match key {
                "source" => source = value.text(),
                "target" => target = value.text(),
                _ => permissions = value.text(),
            }
        }
    } else if let Some(text) = spot.text() {
        let mut parts = text.splitn(3, ':');
        source = parts.next();
        target = parts.next();
        permissions = parts.next();
    }
    let Some(source) = source.filter(|source| source.starts_with('/')) else {
        spot.wrong(
            format!("{:?} is no device of a box", source.unwrap_or_default()),
            "write a path below /dev, such as /dev/ttyUSB0",
        );
        return;
    };
    spec.devices.push(DeviceSpec {
        source: source.to_owned(),
        target: target.filter(|target| *target != source).map(str::to_owned),
        permissions: permissions.filter(|all| *all != "rwm").map(str::to_owned),
    });
}
