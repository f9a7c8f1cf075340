//! Frames from the controller, and frames to it.

use super::client::ClientError;
use crate::frame::{Frame, Frames, SILENCE_S};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::timeout;

/// A controller that says nothing for so long is not there any more.
const DEAD: Duration = Duration::from_secs(3 * SILENCE_S);
/// After so long with nothing to say, say so.
pub(super) const SILENCE: Duration = Duration::from_secs(SILENCE_S);
/// Octets read at once.
const READ: usize = 32 << 10;

type Connection = TokioIo<Upgraded>;

#[derive(Debug)]
enum Source {
    Body(Incoming),
    Connection(ReadHalf<Connection>, Vec<u8>),
}

/// Frames from the controller.
#[derive(Debug)]
pub(super) struct FrameReader {
    server: String,
    source: Source,
    frames: Frames,
}

/// Frames to the controller.
#[derive(Debug)]
pub(super) struct FrameWriter {
    server: String,
    half: WriteHalf<Connection>,
}

/// Both directions of an upgraded connection.
pub(super) fn halves(server: String, upgraded: Upgraded) -> (FrameReader, FrameWriter) {
    let (read, half) = tokio::io::split(TokioIo::new(upgraded));
    let reader = FrameReader {
        server: server.clone(),
        source: Source::Connection(read, vec![0; READ]),
        frames: Frames::default(),
    };
    (reader, FrameWriter { server, half })
}

impl FrameReader {
    pub(super) fn of_body(server: String, body: Incoming) -> Self {
        Self {
            server,
            source: Source::Body(body),
            frames: Frames::default(),
        }
    }

    /// The next frame that says something. Every answer has a last frame; an end before it is an
    /// error.
    pub(super) async fn next(&mut self) -> Result<Frame, ClientError> {
        loop {
            let frame = self.frames.take().map_err(|source| ClientError::NoFrames {
                server: self.server.clone(),
                source,
            })?;
            match frame {
                Some(Frame::Silence) => {}
                Some(frame) => return Ok(frame),
                None => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<(), ClientError> {
        let server = self.server.clone();
        let off = |source| ClientError::BrokenOff {
            server: server.clone(),
            source,
        };
        let dead = |_| ClientError::Dead {
            server: server.clone(),
        };
        match &mut self.source {
            Source::Body(body) => {
                let frame = timeout(DEAD, body.frame()).await.map_err(dead)?;
                let frame = frame.ok_or_else(|| off(None))?;
                let frame = frame.map_err(|source| ClientError::Broken {
                    server: server.clone(),
                    source,
                })?;
                if let Some(octets) = frame.data_ref() {
                    self.frames.push(octets);
                }
            }
            Source::Connection(half, buffer) => {
                let read = timeout(DEAD, half.read(buffer)).await.map_err(dead)?;
                match read.map_err(|error| off(Some(error)))? {
                    0 => return Err(off(None)),
                    count => self.frames.push(buffer.get(..count).unwrap_or_default()),
                }
            }
        }
        Ok(())
    }
}

impl FrameWriter {
    /// Writes a frame.
    pub(super) async fn write(&mut self, frame: &Frame) -> Result<(), ClientError> {
        let octets = frame.encode();
        let written = async {
            self.half.write_all(&octets).await?;
            self.half.flush().await
        };
        written.await.map_err(|error| ClientError::BrokenOff {
            server: self.server.clone(),
            source: Some(error),
        })
    }
}
