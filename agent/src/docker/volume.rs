//! Named volumes: there before the container, and there after it.

use super::DockerError;
use super::body::{Labels, volume_name};
use bollard::Docker;
use bollard::models::VolumeCreateRequest;
use kc_agent_api::ContainerSpec;
use std::collections::HashMap;

/// Has every volume of `spec` on the box. One that is there stays as it is: what is in it is the
/// user's, and nothing of ours ever removes it.
pub async fn ensure_volumes(
    docker: &Docker,
    node: &str,
    spec: &ContainerSpec,
) -> Result<(), DockerError> {
    for volume in &spec.volumes {
        let name = volume_name(&volume.name);
        let labels = HashMap::from([
            (Labels::NODE.to_owned(), node.to_owned()),
            (Labels::VOLUME.to_owned(), volume.name.clone()),
        ]);
        let wanted = VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        };
        let made = docker.create_volume(wanted).await;
        made.map_err(DockerError::refused("create volume", &name))?;
    }
    Ok(())
}
