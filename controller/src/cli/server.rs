//! Which controller `kc` speaks to, and how it came to that.

use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where `kc playground` leaves the way to its controller.
pub(super) const PLAYGROUND: &str = "/run/kcluster-playground/kc.toml";

/// Where nobody has said anything else.
pub(super) const DEFAULT: &str = "http://127.0.0.1:7070";

/// How to reach a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// Over TCP: `host:port`.
    Tcp(String),
    /// Over a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A controller, its key, and who named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// How to reach it.
    pub address: Address,
    /// Bearer token.
    pub token: Option<String>,
    /// Who named the address, for people.
    pub origin: String,
}

/// Why no server could be made out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    /// Not an address.
    #[error("{origin} names the server {value:?}, which must be http://HOST:PORT or unix:///PATH")]
    Address {
        /// Who named it.
        origin: String,
        /// The address.
        value: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is no configuration.
    #[error("{} is no configuration of kc", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<toml::de::Error>,
    },
}

/// What is known before any file is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    /// `--server`.
    pub server_flag: Option<String>,
    /// `--token`.
    pub token_flag: Option<String>,
    /// `KC_SERVER`.
    pub server_env: Option<String>,
    /// `KC_TOKEN`.
    pub token_env: Option<String>,
    /// `KC_CONFIG`: must exist.
    pub config: Option<PathBuf>,
    /// Files used when they exist, the first one wins.
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    token: Option<String>,
}

impl Given {
    /// Makes out the server: flags, then environment, then the first file there is.
    pub(super) fn resolve(self) -> Result<Server, ServerError> {
        let (file, path) = self.file()?;
        let flag = self.server_flag.map(|value| (value, "--server".to_owned()));
        let variable = self.server_env.map(|value| (value, "KC_SERVER".to_owned()));
        let filed = file.server.zip(path.map(|path| path.display().to_string()));
        // A file's token is for that file's server: it is never shown to another one.
        let elsewhere = filed.is_some() && (flag.is_some() || variable.is_some());
        let (value, origin) = flag
            .or(variable)
            .or(filed)
            .unwrap_or_else(|| (DEFAULT.to_owned(), "the built-in default".to_owned()));
        let token = self
            .token_flag
            .or(self.token_env)
            .or(file.token.filter(|_| !elsewhere))
            .map(|token| token.trim().to_owned());
        let Some(address) = parse(&value) else {
            return Err(ServerError::Address { origin, value });
        };
        Ok(Server {
            address,
            token,
            origin,
        })
    }

    fn file(&self) -> Result<(File, Option<PathBuf>), ServerError> {
        if let Some(path) = &self.config {
            return Ok((read(path)?, Some(path.clone())));
        }
        for path in &self.files {
            if path.exists() {
                return Ok((read(path)?, Some(path.clone())));
            }
        }
        Ok((File::default(), None))
    }
}

fn read(path: &Path) -> Result<File, ServerError> {
    let text = std::fs::read_to_string(path).map_err(|source| ServerError::Read {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| ServerError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn parse(value: &str) -> Option<Address> {
    if let Some(path) = value
        .strip_prefix("unix://")
        .or_else(|| value.strip_prefix("unix:"))
    {
        return path.starts_with('/').then(|| Address::Unix(path.into()));
    }
    let rest = value.strip_prefix("http://").unwrap_or(value);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':')?;
    let sound =
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port != 0);
    sound.then(|| Address::Tcp(rest.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(file: Option<&Path>) -> Given {
        Given {
            files: file.map(Path::to_owned).into_iter().collect(),
            ..Given::default()
        }
    }

    #[test]
    fn a_flag_beats_the_environment_and_that_beats_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("kc.toml");
        std::fs::write(&file, "server = \"unix:///run/a.sock\"\ntoken = \"t\"\n").unwrap();
        let mut asked = given(Some(&file));
        let server = asked.clone().resolve().unwrap();
        assert_eq!(server.address, Address::Unix("/run/a.sock".into()));
        assert_eq!(server.token.as_deref(), Some("t"));
        assert!(server.origin.ends_with("kc.toml"), "{}", server.origin);
        asked.server_env = Some("http://10.0.0.1:1/".into());
        let server = asked.clone().resolve().unwrap();
        assert_eq!(server.address, Address::Tcp("10.0.0.1:1".into()));
        assert_eq!(
            server.token, None,
            "the file's token is for the file's server"
        );
        asked.server_flag = Some("[::1]:80".into());
        let server = asked.resolve().unwrap();
        assert_eq!(server.address, Address::Tcp("[::1]:80".into()));
        assert_eq!(server.origin, "--server");
    }

    #[test]
    fn without_a_word_it_is_this_machine() {
        let server = given(None).resolve().unwrap();
        assert_eq!(server.address.to_string(), DEFAULT);
        assert_eq!(server.origin, "the built-in default");
    }

    #[test]
    fn a_wrong_address_is_refused_with_its_origin() {
        for wrong in [
            "https://a:1",
            "box",
            "http://a:0",
            "unix:relative",
            "a:b",
            ":7",
        ] {
            let mut asked = given(None);
            asked.server_env = Some(wrong.into());
            let error = asked.resolve().unwrap_err().to_string();
            assert!(
                error.contains("KC_SERVER") && error.contains(wrong),
                "{error}"
            );
        }
    }

    #[test]
    fn a_named_file_must_exist_and_be_ours() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.toml");
        let mut asked = given(None);
        asked.config = Some(file.clone());
        assert!(matches!(
            asked.clone().resolve(),
            Err(ServerError::Read { .. })
        ));
        std::fs::write(&file, "sever = \"a:1\"").unwrap();
        assert!(matches!(asked.resolve(), Err(ServerError::Parse { .. })));
    }
}
