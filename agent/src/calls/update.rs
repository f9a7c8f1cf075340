//! Another version of the agent: its archive is verified while it comes, unpacked beside the version
//! that runs, and handed over to be tried. Until then nothing on the box has changed, and memory holds
//! no more of it than a few parts.

use super::flow::{Flow, Stop};
use super::input::{self, Allowance, Word};
use super::{Answerer, CallError};
use crate::update::archive::LIMIT;
use crate::update::shelf::{Incoming, Kept};
use crate::update::trust::{Seal, Trust};
use crate::update::{Candidate, Desk, UpdateError, policy};
use kc_agent_api::{ReplyBody, UpdateOutcome, UpdateRecord};
use semver::Version;
use std::io;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// What the caller wants.
pub(super) struct Wanted {
    pub(super) attempt: u32,
    pub(super) size: u64,
    pub(super) signature: String,
    pub(super) allow_downgrade: bool,
}

impl From<UpdateError> for Stop {
    fn from(error: UpdateError) -> Self {
        Self::Error(CallError::Update(error))
    }
}

pub(super) async fn update(
    answerer: &Answerer,
    flow: &mut Flow<'_>,
    wanted: Wanted,
    (id, words): (u64, mpsc::Receiver<Word>),
) -> Result<(), Stop> {
    let desk = answerer.updates.clone();
    let turn = desk.turn()?;
    let trust = Trust::read(&answerer.settings.trusted_keys)?;
    let seal = trust.seal(&wanted.signature)?;
    if wanted.size > LIMIT {
        return Err(UpdateError::TooLarge(wanted.size).into());
    }
    let incoming = desk.shelf.incoming(wanted.size)?;
    let begun = ReplyBody::Begun {
        credit: input::WINDOW,
        entry: None,
    };
    flow.send(begun).await?;
    receive(answerer, &incoming, &seal, wanted.size, (id, words)).await?;
    let (attempt, allow_downgrade) = (wanted.attempt, wanted.allow_downgrade);
    let kept = desk.clone();
    let put = spawn_blocking(move || put(&kept, &incoming, attempt, allow_downgrade)).await;
    let version = put.map_err(|_| UpdateError::Ending)??;
    tracing::info!(%version, "an update is verified, and goes on trial");
    flow.end(ReplyBody::Ended { exit_code: None }).await?;
    // Nobody else may touch what is on trial.
    turn.forget();
    desk.hand_over(Candidate { version, attempt })?;
    Ok(())
}

/// Writes down what comes, and verifies it.
async fn receive(
    answerer: &Answerer,
    incoming: &Incoming,
    seal: &Seal,
    size: u64,
    (id, mut words): (u64, mpsc::Receiver<Word>),
) -> Result<(), Stop> {
    let refuse = |source: io::Error| UpdateError::Disk {
        verb: "write",
        path: incoming.path().to_owned(),
        source,
    };
    let mut file = File::from_std(incoming.writer()?);
    let (mut verifier, mut allowance, mut got) = (seal.verifier()?, Allowance::default(), 0u64);
    loop {
        match words.recv().await {
            Some(Word::Octets(octets)) => {
                got = got.saturating_add(octets.len() as u64);
                if got > size {
                    return Err(UpdateError::Length { size, got }.into());
                }
                verifier.update(&octets);
                file.write_all(&octets).await.map_err(refuse)?;
                if let Some(parts) = allowance.taken() {
                    Flow::allow(answerer, id, parts);
                }
            }
            Some(Word::End) => break,
            None => return Err(CallError::InputLost.into()),
        }
    }
    // What was written is written by somebody else, who may not be done.
    file.flush().await.map_err(refuse)?;
    if got != size {
        return Err(UpdateError::Length { size, got }.into());
    }
    verifier.finalize().map_err(|_| UpdateError::Tampered)?;
    Ok(())
}

/// Unpacks it, and writes down that it goes on trial: what becomes of it is told even when the power
/// fails.
fn put(
    desk: &Desk,
    incoming: &Incoming,
    attempt: u32,
    allow_downgrade: bool,
) -> Result<Version, UpdateError> {
    let accept = |offered: &Version| policy::may_follow(&desk.running, offered, allow_downgrade);
    let version = desk.shelf.put(incoming, std::env::consts::ARCH, accept)?;
    let record = UpdateRecord {
        attempt,
        version: version.to_string(),
        from: desk.running.to_string(),
        outcome: UpdateOutcome::Trying,
        reason: None,
    };
    desk.shelf.keep(&Kept {
        record,
        told: false,
    })?;
    Ok(version)
}
