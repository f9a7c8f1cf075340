//! Where calls hand over what is to be tried: one update at a time.

use super::{Shelf, UpdateError};
use semver::Version;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// A version that was found good, and lies beside the one that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub version: Version,
    /// Its caller's number.
    pub attempt: u32,
}

/// What calls know of updates. Clones share it.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The versions of this box.
    pub shelf: Shelf,
    /// The one that runs.
    pub running: Version,
    turn: Arc<Semaphore>,
    candidates: mpsc::Sender<Candidate>,
}

impl Desk {
    /// A desk, and where candidates come out.
    pub fn new(shelf: Shelf, running: Version) -> (Self, mpsc::Receiver<Candidate>) {
        let (candidates, receiver) = mpsc::channel(1);
        let desk = Self {
            shelf,
            running,
            turn: Arc::new(Semaphore::new(1)),
            candidates,
        };
        (desk, receiver)
    }

    /// Only whoever holds this may change the shelf.
    ///
    /// # Errors
    /// Somebody else does.
    pub fn turn(&self) -> Result<OwnedSemaphorePermit, UpdateError> {
        let turn = Arc::clone(&self.turn).try_acquire_owned();
        turn.map_err(|_| UpdateError::Busy)
    }

    /// Has a candidate tried. Nothing is answered after that.
    ///
    /// # Errors
    /// The agent is ending already.
    pub fn hand_over(&self, candidate: Candidate) -> Result<(), UpdateError> {
        let handed = self.candidates.try_send(candidate);
        handed.map_err(|_| UpdateError::Ending)
    }
}
