//! Octets between a client and a box, in frames: as the body of an answer, or both ways over a
//! connection that was upgraded. Whoever reads slowly holds back the box and nobody else.

use super::error::{ApiError, chain};
use crate::frame::{Frame, Frames, PROTOCOL, SILENCE_S};
use crate::mqtt::{CallError, Conversation, Inlet};
use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kc_agent_api::{Entry, Output, ReplyBody, Window, octets};
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// After that a silent session says so, and a dead client is noticed.
const SILENCE: Duration = Duration::from_secs(SILENCE_S);
/// A client that says nothing for so long is gone.
const GONE: Duration = Duration::from_secs(4 * SILENCE_S);
/// Octets read at once.
const READ: usize = 32 << 10;

/// A connection that the client wants to have upgraded to frames.
pub(super) struct Upgrade(OnUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let wanted = parts.headers.get(header::UPGRADE);
        let wanted = wanted.is_some_and(|value| value.as_bytes() == PROTOCOL.as_bytes());
        let refuse = || {
            let message =
                format!("this needs the headers Connection: upgrade and Upgrade: {PROTOCOL}");
            ApiError::new(StatusCode::UPGRADE_REQUIRED, "upgrade-required", message)
        };
        if !wanted {
            return Err(refuse());
        }
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        upgrade.map(Self).ok_or_else(refuse)
    }
}

impl Upgrade {
    /// Switches, and carries both ways until one side ends.
    pub(super) fn carry(self, entry: Option<Entry>, conversation: Conversation) -> Response {
        tokio::spawn(async move {
            match self.0.await {
                Ok(upgraded) => carry(TokioIo::new(upgraded), entry, conversation).await,
                Err(error) => tracing::info!(%error, "a client left before its session began"),
            }
        });
        let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, PROTOCOL)];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

/// The next frame of an answer; `None` when the last one was given.
async fn next(conversation: &mut Conversation, over: &mut bool) -> Option<Frame> {
    if *over {
        return None;
    }
    let Ok(part) = timeout(SILENCE, conversation.next()).await else {
        return Some(Frame::Silence);
    };
    let frame = part.map_err(|error| chain(&error)).and_then(frame);
    let frame = frame.unwrap_or_else(Frame::Failure);
    *over = matches!(frame, Frame::Exit(_) | Frame::Failure(_));
    Some(frame)
}

fn frame(part: Option<ReplyBody>) -> Result<Frame, String> {
    match part {
        Some(ReplyBody::Data { base64, stream }) => {
            let octets = octets(&base64).map_err(|error| error.to_string())?;
            Ok(match stream {
                Output::Stdout => Frame::Octets(octets),
                Output::Stderr => Frame::Errors(octets),
            })
        }
        Some(ReplyBody::Ended { exit_code }) => Ok(Frame::Exit(exit_code)),
        _ => Err("the box has answered something else".to_owned()),
    }
}

/// An answer as the body of a response: frames, or only the octets in them, for people.
pub(super) fn body(conversation: Conversation, framed: bool) -> Response {
    let state = (conversation, false);
    let stream = stream::unfold(state, move |(mut conversation, mut over)| async move {
        loop {
            let frame = next(&mut conversation, &mut over).await?;
            let octets = match frame {
                frame if framed => frame.encode(),
                Frame::Octets(octets) | Frame::Errors(octets) => octets,
                Frame::Failure(text) => format!("[{text}]\n").into_bytes(),
                _ => continue,
            };
            let piece = Ok::<_, Infallible>(Bytes::from(octets));
            return Some((piece, (conversation, over)));
        }
    });
    let kind = match framed {
        true => PROTOCOL,
        false => "text/plain; charset=utf-8",
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(stream)).into_response()
}

async fn carry(
    stream: impl AsyncRead + AsyncWrite,
    entry: Option<Entry>,
    mut conversation: Conversation,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut inlet = conversation.inlet();
    let outward = async {
        let json = serde_json::to_vec(&entry).unwrap_or_default();
        writer.write_all(&Frame::Entry(json).encode()).await?;
        let mut over = false;
        while let Some(frame) = next(&mut conversation, &mut over).await {
            writer.write_all(&frame.encode()).await?;
            writer.flush().await?;
        }
        writer.shutdown().await
    };
    let inward = async {
        if let Err(error) = inward(&mut reader, &mut inlet).await {
            tracing::debug!(%error, "input of a session has ended");
        }
    };
    // Whichever ends first: nothing is left to say, or nobody is there to hear it.
    tokio::select! {
        done = outward => if let Err(error) = done {
            tracing::info!(%error, "a client left its session");
        },
        () = inward => {}
    }
}

/// Why input ends.
#[derive(Debug, thiserror::Error)]
enum InputEnd {
    #[error("the client has closed the connection")]
    Closed,
    #[error("the client is silent")]
    Silent,
    #[error(transparent)]
    Read(#[from] std::io::Error),
    #[error(transparent)]
    Frame(#[from] crate::frame::FrameError),
    #[error(transparent)]
    Call(#[from] CallError),
}

async fn inward(reader: &mut (impl AsyncRead + Unpin), inlet: &mut Inlet) -> Result<(), InputEnd> {
    let (mut frames, mut buffer) = (Frames::default(), vec![0; READ]);
    loop {
        let read = timeout(GONE, reader.read(&mut buffer)).await;
        let count = read.map_err(|_| InputEnd::Silent)??;
        if count == 0 {
            return Err(InputEnd::Closed);
        }
        frames.push(buffer.get(..count).unwrap_or_default());
        while let Some(frame) = frames.take()? {
            match frame {
                Frame::Octets(octets) => inlet.send(&octets).await?,
                Frame::End => inlet.end().await?,
                Frame::Resize(rows, columns) => inlet.resize(Window { rows, columns })?,
                _ => {}
            }
        }
    }
}
