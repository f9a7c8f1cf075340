//! The bearer token: made at the first start, kept in a file only its owner may read.

use super::error::ApiError;
use super::routes::App;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Random bytes in a token.
const LENGTH: usize = 32;

/// Paths that need no token.
const OPEN: [&str; 2] = ["/healthz", "/openapi.json"];

/// What a client must present.
#[derive(Clone)]
pub struct Token(String);

impl std::fmt::Debug for Token {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the token {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no token.
    #[error("{} holds no token of 16 or more visible characters; remove it to have a new one made", path.display())]
    Weak {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no randomness.
    #[error("cannot read /dev/urandom")]
    Random(#[source] std::io::Error),
}

impl Token {
    /// Reads `path`, or makes it; says whether it was made.
    pub fn load(path: &Path) -> Result<(Self, bool), TokenError> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let token = text.trim();
                if token.len() < 16 || !token.bytes().all(|b| b.is_ascii_graphic()) {
                    return Err(TokenError::Weak {
                        path: path.to_owned(),
                    });
                }
                Ok((Self(token.to_owned()), false))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok((Self::make(path)?, true)),
            Err(source) => Err(TokenError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    fn make(path: &Path) -> Result<Self, TokenError> {
        let mut bytes = [0; LENGTH];
        File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut bytes))
            .map_err(TokenError::Random)?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // Whole or not at all: a half-written token would lock everybody out.
        let partial = path.with_extension("new");
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&partial)?;
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&partial, path)
        };
        write().map_err(|source| TokenError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(text))
    }

    /// A given token, for tests and embedding.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares in a time that tells nothing but the length.
    fn matches(&self, presented: &[u8]) -> bool {
        let ours = self.0.as_bytes();
        let differing = ours
            .iter()
            .zip(presented)
            .fold(0, |differing, (a, b)| differing | (a ^ b));
        std::hint::black_box(differing) == 0 && ours.len() == presented.len()
    }
}

/// Lets a request pass that carries the token, or needs none.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let presented = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked(7))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
        .map(|(_, token)| token.trim_ascii());
    match presented {
        Some(token) if app.token().matches(token) => next.run(request).await,
        Some(_) => {
            ApiError::unauthorized("this is not the token of this controller").into_response()
        }
        None => ApiError::unauthorized("this needs the header Authorization: Bearer TOKEN")
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let (first, made) = Token::load(&path).unwrap();
        assert!(made && first.as_str().len() == 2 * LENGTH);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (second, made) = Token::load(&path).unwrap();
        assert!(!made && second.as_str() == first.as_str());
    }

    #[test]
    fn only_the_whole_token_opens() {
        let token = Token::new("0123456789abcdef");
        assert!(token.matches(b"0123456789abcdef"));
        for wrong in [&b""[..], b"0", b"0123456789abcdeg", b"0123456789abcdef0"] {
            assert!(!token.matches(wrong));
        }
    }

    #[test]
    fn an_empty_token_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(Token::load(&path), Err(TokenError::Weak { .. })));
    }
}
