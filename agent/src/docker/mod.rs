//! The Docker engine over its unix socket: event stream, observation, single steps. Knows how,
//! never whether: [`crate::reconcile`] decides. Containers without our label are never listed.

mod body;
mod device;
mod error;
mod exec;
mod files;
mod image;
mod observe;
mod steps;
mod tail;
mod volume;
mod watch;

pub use body::{Brought, Labels, container_body, container_name, pause_body};
pub use device::find_devices;
pub use error::DockerError;
pub use exec::exec;
pub use files::{forget_files, write_files};
pub use image::{digest, ensure_image, has_image, remove_image};
pub use observe::{inspect, list};
pub use steps::{create, remove, start, stop};
pub use tail::{last_words, words};
pub use volume::ensure_volumes;
pub(crate) use watch::connect;
pub use watch::{Happening, Word, watch};
