//! Starting the run loop, and the handle others use.

use super::clock::Clock;
use super::documents::Published;
use super::input::{Input, Mutation, MutationError, Outcome};
use super::owner::{Owner, Ways};
use super::snapshot::Snapshot;
use crate::mqtt::{Calls, OurPresence};
use crate::notify::Notifier;
use crate::observation::{Observations, Received};
use crate::plan::State;
use crate::store::{EventQuery, Loaded, Store, StoreError, StoredEvent};
use kc_agent_api::{DomainName, NodeStatus};
use kc_mqtt::{Incoming, Link};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Changes that may wait.
const WAITING: usize = 64;

/// Why the run loop cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No key for secrets can be drawn.
    #[error("the kernel gives no random octets")]
    Random(#[source] std::io::Error),
    /// The stored state is not one.
    #[error("the stored state cannot be read; was it written by a newer controller?")]
    State(#[source] serde_json::Error),
}

/// What the run loop needs.
#[derive(Debug)]
pub struct Engine {
    /// The domain.
    pub domain: DomainName,
    /// Where everything is kept.
    pub store: Store,
    /// What was kept.
    pub loaded: Loaded,
    /// The link to the broker.
    pub link: Link,
    /// What comes over it.
    pub incoming: mpsc::Receiver<Incoming>,
    /// What boxes are told of us.
    pub presence: OurPresence,
    /// A node that says nothing for this long is gone.
    pub heartbeat_timeout: Duration,
    /// Who is told of every alarm.
    pub webhooks: Vec<String>,
}

/// The way to the run loop; clones share it.
#[derive(Debug, Clone)]
pub struct Handle {
    inputs: mpsc::Sender<Input>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    store: Store,
    calls: Calls,
    link: Link,
    domain: DomainName,
}

impl Engine {
    /// Starts the run loop. It ends when every handle is gone.
    pub fn start(self) -> Result<(Handle, JoinHandle<()>), StartError> {
        let Loaded {
            state,
            documents,
            nodes,
            last_event,
            clock_ms,
        } = self.loaded;
        let (revision, mut state) = match state {
            Some((revision, body)) => {
                let state: State = serde_json::from_str(&body).map_err(StartError::State)?;
                (revision, state)
            }
            None => (0, State::default()),
        };
        let timeout = u64::try_from(self.heartbeat_timeout.as_millis()).unwrap_or(u64::MAX);
        state.settings.heartbeat_timeout_ms = timeout;
        if state.vault.is_new() {
            let mut root = [0; 32];
            std::fs::File::open("/dev/urandom")
                .and_then(|mut random| std::io::Read::read_exact(&mut random, &mut root))
                .map_err(StartError::Random)?;
            // Kept with the first secret at the latest: until then nothing is made of it.
            state.vault.begin(root);
        }
        let clock = Clock::start(clock_ms);
        let mut observed = Observations::default();
        for (name, body) in nodes {
            // A status this version cannot read comes again from the broker.
            if let Ok(report) = serde_json::from_str::<NodeStatus>(&body) {
                let at_ms = clock.now_ms();
                observed.nodes.entry(name).or_default().status = Some(Received { at_ms, report });
            }
        }
        let published: Published = documents;
        let (inputs, queue) = mpsc::channel(WAITING);
        let snapshot = Arc::new(Snapshot {
            revision,
            last_event,
            state,
            observed,
            documents: std::collections::BTreeMap::new(),
            phases: std::collections::BTreeMap::new(),
            now_ms: clock.now_ms(),
            clock,
        });
        let (sender, snapshots) = watch::channel(snapshot);
        let calls = Calls::new(self.domain.clone(), self.link.clone());
        let ways = Ways {
            link: self.link.clone(),
            calls: calls.clone(),
            presence: self.presence,
            notifier: Notifier::new(self.domain.to_string(), self.webhooks),
        };
        let (domain, store) = (self.domain.clone(), self.store.clone());
        let owner = Owner::new(domain, store, ways, published, sender);
        let task = tokio::spawn(owner.run(queue, self.incoming));
        let handle = Handle {
            inputs,
            snapshots,
            store: self.store,
            calls,
            link: self.link,
            domain: self.domain,
        };
        Ok((handle, task))
    }
}

impl Handle {
    /// Changes what is wanted, or rehearses it.
    pub async fn mutate(
        &self,
        mutation: Mutation,
        dry_run: bool,
    ) -> Result<Outcome, MutationError> {
        let (reply, answer) = oneshot::channel();
        let input = Input::Mutate {
            mutation,
            dry_run,
            reply,
        };
        self.inputs
            .send(input)
            .await
            .map_err(|_| MutationError::Closed)?;
        answer.await.map_err(|_| MutationError::Closed)?
    }

    /// The latest moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Follows the moments.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// History.
    pub async fn events(&self, query: EventQuery) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.events(query).await
    }

    /// Questions to boxes.
    pub fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Whether the broker is connected.
    pub fn connected(&self) -> bool {
        self.link.connected()
    }

    /// The domain.
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }
}
