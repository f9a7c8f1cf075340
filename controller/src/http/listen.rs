//! Where the API is served: TCP addresses and unix sockets.

use axum::Router;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::str::FromStr;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// An address to serve on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:7070`.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// Why an address cannot be served on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not an address.
    #[error("{0:?} must be ADDRESS:PORT such as 127.0.0.1:7070, or unix:/PATH")]
    Address(String),
    /// It is taken, or not ours to take.
    #[error("cannot listen on {listen}")]
    Bind {
        /// The address.
        listen: Listen,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another controller answers there.
    #[error("another program listens on {0} already")]
    Taken(Listen),
}

impl FromStr for Listen {
    type Err = ListenError;
    fn from_str(text: &str) -> Result<Self, ListenError> {
        let unix = text
            .strip_prefix("unix://")
            .or_else(|| text.strip_prefix("unix:"));
        let parsed = match unix {
            Some(path) => path.starts_with('/').then(|| Self::Unix(path.into())),
            None => text.parse().ok().map(Self::Tcp),
        };
        parsed.ok_or_else(|| ListenError::Address(text.to_owned()))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// Over TCP.
    Tcp(TcpListener),
    /// Over a unix socket; its file is removed at the end.
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds `listen`. A socket file that nobody answers on is a left-over and is replaced.
    pub async fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind {
            listen: listen.clone(),
            source,
        };
        match listen {
            Listen::Tcp(address) => {
                if !address.ip().is_loopback() {
                    tracing::warn!(%address, "the API is served in the clear beyond this machine");
                }
                TcpListener::bind(address)
                    .await
                    .map(Self::Tcp)
                    .map_err(failed)
            }
            Listen::Unix(path) => {
                match UnixStream::connect(path).await {
                    Ok(_) => return Err(ListenError::Taken(listen.clone())),
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                        std::fs::remove_file(path).map_err(failed)?;
                    }
                    Err(_) => {}
                }
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent).map_err(failed)?;
                }
                let listener = UnixListener::bind(path).map_err(failed)?;
                let owner_only = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(path, owner_only).map_err(failed)?;
                Ok(Self::Unix(listener, path.clone()))
            }
        }
    }

    /// The address in force: the port that was chosen when 0 was asked for.
    pub fn address(&self) -> std::io::Result<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
            Self::Unix(_, path) => Ok(Listen::Unix(path.clone())),
        }
    }

    /// Serves until `stop` completes and answers under way are given.
    pub async fn serve(
        self,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        match self {
            Self::Tcp(listener) => {
                axum::serve(listener, router)
                    .with_graceful_shutdown(stop)
                    .await
            }
            Self::Unix(listener, path) => {
                let served = axum::serve(listener, router)
                    .with_graceful_shutdown(stop)
                    .await;
                let _ = std::fs::remove_file(path);
                served
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_tcp_or_an_absolute_path() {
        assert!(matches!("127.0.0.1:7070".parse(), Ok(Listen::Tcp(_))));
        assert!(matches!("unix:/run/x.sock".parse(), Ok(Listen::Unix(_))));
        for wrong in ["", "7070", "localhost", "unix:x", "http://127.0.0.1:1"] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let listen = Listen::Unix(directory.path().join("a/b.sock"));
        let first = Listener::bind(&listen).await.unwrap();
        assert!(matches!(
            Listener::bind(&listen).await,
            Err(ListenError::Taken(_))
        ));
        drop(first);
        assert!(Listener::bind(&listen).await.is_ok());
    }
}
