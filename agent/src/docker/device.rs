//! Devices of the box that containers are to have.

use super::DockerError;
use kc_agent_api::ContainerSpec;
use std::io::ErrorKind;
use std::path::Path;

/// Says which device is not there. The engine would find out too late, with a container half made,
/// and in words that name no device; whatever else is odd about one it says itself.
pub fn find_devices(spec: &ContainerSpec) -> Result<(), DockerError> {
    let absent = |path: &str| match Path::new(path).metadata() {
        Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        Ok(_) => false,
    };
    let mut sources = spec.devices.iter().map(|device| &device.source);
    match sources.find(|source| absent(source)) {
        Some(source) => Err(DockerError::NoDevice(source.into())),
        None => Ok(()),
    }
}
