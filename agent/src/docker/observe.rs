//! Reading our containers.

use super::body::Labels;
use super::error::status;
use super::{DockerError, watch::part_of};
use crate::reconcile::{Phase, Seen};
use crate::wiring::netns_of;
use bollard::Docker;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, HealthStatusEnum,
};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use kc_agent_api::Health;
use std::collections::HashMap;

/// All containers of `node`.
pub async fn list(docker: &Docker, node: &str) -> Result<Vec<Seen>, DockerError> {
    let filters = HashMap::from([("label", vec![format!("{}={node}", Labels::NODE)])]);
    let filters: HashMap<String, Vec<String>> = filters
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let refused = DockerError::refused("list", "containers");
    let summaries = docker
        .list_containers(Some(options))
        .await
        .map_err(refused)?;
    let mut seen = Vec::new();
    for id in summaries.into_iter().filter_map(|summary| summary.id) {
        seen.extend(inspect(docker, node, &id).await?);
    }
    Ok(seen)
}

/// One container, or nothing when it is not there or not ours.
pub async fn inspect(docker: &Docker, node: &str, id: &str) -> Result<Option<Seen>, DockerError> {
    match docker
        .inspect_container(id, None::<InspectContainerOptions>)
        .await
    {
        Ok(answer) => Ok(read(answer, node)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(DockerError::refused("inspect container", id)(error)),
    }
}

fn read(answer: ContainerInspectResponse, node: &str) -> Option<Seen> {
    let config = answer.config?;
    let mut labels = config.labels?;
    if labels.get(Labels::NODE).map(String::as_str) != Some(node) {
        return None;
    }
    let state = answer.state?;
    let phase = phase(state.status?);
    let running = phase == Phase::Running;
    let pid = state
        .pid
        .and_then(|pid| u32::try_from(pid).ok())
        .filter(|pid| running && *pid > 0);
    let network = answer.host_config.and_then(|host| host.network_mode);
    Some(Seen {
        id: answer.id?,
        part: part_of(&labels),
        name: labels.remove(Labels::NAME)?,
        hash: labels.remove(Labels::HASH).unwrap_or_default(),
        image: config.image.unwrap_or_default(),
        phase,
        exit_code: state
            .exit_code
            .filter(|_| !matches!(phase, Phase::Running | Phase::Created)),
        error: state.error.filter(|error| !error.is_empty()),
        restarts: answer
            .restart_count
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(0),
        // The engine writes year 1 for "never".
        started_at: state.started_at.filter(|at| !at.starts_with("0001-")),
        pid,
        netns: pid.and_then(netns_of),
        joined: network.and_then(|mode| mode.strip_prefix("container:").map(str::to_owned)),
        health: state.health.and_then(|health| match health.status? {
            HealthStatusEnum::STARTING => Some(Health::Starting),
            HealthStatusEnum::HEALTHY => Some(Health::Healthy),
            HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
            HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
        }),
        image_id: answer.image,
    })
}

fn phase(status: Status) -> Phase {
    match status {
        Status::CREATED | Status::EMPTY => Phase::Created,
        Status::RUNNING | Status::PAUSED | Status::STOPPING => Phase::Running,
        Status::RESTARTING => Phase::Restarting,
        Status::REMOVING => Phase::Removing,
        Status::EXITED => Phase::Exited,
        Status::DEAD => Phase::Dead,
    }
}
