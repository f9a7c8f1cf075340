//! HTTP/1.1 to the controller, over TCP or a unix socket. One connection a request.

use super::server::{Address, Server};
use super::session::{FrameReader, FrameWriter};
use crate::frame::PROTOCOL;
use crate::views::{ErrorBody, ErrorReply};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Longest answer that is held in memory.
const MAX_ANSWER: usize = 256 << 20;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("no controller answers at {server} (from {origin})\n{hint}")]
    Unreachable {
        /// The address.
        server: String,
        /// Who named it.
        origin: String,
        /// What to try.
        hint: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The answer took too long.
    #[error("no answer from {server} within {} s", after.as_secs_f32())]
    Timeout {
        /// The address.
        server: String,
        /// How long we waited.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to {server} broke")]
    Broken {
        /// The address.
        server: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The request cannot be written down.
    #[error("cannot make a request")]
    Request(#[from] hyper::http::Error),
    /// The controller said no.
    #[error("{}", body.message)]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        body: Box<ErrorBody>,
    },
    /// The connection ended before its time.
    #[error("the connection to {server} broke off")]
    BrokenOff {
        /// The address.
        server: String,
        /// Why, where that is known.
        #[source]
        source: Option<std::io::Error>,
    },
    /// Not a word for too long.
    #[error("{server} does not say anything any more: the connection is dead")]
    Dead {
        /// The address.
        server: String,
    },
    /// Not frames.
    #[error("{server} answered with something kc does not understand: is it of this version?")]
    NoFrames {
        /// The address.
        server: String,
        /// What is wrong with it.
        #[source]
        source: crate::frame::FrameError,
    },
    /// Not what this version understands.
    #[error(
        "{server} answered {path} with something kc does not understand: is it a kc-controller of this version?"
    )]
    Alien {
        /// The address.
        server: String,
        /// What was asked.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Too long.
    #[error("the answer of {server} is longer than {MAX_ANSWER} bytes")]
    TooLong {
        /// The address.
        server: String,
    },
}

/// How an answer shall come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it is.
    Plain,
    /// In frames.
    Frames,
    /// In frames, both ways.
    Session,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A way to one controller.
#[derive(Debug, Clone)]
pub(super) struct Client {
    server: Server,
    timeout: Duration,
}

impl Client {
    /// A client that waits at most `timeout` for each answer.
    pub(super) fn new(server: Server, timeout: Duration) -> Self {
        Self { server, timeout }
    }

    /// The same client, waiting longer for answers.
    pub(super) fn waiting(&self, timeout: Duration) -> Self {
        Self {
            server: self.server.clone(),
            timeout,
        }
    }

    /// Its server.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Reads `path`.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::GET, path, Vec::new()).await
    }

    /// Sends `body` to `path`.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        self.ask(Method::POST, path, body).await
    }

    /// Deletes `path`.
    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(Method::DELETE, path, Vec::new()).await
    }

    /// Opens an answer that goes on, one JSON value a line.
    pub(super) async fn lines(&self, path: &str) -> Result<Lines, ClientError> {
        let response = self
            .in_time(self.send(Method::GET, path, Vec::new(), Form::Plain))
            .await?;
        Ok(Lines {
            server: self.server.address.to_string(),
            path: path.to_owned(),
            body: response.into_body(),
            buffer: Vec::new(),
        })
    }

    /// Begins an answer of octets that goes on.
    pub(super) async fn octets(&self, path: &str) -> Result<Octets, ClientError> {
        let response = self
            .in_time(self.send(Method::POST, path, Vec::new(), Form::Plain))
            .await?;
        Ok(Octets {
            server: self.server.address.to_string(),
            body: response.into_body(),
        })
    }

    /// Begins an answer of frames.
    pub(super) async fn frames(&self, path: &str) -> Result<FrameReader, ClientError> {
        let asked = self.send(Method::GET, path, Vec::new(), Form::Frames);
        let response = self.in_time(asked).await?;
        let server = self.server.address.to_string();
        Ok(FrameReader::of_body(server, response.into_body()))
    }

    /// Asks for a connection that carries frames both ways.
    pub(super) async fn session<T: Serialize>(
        &self,
        path: &str,
        wanted: &T,
    ) -> Result<(FrameReader, FrameWriter), ClientError> {
        let server = self.server.address.to_string();
        let body = serde_json::to_vec(wanted).map_err(|source| ClientError::Alien {
            server: server.clone(),
            path: path.to_owned(),
            source,
        })?;
        let upgraded = self.in_time(async {
            let response = self.send(Method::POST, path, body, Form::Session).await?;
            let upgraded = hyper::upgrade::on(response).await;
            upgraded.map_err(|source| self.broken(source))
        });
        Ok(super::session::halves(server, upgraded.await?))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        let bytes = self
            .in_time(async {
                let response = self.send(method, path, body, Form::Plain).await?;
                self.collect(response.into_body()).await
            })
            .await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Alien {
            server: self.server.address.to_string(),
            path: path.to_owned(),
            source,
        })
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::time::timeout(self.timeout, work)
            .await
            .unwrap_or_else(|_| {
                Err(ClientError::Timeout {
                    server: self.server.address.to_string(),
                    after: self.timeout,
                })
            })
    }

    /// Sends a request; an answer that is no success is an error.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        form: Form,
    ) -> Result<Response<Incoming>, ClientError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.connect().await?))
            .await
            .map_err(|source| self.broken(source))?;
        tokio::spawn(connection.with_upgrades());
        let host = match &self.server.address {
            Address::Tcp(address) => address.as_str(),
            Address::Unix(_) => "localhost",
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .header(
                header::USER_AGENT,
                concat!("kc/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = &self.server.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.first() == Some(&b'{') {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request = match form {
            Form::Plain => request,
            Form::Frames => request.header(header::ACCEPT, PROTOCOL),
            Form::Session => request
                .header(header::CONNECTION, "upgrade")
                .header(header::UPGRADE, PROTOCOL),
        };
        let request = request.body(Full::new(Bytes::from(body)))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|source| self.broken(source))?;
        let status = response.status();
        let good = match form {
            Form::Session => status == StatusCode::SWITCHING_PROTOCOLS,
            _ => status.is_success(),
        };
        if good {
            return Ok(response);
        }
        let bytes = self.collect(response.into_body()).await?;
        let mut body = match serde_json::from_slice::<ErrorReply>(&bytes) {
            Ok(reply) => reply.error,
            Err(_) => ErrorBody {
                code: status.as_u16().to_string(),
                message: format!("{} answered {status}", self.server.address),
                details: Vec::new(),
            },
        };
        if status.as_u16() == 401 {
            let hint = match self.server.token {
                None => "no token was given: use --token, KC_TOKEN, or token = \"…\" in kc.toml",
                Some(_) => "the controller keeps its token in <data-dir>/token",
            };
            body.message = format!("{} ({hint})", body.message);
        }
        Err(ClientError::Refused {
            status: status.as_u16(),
            body: Box::new(body),
        })
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        let attempt = async {
            Ok::<Box<dyn Stream>, std::io::Error>(match &self.server.address {
                Address::Tcp(address) => Box::new(TcpStream::connect(address).await?),
                Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
            })
        };
        tokio::time::timeout(CONNECT, attempt)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(|source| ClientError::Unreachable {
                server: self.server.address.to_string(),
                origin: self.server.origin.clone(),
                hint: hint(&self.server.address, &source),
                source,
            })
    }

    async fn collect(&self, mut body: Incoming) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|source| self.broken(source))?;
            if let Some(data) = frame.data_ref() {
                if bytes.len() + data.len() > MAX_ANSWER {
                    return Err(ClientError::TooLong {
                        server: self.server.address.to_string(),
                    });
                }
                bytes.extend_from_slice(data);
            }
        }
        Ok(bytes)
    }

    fn broken(&self, source: hyper::Error) -> ClientError {
        ClientError::Broken {
            server: self.server.address.to_string(),
            source,
        }
    }
}

/// What to try when nobody answers.
fn hint(address: &Address, error: &std::io::Error) -> String {
    use std::io::ErrorKind as Kind;
    match (address, error.kind()) {
        (Address::Unix(path), Kind::PermissionDenied) => {
            format!("you may not use {}: try it as root", path.display())
        }
        (Address::Unix(_), Kind::NotFound | Kind::ConnectionRefused) => {
            "start kc-controller (or kc playground up), or name another server with --server, \
             KC_SERVER or ~/.config/kcluster/kc.toml"
                .to_owned()
        }
        _ => "is kc-controller running there? Name another server with --server, KC_SERVER or \
              ~/.config/kcluster/kc.toml; kc playground up starts one on this machine"
            .to_owned(),
    }
}

/// An answer of octets that goes on.
#[derive(Debug)]
pub(super) struct Octets {
    server: String,
    body: Incoming,
}

impl Octets {
    /// The next octets; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|source| ClientError::Broken {
                server: self.server.clone(),
                source,
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// An answer that goes on.
#[derive(Debug)]
pub(super) struct Lines {
    server: String,
    path: String,
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next value; `None` when the controller has ended the answer.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(|source| {
                    ClientError::Alien {
                        server: self.server.clone(),
                        path: self.path.clone(),
                        source,
                    }
                });
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|source| ClientError::Broken {
                server: self.server.clone(),
                source,
            })?;
            if let Some(data) = frame.data_ref() {
                self.buffer.extend_from_slice(data);
            }
        }
    }
}
