//! The container that a call is about, found by its name in the document.

use super::CallError;
use crate::docker::container_name;
use crate::reconcile::Part;
use bollard::Docker;
use bollard::errors::Error;
use std::time::Duration;
use tokio::time::sleep;

/// How often the engine is asked whether a container has ended, and how long it is waited between.
const LOOKS: u32 = 40;
const LOOK: Duration = Duration::from_millis(50);

/// A container of ours, and the engine that has it.
pub(super) struct Container {
    pub(super) docker: Docker,
    /// Name in the engine.
    pub(super) id: String,
    pub(super) name: String,
}

impl Container {
    /// Container `name`; `docker` is the engine, when it is there.
    pub(super) fn named(docker: Option<Docker>, name: &str) -> Result<Self, CallError> {
        // The name becomes part of a path in the engine's API.
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > 128 || !name.bytes().all(legal) {
            return Err(CallError::Name(name.to_owned()));
        }
        Ok(Self {
            docker: docker.ok_or(CallError::NoEngine)?,
            id: container_name(name, Part::Main),
            name: name.to_owned(),
        })
    }

    /// Refuses what the engine does not have.
    pub(super) async fn must_exist(&self) -> Result<(), CallError> {
        self.runs().await.map(drop)
    }

    /// Whether it still runs a while after its output has ended: the engine tells of a container's
    /// end a little later than it ends the output.
    pub(super) async fn runs_on(&self) -> Result<bool, CallError> {
        for _ in 0..LOOKS {
            if !self.runs().await? {
                return Ok(false);
            }
            sleep(LOOK).await;
        }
        Ok(true)
    }

    async fn runs(&self) -> Result<bool, CallError> {
        let asked = self.docker.inspect_container(&self.id, None).await;
        let seen = asked.map_err(|error| self.error(error))?;
        Ok(seen.state.and_then(|state| state.running) == Some(true))
    }

    /// What an answer of the engine's about it means.
    pub(super) fn error(&self, error: Error) -> CallError {
        let name = self.name.clone();
        match error {
            Error::DockerResponseServerError {
                status_code: 404,
                message,
            } if message.contains("No such container") => CallError::NoContainer { name },
            source => CallError::Engine { name, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_its_path_is_refused() {
        for wrong in [
            "",
            "a/../../images/json",
            "a?x=1",
            "a b",
            "é",
            &"x".repeat(129),
        ] {
            let named = Container::named(None, wrong);
            assert!(matches!(named, Err(CallError::Name(_))), "{wrong}");
        }
        let named = Container::named(None, "fw-1");
        assert!(matches!(named, Err(CallError::NoEngine)));
    }
}
