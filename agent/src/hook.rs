//! Tells members of clusters what they are: runs the hook of a container once for each change of its
//! role or of its peers, and after each start of it. What was told is written down, so that an agent that
//! starts anew tells only what is new; one that dies while a hook runs runs that once more.

mod book;

use crate::docker;
use crate::keeper::{Happened, View, explain};
use crate::ledger::Ledger;
use bollard::Docker;
use book::{Book, Run};

pub(crate) use book::Told;

use kc_agent_api::{EventKind, NodeName};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How long a hook may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs hooks until the box is no longer looked after. One that hangs holds up those of its own container
/// only.
pub(crate) async fn mind(
    node: NodeName,
    ledger: Ledger,
    mut views: watch::Receiver<View>,
    events: mpsc::UnboundedSender<Happened>,
) {
    let told = ledger.load_told().unwrap_or_else(|error| {
        // Whoever is told again what it knows loses nothing.
        tracing::warn!("{}", explain(&error));
        Told::default()
    });
    let mut book = Book::new(node, told);
    let mut running = JoinSet::new();
    loop {
        let view = views.borrow_and_update().clone();
        book.forget(&view.spec);
        if let Some(docker) = &view.docker {
            for run in book.begin(&view.spec, &view.containers, Instant::now()) {
                running.spawn(call(docker.clone(), run));
            }
        }
        let again = book.again();
        let again = async {
            match again {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            Some(Ok((run, failure))) = running.join_next() => {
                let news = book.end(&run, failure.is_none(), Instant::now());
                keep(&ledger, book.told().clone()).await;
                if news && events.send(happened(&run, failure)).is_err() {
                    return;
                }
            }
            () = again => {}
        }
    }
}

/// Runs a hook; why it failed, if it did.
async fn call(docker: Docker, run: Run) -> (Run, Option<String>) {
    let (command, environment) = (run.command.clone(), run.environment.clone());
    let ended = docker::exec(&docker, &run.life.id, command, environment, LIMIT).await;
    let failure = match ended {
        Ok(Some(0)) => None,
        Ok(Some(code)) => Some(format!("it ended with {code}")),
        Ok(None) => Some(format!("it took longer than {} s", LIMIT.as_secs())),
        Err(error) => Some(explain(&error)),
    };
    (run, failure)
}

fn happened(run: &Run, failure: Option<String>) -> Happened {
    let outcome = match failure {
        None => "done".to_owned(),
        Some(why) => format!("failed, and is tried again: {why}"),
    };
    let (name, chain, role) = (&run.name, &run.chain, run.role());
    Happened {
        kind: EventKind::HookRun,
        object: name.clone(),
        message: format!("hook of {name} for chain {chain}, role {role}: {outcome}"),
    }
}

async fn keep(ledger: &Ledger, told: Told) {
    let ledger = ledger.clone();
    let stored = tokio::task::spawn_blocking(move || ledger.store_told(&told)).await;
    match stored {
        Ok(Ok(())) => {}
        // A full disk must keep nobody from being told.
        Ok(Err(error)) => tracing::warn!("{}", explain(&error)),
        Err(error) => tracing::error!(%error, "the ledger's writer ended early"),
    }
}
