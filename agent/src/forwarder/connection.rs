//! One control connection: a request a line, a response a line, in order.

use super::ForwarderError;
use kc_forwarder_api::{Request, Response};
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open control connection.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// Process that listens, by the kernel's word.
    pub(super) pid: Option<i32>,
}

impl Connection {
    pub(crate) async fn open(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket).await?;
        let pid = stream.peer_cred()?.pid();
        let (reader, writer) = stream.into_split();
        Ok(Self {
            reader: BufReader::new(reader),
            writer,
            pid,
        })
    }

    /// Asks and waits for the answer. After any error but `Refused` the connection is of no use.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Response, ForwarderError> {
        self.ask_within(request, PATIENCE).await
    }

    /// As [`Connection::ask`], for answers that take longer.
    pub(crate) async fn ask_within(
        &mut self,
        request: &Request,
        patience: Duration,
    ) -> Result<Response, ForwarderError> {
        let silent = |_| ForwarderError::Silent(patience.as_secs());
        let exchange = self.exchange(request);
        tokio::time::timeout(patience, exchange)
            .await
            .map_err(silent)?
    }

    /// Octets that follow an answer, at most `limit`, appended to `octets`; 0 at their end.
    /// Nothing is lost when this is dropped before it is done.
    pub(crate) async fn take(&mut self, limit: usize, octets: &mut Vec<u8>) -> io::Result<usize> {
        let ready = self.reader.fill_buf().await?;
        let ready = ready.get(..limit).unwrap_or(ready);
        octets.extend_from_slice(ready);
        let count = ready.len();
        self.reader.consume(count);
        Ok(count)
    }

    async fn exchange(&mut self, request: &Request) -> Result<Response, ForwarderError> {
        let mut line = serde_json::to_vec(request).map_err(ForwarderError::Malformed)?;
        line.push(b'\n');
        self.writer
            .write_all(&line)
            .await
            .map_err(ForwarderError::Broken)?;
        self.next().await
    }

    /// The next answer; after a watch they come unasked.
    pub(super) async fn next(&mut self) -> Result<Response, ForwarderError> {
        let mut line = Vec::new();
        let read = self.reader.read_until(b'\n', &mut line).await;
        if read.map_err(ForwarderError::Broken)? == 0 {
            return Err(ForwarderError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_slice(&line).map_err(ForwarderError::Malformed)? {
            Response::Error { error } => Err(ForwarderError::Refused(error)),
            response => Ok(response),
        }
    }

    /// Returns when the forwarder has gone; nothing else is ever said unasked.
    pub(super) async fn gone(&mut self) -> io::Error {
        match self.reader.fill_buf().await {
            Ok([]) => io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => io::ErrorKind::InvalidData.into(),
            Err(error) => error,
        }
    }
}
