//! What only this box may read: its own key, and the values that documents bring along sealed to
//! it. The key is in the state directory; values are opened when a container is made or started,
//! and exist below the run directory, which is memory, for as long as the container does.

use crate::ledger::{LedgerError, write_with_mode};
use kc_agent_api::{BoxKey, ContainerSpec, OpenError, PullLogin, SecretFile};
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

/// The file of the key: its 32 octets.
const KEY: &str = "box.key";

/// Why a secret is not there.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The box has no key.
    #[error("this box has no key of its own")]
    Key(#[source] LedgerError),
    /// No key can be made.
    #[error("the kernel gives no random octets")]
    Random(#[source] io::Error),
    /// A value does not open.
    #[error("cannot open secret {name}")]
    Open {
        /// Which.
        name: String,
        /// Why not.
        #[source]
        source: OpenError,
    },
    /// A value opens, and is nothing to log in with.
    #[error("secret {name} holds no username and password")]
    Login {
        /// Which.
        name: String,
    },
    /// A value has no place.
    #[error("cannot write {}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// This box's key, made when there is none yet. A file that is no key is replaced: then the
/// controller sees another key and holds secrets back until somebody trusts it.
pub fn own_key(state_dir: &Path) -> Result<BoxKey, VaultError> {
    let path = state_dir.join(KEY);
    let found = match fs::read(&path) {
        Ok(octets) => <[u8; 32]>::try_from(octets).ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            let verb = "read";
            return Err(VaultError::Key(LedgerError::Disk { verb, path, source }));
        }
    };
    if let Some(octets) = found.filter(|octets| *octets != [0; 32]) {
        return Ok(BoxKey::new(octets));
    }
    let mut octets = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut octets))
        .map_err(VaultError::Random)?;
    write_with_mode(&path, &octets, 0o600).map_err(VaultError::Key)?;
    Ok(BoxKey::new(octets))
}

/// Writes the secrets of `spec` below `root`; returns host path and container path of each.
pub fn write_secrets(
    root: &Path,
    spec: &ContainerSpec,
    key: impl FnOnce() -> Result<BoxKey, VaultError>,
) -> Result<Vec<(PathBuf, String)>, VaultError> {
    if spec.secrets.is_empty() {
        forget_secrets(root, &spec.name);
        return Ok(Vec::new());
    }
    let key = key()?;
    let dir = root.join(&spec.name);
    // On the box only the agent and root look in, whatever the files' own permissions say.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    made.map_err(|source| VaultError::Write {
        path: dir.clone(),
        source,
    })?;
    let owner = spec.user.as_deref().and_then(owner);
    let mut mounts = Vec::new();
    for (index, secret) in spec.secrets.iter().enumerate() {
        let opened = secret.sealed.open(&key, &secret.name);
        let value = opened.map_err(|source| VaultError::Open {
            name: secret.name.clone(),
            source,
        })?;
        let path = dir.join(index.to_string());
        if !fs::read(&path).is_ok_and(|there| there == value.reveal()) {
            write(&path, value.reveal(), secret, owner)?;
        }
        mounts.push((path, secret.path.clone()));
    }
    Ok(mounts)
}

fn write(
    path: &Path,
    value: &[u8],
    secret: &SecretFile,
    owner: Option<(u32, u32)>,
) -> Result<(), VaultError> {
    let refuse = |source| VaultError::Write {
        path: path.to_owned(),
        source,
    };
    let mode = u32::from(secret.mode) & 0o777;
    let put = |mode| {
        write_with_mode(path, value, mode).map_err(|error| match error {
            LedgerError::Disk { source, .. } => refuse(source),
            other => refuse(io::Error::other(other)),
        })
    };
    put(mode)?;
    let Some((user, group)) = owner else {
        return Ok(());
    };
    match chown(path, Some(user), Some(group)) {
        // Without that capability everybody may who is let in, which is that container's processes.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let owners = mode >> 6;
            put(mode | owners << 3 | owners)
        }
        done => done.map_err(refuse),
    }
}

/// Whom the files belong to, where the document says it in numbers.
fn owner(user: &str) -> Option<(u32, u32)> {
    let (user, group) = user.split_once(':').unwrap_or((user, "0"));
    let user = user.parse().ok()?;
    Some((user, group.parse().unwrap_or(0)))
}

/// Removes the secrets of an entry that has none any more, or has left the document.
pub fn forget_secrets(root: &Path, name: &str) {
    let dir = root.join(name);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "cannot remove secrets");
        }
        _ => {}
    }
}

/// Who pulls the image of `spec`, where not everybody may.
pub fn login(
    spec: &ContainerSpec,
    key: impl FnOnce() -> Result<BoxKey, VaultError>,
) -> Result<Option<PullLogin>, VaultError> {
    let Some(secret) = &spec.pull_secret else {
        return Ok(None);
    };
    let name = secret.name.clone();
    let opened = secret.sealed.open(&key()?, &name);
    let value = opened.map_err(|source| VaultError::Open {
        name: name.clone(),
        source,
    })?;
    // serde's own words would quote what it found.
    let login = serde_json::from_slice(value.reveal());
    login.map(Some).map_err(|_| VaultError::Login { name })
}

#[cfg(test)]
#[path = "vault_tests.rs"]
mod tests;
