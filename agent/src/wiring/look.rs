//! Reading interfaces, here and in other namespaces.

use super::WiringError;
use super::net::{Net, aside, enter, namespace};
use crate::reconcile::SeenLink;
use std::collections::BTreeMap;
use std::os::linux::fs::MetadataExt;

/// Interfaces of the box itself.
pub async fn host() -> Result<BTreeMap<String, SeenLink>, WiringError> {
    Net::open()?.links().await
}

/// Interfaces in the namespaces of processes, by the key given with each. A process that has
/// gone meanwhile is left out.
pub async fn inside(
    processes: Vec<(String, u32)>,
) -> Result<BTreeMap<String, BTreeMap<String, SeenLink>>, WiringError> {
    if processes.is_empty() {
        return Ok(BTreeMap::new());
    }
    aside(move || async move {
        let mut seen = BTreeMap::new();
        for (key, pid) in processes {
            let entered = namespace(pid).and_then(|namespace| enter(&namespace, pid));
            if let Err(error) = entered {
                tracing::debug!(pid, %error, "namespace has gone");
                continue;
            }
            seen.insert(key, Net::open()?.links().await?);
        }
        Ok(seen)
    })
    .await
}

/// Identity of a process's network namespace.
pub fn netns_of(pid: u32) -> Option<u64> {
    let path = format!("/proc/{pid}/ns/net");
    std::fs::metadata(path)
        .ok()
        .map(|metadata| metadata.st_ino())
}
