//! Whether an instance that was just made works: its health check says so or, where nobody checks, it
//! has stayed up for a while.

use super::InstanceHealth;
use super::draft::Draft;
use super::rollout::update;
use crate::resource::ResourceId;
use kc_agent_api::{ContainerPhase, ContainerState, Health, UpdatePolicy};
use serde::{Deserialize, Serialize};

/// What is remembered of it meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Trial {
    /// When its image was there, and it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_ms: Option<u64>,
    /// What runs, while nobody checks its health, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
}

/// One life of a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    started_at: Option<String>,
    since_ms: u64,
}

/// How far it is.
pub(super) enum Progress {
    Proven,
    Open,
    /// No box has room for it.
    Unplaced(String),
    /// It is there, and not healthy.
    Failed(String),
}

impl Trial {
    /// How far `name` of `id` is.
    pub(super) fn look(&mut self, draft: &mut Draft<'_>, id: &ResourceId, name: &str) -> Progress {
        let Some(instance) = draft.state.instances.get(name) else {
            return Progress::Open;
        };
        if let Some(why) = &instance.waiting {
            return Progress::Unplaced(why.clone());
        }
        let runs = instance.health == InstanceHealth::Running;
        let node = instance.node.as_ref();
        let Some(container) = node.and_then(|node| draft.observed.container(node, name)) else {
            return Progress::Open;
        };
        match container.health {
            Some(Health::Unhealthy) => return Progress::Failed("is unhealthy".to_owned()),
            Some(Health::Healthy) if runs => return Progress::Proven,
            // An image may take its time, and a registry may be away: nothing is lost by waiting.
            _ if container.id.is_empty() => return Progress::Open,
            _ => {}
        }
        let (started_at, why) = (container.started_at.clone(), why_not(container));
        let policy = draft
            .state
            .owner(id)
            .map(|resource| update(resource).policy());
        let deadline_ms = policy.map_or(0, |policy| u64::from(policy.deadline_ms));
        let now_ms = draft.now_ms;
        let made_ms = *self.made_ms.get_or_insert(now_ms);
        let run = Run {
            started_at,
            since_ms: now_ms,
        };
        let same = self.run.take();
        let same = same.filter(|before| before.started_at == run.started_at);
        self.run = runs.then(|| same.unwrap_or(run));
        let until_ms = match &self.run {
            Some(run) => run
                .since_ms
                .saturating_add(UpdatePolicy::PROOF_MS.min(deadline_ms)),
            None => made_ms.saturating_add(deadline_ms),
        };
        if now_ms < until_ms {
            draft.wake(until_ms);
            return Progress::Open;
        }
        if runs {
            return Progress::Proven;
        }
        let seconds = deadline_ms.div_ceil(1_000);
        Progress::Failed(format!("{why} after {seconds} s"))
    }
}

fn why_not(container: &ContainerState) -> String {
    match (container.phase, &container.error, container.exit_code) {
        (ContainerPhase::Running, ..) => "is not healthy".to_owned(),
        (_, Some(error), _) => format!("does not start ({error})"),
        (_, None, Some(code)) => format!("ends with {code}"),
        (_, None, None) => "does not start".to_owned(),
    }
}
