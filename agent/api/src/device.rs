//! A device of the box in a container, without further privileges.

use serde::{Deserialize, Serialize};

/// One device, such as `/dev/gpiochip0`, `/dev/i2c-1` or `/dev/ttyUSB0`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Device {
    /// Absolute path on the box.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// What the container may do: some of `r` (read), `w` (write) and `m` (make the node).
    #[serde(default = "everything")]
    pub permissions: String,
}

fn everything() -> String {
    "rwm".to_owned()
}
