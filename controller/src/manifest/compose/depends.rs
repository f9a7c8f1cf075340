//! `depends_on`: what must run before.

use super::project::Project;
use super::spot::Spot;
use crate::manifest::hint;
use crate::resource::ServiceSpec;

pub(super) fn depends(project: &Project<'_>, spot: &Spot<'_>, spec: &mut ServiceSpec) {
    let Some(depends) = spot.get("depends_on") else {
        return;
    };
    if depends.is_map() {
        for (name, entry) in depends.map() {
            let mut required = true;
            for (key, value) in entry.fields(&["condition", "restart", "required"]) {
                match key {
                    "condition" => condition(&value),
                    "required" => required = value.flag(),
                    _ if value.is_idle() => {}
                    _ => value.warn("left out: a service is not restarted because of another"),
                }
            }
            need(project, &entry, name, required, spec);
        }
    } else {
        for (name, at) in depends.texts() {
            need(project, &at, name, true, spec);
        }
    }
}

fn condition(spot: &Spot<'_>) {
    match spot.text() {
        Some("service_started" | "service_healthy") | None => {}
        Some("service_completed_successfully") => spot.wrong(
            "services do not end",
            "run it once with kc exec, or do its work in the entrypoint of the service that needs it",
        ),
        Some(other) => spot.wrong(
            format!("{other:?} is no condition"),
            "write service_started or service_healthy",
        ),
    }
}

fn need(project: &Project<'_>, at: &Spot<'_>, name: &str, required: bool, spec: &mut ServiceSpec) {
    match project.services.get(name) {
        Some(ours) => {
            if !spec.depends_on.contains(ours) {
                spec.depends_on.push(ours.clone());
            }
        }
        None if !required => {}
        None if project.off.contains(name) => at.wrong(
            format!("{name} is in a profile that is off"),
            "turn it on with --profile, or write required: false",
        ),
        None => {
            let names = project.services.keys().copied();
            at.wrong(
                format!("there is no service {name}"),
                hint(name, "services", names).unwrap_or_default(),
            );
        }
    }
}
