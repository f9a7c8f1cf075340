//! What can go wrong with the engine.

use std::io;
use std::path::PathBuf;

/// Why the engine did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No engine behind the socket.
    #[error("no Docker engine at {}", path.display())]
    Unreachable {
        /// Its socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<bollard::errors::Error>,
    },
    /// The engine refuses, or broke off.
    #[error("cannot {verb} {object}")]
    Refused {
        /// What was asked.
        verb: &'static str,
        /// For what.
        object: String,
        /// The engine's answer.
        #[source]
        source: Box<bollard::errors::Error>,
    },
    /// The image is not on the box and may not be pulled.
    #[error("image {0} is not on the box, and its pull policy is never")]
    NoImage(String),
    /// The image is made for other boxes.
    #[error(
        "image {image} is made for {made_for}, and this box is {engine}; \
             name an image for {engine}, or place it on another box with nodeSelector"
    )]
    Architecture {
        /// The image.
        image: String,
        /// Its architecture.
        made_for: String,
        /// The engine's.
        engine: String,
    },
    /// The image was on the box a moment ago.
    #[error("image {0} has gone from the box")]
    ImageGone(String),
    /// A device is not on the box, or not yet.
    #[error("device {} is not on this box; it is looked for again", .0.display())]
    NoDevice(PathBuf),
    /// A file for the container cannot be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl DockerError {
    pub(super) fn refused(
        verb: &'static str,
        object: &str,
    ) -> impl FnOnce(bollard::errors::Error) -> Self {
        let object = object.to_owned();
        move |source| Self::Refused {
            verb,
            object,
            source: Box::new(source),
        }
    }
}

/// The engine's HTTP status, when it answered at all.
pub(super) fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
