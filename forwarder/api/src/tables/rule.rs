//! Classifier rules and what they do.

use super::Metadata;
use crate::{Match, PortName, Si, Spi, Ttl, Vni};
use serde::{Deserialize, Serialize};

/// One classifier rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Shown in counters and captures.
    pub name: String,
    /// Conditions.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// What happens to a frame that meets them.
    pub action: Action,
}

/// What a classifier rule does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Action {
    /// Send down a service path.
    Path {
        /// Service path.
        spi: Spi,
        /// Index to start with, usually 255.
        si: Si,
        /// Initial TTL; 63 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl: Option<Ttl>,
        /// NSH context put on by the classifier.
        #[serde(default)]
        metadata: Metadata,
    },
    /// Hand to an overlay segment.
    Segment {
        /// The segment's VNI.
        vni: Vni,
    },
    /// Send out of a port unchanged.
    Egress {
        /// The port.
        port: PortName,
    },
    /// Refuse, counted as `rule-drop`.
    Drop,
}
