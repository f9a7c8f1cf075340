//! Tells members of clusters what they are: runs the hook of a container once for each change of its
//! role or of its peers. What was told is known as long as the agent lives; one that starts tells
//! everybody once.

use crate::docker;
use crate::keeper::{Happened, View};
use crate::reconcile::{Part as Piece, Phase};
use kc_agent_api::{ClusterPart, ClusterRole, EventKind};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long a hook may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What was told last, by container and chain: the engine's id, and what it is.
type Told = BTreeMap<(String, String), (String, ClusterPart)>;

/// A hook that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    name: String,
    id: String,
    chain: String,
    part: ClusterPart,
    command: Vec<String>,
}

impl Run {
    fn environment(&self) -> Vec<String> {
        let peers = self.part.peers.iter().map(ToString::to_string);
        vec![
            format!("CHAIN={}", self.chain),
            format!("ROLE={}", self.part.role.as_str()),
            format!("PEERS={}", peers.collect::<Vec<_>>().join(" ")),
        ]
    }
}

/// Hooks that are due, and what is then told. Containers that do not run are told when they do.
fn due(view: &View, told: &Told) -> Vec<Run> {
    let mut runs = Vec::new();
    for spec in &view.spec.containers {
        let Some(membership) = spec.cluster.as_ref().filter(|one| !one.hook.is_empty()) else {
            continue;
        };
        let mut seen = view.containers.iter();
        let running = seen.find(|seen| {
            seen.name == spec.name && seen.part == Piece::Main && seen.phase == Phase::Running
        });
        let Some(seen) = running else { continue };
        let former = told.iter().filter(|((name, chain), (id, part))| {
            *name == spec.name
                && *id == seen.id
                && part.role != ClusterRole::None
                && !membership.chains.contains_key(chain)
        });
        let gone = former.map(|((_, chain), _)| {
            let part = ClusterPart {
                role: ClusterRole::None,
                peers: Vec::new(),
            };
            (chain.clone(), part)
        });
        let now = membership.chains.iter();
        let now = now.map(|(chain, part)| (chain.clone(), part.clone()));
        for (chain, part) in now.chain(gone) {
            let known = told.get(&(spec.name.clone(), chain.clone()));
            if known.is_some_and(|(id, known)| *id == seen.id && *known == part) {
                continue;
            }
            runs.push(Run {
                name: spec.name.clone(),
                id: seen.id.clone(),
                chain,
                part,
                command: membership.hook.clone(),
            });
        }
    }
    runs
}

/// Runs hooks until the box is no longer looked after.
pub(crate) async fn mind(
    mut views: watch::Receiver<View>,
    events: mpsc::UnboundedSender<Happened>,
) {
    let mut told = Told::new();
    loop {
        let view = views.borrow_and_update().clone();
        for run in due(&view, &told) {
            let Some(docker) = &view.docker else { break };
            let key = (run.name.clone(), run.chain.clone());
            told.insert(key, (run.id.clone(), run.part.clone()));
            let environment = run.environment();
            let ended =
                docker::exec(docker, &run.id, run.command.clone(), environment, LIMIT).await;
            let outcome = match ended {
                Ok(Some(0)) => "done".to_owned(),
                Ok(Some(code)) => format!("failed, it ended with {code}"),
                Ok(None) => format!("failed, it took longer than {} s", LIMIT.as_secs()),
                Err(error) => format!("failed: {}", crate::keeper::explain(&error)),
            };
            let (chain, role) = (&run.chain, run.part.role.as_str());
            let happened = Happened {
                kind: EventKind::HookRun,
                object: run.name.clone(),
                message: format!(
                    "hook of {} for chain {chain}, role {role}: {outcome}",
                    run.name
                ),
            };
            if events.send(happened).is_err() {
                return;
            }
        }
        let there = |name: &String| view.spec.containers.iter().any(|spec| spec.name == *name);
        told.retain(|(name, _), _| there(name));
        if views.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::Seen;
    use kc_agent_api::{ContainerSpec, Membership, NodeName, NodeSpec, Peer};
    use std::sync::Arc;

    fn view(id: &str, phase: Phase, chains: &[(&str, ClusterRole, &str)]) -> View {
        let chains = chains.iter().map(|(chain, role, peer)| {
            let peer = Peer {
                name: (*peer).to_owned(),
                node: NodeName::new("box2").unwrap(),
                address: Some([10, 0, 0, 2].into()),
            };
            let part = ClusterPart {
                role: *role,
                peers: vec![peer],
            };
            ((*chain).to_owned(), part)
        });
        let spec = ContainerSpec {
            cluster: Some(Membership {
                hook: vec!["/sync".into()],
                chains: chains.collect(),
            }),
            ..crate::reconcile::model::container("fw-1", kc_agent_api::Network::Host)
        };
        let seen = Seen {
            phase,
            ..model_seen(id)
        };
        View {
            spec: Arc::new(NodeSpec {
                containers: vec![spec],
                ..NodeSpec::default()
            }),
            containers: Arc::new(vec![seen]),
            ..View::default()
        }
    }

    fn model_seen(id: &str) -> Seen {
        Seen {
            id: id.to_owned(),
            name: "fw-1".into(),
            part: Piece::Main,
            hash: String::new(),
            image: String::new(),
            phase: Phase::Running,
            exit_code: None,
            error: None,
            restarts: 0,
            started_at: None,
            pid: None,
            netns: None,
            joined: None,
            health: None,
            image_id: None,
        }
    }

    fn told(view: &View, told: &mut Told) -> Vec<String> {
        let runs = due(view, told);
        for run in &runs {
            let key = (run.name.clone(), run.chain.clone());
            told.insert(key, (run.id.clone(), run.part.clone()));
        }
        runs.iter().map(|run| run.environment().join(" ")).collect()
    }

    #[test]
    fn each_change_is_told_once_and_to_what_runs_only() {
        use ClusterRole::{Active, Standby};
        let mut known = Told::new();
        let standby = view("a", Phase::Running, &[("web", Standby, "fw-2")]);
        let down = view("a", Phase::Exited, &[("web", Standby, "fw-2")]);
        assert!(told(&down, &mut known).is_empty());
        assert_eq!(
            told(&standby, &mut known),
            ["CHAIN=web ROLE=standby PEERS=fw-2@box2/10.0.0.2"]
        );
        assert!(told(&standby, &mut known).is_empty());
        let active = view("a", Phase::Running, &[("web", Active, "fw-3")]);
        assert_eq!(
            told(&active, &mut known),
            ["CHAIN=web ROLE=active PEERS=fw-3@box2/10.0.0.2"]
        );
        let none = view("a", Phase::Running, &[]);
        assert_eq!(told(&none, &mut known), ["CHAIN=web ROLE=none PEERS="]);
        assert!(told(&none, &mut known).is_empty());
        // A container that was made anew knows nothing.
        let anew = view("b", Phase::Running, &[("web", Active, "fw-3")]);
        assert_eq!(told(&anew, &mut known).len(), 1);
        assert!(told(&anew, &mut known).is_empty());
    }
}
