//! Steps the shell can take, and the lanes that keep steps on one object apart.

use super::{Part, PulledImage};
use kc_agent_api::{HealthCheck, Leg, PullPolicy};
use std::fmt;
use std::net::IpAddr;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Have the image on the box before anything is made from it.
    Image {
        /// Document name.
        name: String,
        /// For which of the two.
        part: Part,
        /// Image reference.
        image: String,
        /// Whether to pull.
        policy: PullPolicy,
        /// Fingerprint of what will be made from it.
        hash: String,
        /// The engine's id of the image that is meant, should it still be there: what ran before.
        pinned: Option<String>,
    },
    /// Make and start a container.
    Create {
        /// Document name.
        name: String,
        /// Which of the two.
        part: Part,
        /// The pause container whose network it joins.
        join: Option<String>,
    },
    /// Start a container that has ended, or was never started.
    Start {
        /// Document name.
        name: String,
        /// Which of the two.
        part: Part,
        /// The engine's id.
        id: String,
        /// Whether it had run before.
        again: bool,
    },
    /// Stop a container that will be started again.
    Stop {
        /// Document name.
        name: String,
        /// The engine's id.
        id: String,
    },
    /// Stop a container that is unhealthy, and start it again.
    Restart {
        /// Document name.
        name: String,
        /// The engine's id.
        id: String,
    },
    /// Try a health check.
    Probe {
        /// Document name.
        name: String,
        /// The engine's id.
        id: String,
        /// Its first process, whose network it is tried from.
        pid: u32,
        /// Its own addresses, beside those of the loopback interface.
        addresses: Vec<IpAddr>,
        /// What to try, and for how long.
        check: HealthCheck,
    },
    /// Stop and remove a container.
    Remove {
        /// Document name.
        name: String,
        /// Which of the two.
        part: Part,
        /// The engine's id.
        id: String,
        /// For people.
        why: &'static str,
    },
    /// Make legs, or put them right, in a pause container's namespace.
    Wire {
        /// Document name.
        name: String,
        /// The pause container's first process.
        pid: u32,
        /// What to make.
        legs: Vec<Leg>,
    },
    /// Remove images until the disk has room again.
    Collect {
        /// Which may go, in this order.
        images: Vec<PulledImage>,
    },
    /// Make a leg of the box itself, or put it right.
    WireHost {
        /// What to make.
        leg: Leg,
    },
    /// Remove a leg of the box itself.
    UnwireHost {
        /// Its port.
        port: String,
    },
}

/// What a step works on. Steps of one lane never run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The containers of one document entry.
    Container(String),
    /// Starting again what has ended, of one document entry: only ever waited for.
    Restart(String),
    /// Restarting what is unhealthy, of one document entry: only ever waited for.
    Unhealthy(String),
    /// The health check of one document entry.
    Probe(String),
    /// The image for one of them.
    Image(String, Part),
    /// The images that nobody needs.
    Images,
    /// A leg of the box itself.
    HostLeg(String),
}

impl Lane {
    /// The document entry this is about.
    pub fn object(&self) -> &str {
        match self {
            Self::Container(name)
            | Self::Restart(name)
            | Self::Unhealthy(name)
            | Self::Probe(name)
            | Self::Image(name, _)
            | Self::HostLeg(name) => name,
            Self::Images => "images",
        }
    }
}

impl Action {
    /// The lane of this step.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Image { name, part, .. } => Lane::Image(name.clone(), *part),
            Self::Create { name, .. }
            | Self::Start { name, .. }
            | Self::Stop { name, .. }
            | Self::Restart { name, .. }
            | Self::Remove { name, .. }
            | Self::Wire { name, .. } => Lane::Container(name.clone()),
            Self::Probe { name, .. } => Lane::Probe(name.clone()),
            Self::Collect { .. } => Lane::Images,
            Self::WireHost { leg } => Lane::HostLeg(leg.port.to_string()),
            Self::UnwireHost { port } => Lane::HostLeg(port.clone()),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pause => "pause container",
            Self::Main => "container",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { name, image, .. } => write!(f, "find image {image} for {name}"),
            Self::Create { name, part, .. } => write!(f, "create {part} of {name}"),
            Self::Start { name, part, .. } => write!(f, "start {part} of {name}"),
            Self::Stop { name, .. } => write!(f, "stop {name} to rewire it"),
            Self::Restart { name, .. } => write!(f, "restart unhealthy {name}"),
            Self::Probe { name, .. } => write!(f, "try the health of {name}"),
            Self::Remove {
                name, part, why, ..
            } => write!(f, "remove {part} of {name}: {why}"),
            Self::Wire { name, legs, .. } => write!(f, "wire {} legs of {name}", legs.len()),
            Self::Collect { images } => {
                write!(
                    f,
                    "remove some of {} images that nobody needs",
                    images.len()
                )
            }
            Self::WireHost { leg } => write!(f, "wire host leg {}", leg.interface),
            Self::UnwireHost { port } => write!(f, "remove host leg {port}"),
        }
    }
}
