//! The side of a version on trial: says on standard output what is still missing, and leaves when
//! its standard input ends, which is how the one that guards it asks.

use super::Expectation;
use super::trial::Word;
use crate::forwarder::Forwarder;
use crate::keeper::View;
use kc_agent_api::NodeState;
use kc_mqtt::Link;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

/// How often is looked; a trial is short.
const LOOK: Duration = Duration::from_millis(200);
/// How long a forwarder may take to say that it is there.
const FORWARDER: Duration = Duration::from_secs(1);

/// How the box is, seen by the agent that runs on it.
#[derive(Clone)]
pub struct Outlook {
    /// To the broker.
    pub link: Link,
    /// What the box is like.
    pub state: watch::Receiver<NodeState>,
    /// Its engine.
    pub view: watch::Receiver<View>,
    /// Its forwarder.
    pub forwarder: Forwarder,
}

impl Outlook {
    /// What there is: what is expected of a version on trial, and what it has.
    pub async fn look(&self) -> Expectation {
        let answers = timeout(FORWARDER, self.forwarder.status()).await;
        let state = self.state.borrow();
        Expectation {
            broker: self.link.connected(),
            engine: self.view.borrow().engine.is_some(),
            forwarder: matches!(answers, Ok(Ok(_))),
            spec_generation: state.spec_generation,
            forwarder_generation: state.forwarder_generation,
        }
    }
}

/// Says how it goes, for ever.
pub async fn tell(expected: Expectation, outlook: &Outlook) {
    let mut said = None;
    loop {
        let missing = expected.missing(&outlook.look().await);
        let word = match missing.is_empty() {
            true => Word::Healthy,
            false => Word::Waiting(missing),
        };
        if said.as_ref() != Some(&word) {
            let mut out = std::io::stdout().lock();
            // Whoever does not listen any more ends us.
            let _ = out.write_all(word.line().as_bytes());
            let _ = out.flush();
            said = Some(word);
        }
        sleep(LOOK).await;
    }
}

/// Returns when our standard input ends. A thread of its own waits for that: nobody waits for it.
pub async fn dismissed() {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = [0; 64];
        loop {
            match stdin.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        let _ = sender.send(());
    });
    let _ = receiver.await;
}
