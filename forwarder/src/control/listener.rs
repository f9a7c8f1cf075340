//! The listening end: one forwarder for each socket file. A file that a dead process left is
//! replaced, a live one is refused.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody answers there.
    #[error("{}: another forwarder is running on this socket", path.display())]
    Alive {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket lies there.
    #[error("{}: exists and is no socket", path.display())]
    NotSocket {
        /// The file.
        path: PathBuf,
    },
    /// The system said no.
    #[error("{}: {step}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Listens on `path`, with mode 0660 and its folder made when missing. The new socket appears
/// under its name complete, so that no client meets one that does not answer.
///
/// # Errors
/// See [`ListenError`].
pub fn bind(path: &Path) -> Result<UnixListener, ListenError> {
    let failed = |step| {
        move |source| ListenError::Io {
            path: path.to_owned(),
            step,
            source,
        }
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed("make its folder"))?;
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look for a former socket")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotSocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => {
                return Err(ListenError::Alive {
                    path: path.to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("ask a former socket for life")(error)),
        },
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(name);
    let listener = UnixListener::bind(&fresh).map_err(failed("bind"))?;
    let ready = std::fs::set_permissions(&fresh, Permissions::from_mode(0o660))
        .and_then(|()| listener.set_nonblocking(true))
        .and_then(|()| std::fs::rename(&fresh, path));
    if let Err(error) = ready {
        // The half-made file is ours; should removing it fail too, the first error says more.
        let _ = std::fs::remove_file(&fresh);
        return Err(failed("make ready")(error));
    }
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/forwarder.sock");
        let first = bind(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o660
        );
        assert!(matches!(bind(&path), Err(ListenError::Alive { .. })));
        drop(first);
        bind(&path).unwrap();
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        assert!(matches!(bind(&path), Err(ListenError::NotSocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
    }
}
