//! One service of a Compose file as a `Service`.

use super::keys::{self, Fate};
use super::project::Project;
use super::spot::Spot;
use super::{
    PROJECT, SERVICE, depends, deploy, environment, files, health, mounts, network, process,
};
use crate::resource::{ApiVersion, Metadata, Object, ServiceSpec};
use std::collections::BTreeMap;

/// Translates the service under `key`; `None` when it has no image or no name.
pub(super) fn service(
    project: &Project<'_>,
    key: &str,
    spot: &Spot<'_>,
) -> Option<Object<ServiceSpec>> {
    judge(spot);
    let mut spec: ServiceSpec =
        serde_json::from_value(serde_json::json!({ "image": image(spot)? })).ok()?;
    process::process(spot, &mut spec);
    environment::environment(project, spot, &mut spec);
    deploy::deploy(spot, &mut spec);
    network::network(spot, &mut spec);
    mounts::mounts(project, spot, &mut spec);
    files::files(project, spot, &mut spec);
    health::health(spot, &mut spec);
    depends::depends(project, spot, &mut spec);
    network::enough_boxes(spot, &spec);
    let labels = [
        (PROJECT.to_owned(), project.name.to_string()),
        (SERVICE.to_owned(), key.to_owned()),
    ];
    Some(Object {
        api_version: ApiVersion::V1,
        metadata: Metadata {
            name: project.services.get(key)?.clone(),
            labels: BTreeMap::from(labels),
        },
        spec,
    })
}

/// Tells of every key that is not taken up.
fn judge(spot: &Spot<'_>) {
    for (key, value) in spot.map() {
        match keys::SERVICE.iter().find(|(name, _)| *name == key) {
            None => value.unknown(key, &keys::SERVICE.map(|(key, _)| key)),
            Some(_) if value.is_idle() => {}
            Some((_, Fate::Taken)) => {}
            Some((_, Fate::Ignored(why))) => value.warn(format!("left out: {why}")),
            Some((_, Fate::Refused(why, todo))) => value.wrong(why, *todo),
        }
    }
}

/// The image; what is built here is not on the boxes.
fn image(spot: &Spot<'_>) -> Option<String> {
    let image = spot.get("image");
    match (&image, spot.get("build")) {
        (Some(_), Some(build)) => build.warn("left out: boxes pull the image, nothing is built"),
        (None, Some(build)) => build.wrong(
            "boxes have nothing to build from",
            "build and push it to a registry that the boxes reach, and name it as image",
        ),
        (None, None) => spot.wrong("there is no image", "write image: NAME:TAG"),
        (Some(_), None) => {}
    }
    let image = image?;
    let text = image.text()?;
    if text.is_empty() {
        image.wrong("there is no image", "write image: NAME:TAG");
    }
    Some(text.to_owned())
}
