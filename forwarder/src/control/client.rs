//! The asking end, for the agent, the command line and tests.

use kc_forwarder_api::{
    Capture, ControlError, Counters, Echo, EchoReply, Probe, ProbeReport, Request, Response,
    Status, Tables,
};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An open connection to a forwarder.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    patience: Duration,
}

/// Why there is no answer, or not the wanted one.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("{}: no forwarder answers (is kc-forwarder running?)", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The connection broke or took too long.
    #[error("the forwarder's control socket failed")]
    Io(#[from] io::Error),
    /// The forwarder ended the connection.
    #[error("the forwarder closed the connection")]
    Closed,
    /// The answer is none.
    #[error("the forwarder's answer makes no sense")]
    Answer(#[from] serde_json::Error),
    /// The request was refused; nothing has changed.
    #[error(transparent)]
    Refused(#[from] ControlError),
    /// An answer to some other question.
    #[error("the forwarder answered another question")]
    Mismatch,
}

impl Client {
    /// Connects to `socket`; every request then has to be answered within `patience`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(socket: &Path, patience: Duration) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket).map_err(|source| ClientError::Connect {
            path: socket.to_owned(),
            source,
        })?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self {
            stream: BufReader::new(stream),
            patience,
        })
    }

    /// Asks one question and returns the answer, a refusal included.
    ///
    /// # Errors
    /// The connection failed.
    pub fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        // A forwarder that refuses early answers and closes: its answer is still to be read.
        let written = self.stream.get_mut().write_all(&line);
        let mut answer = String::new();
        match (self.stream.read_line(&mut answer), written) {
            (Ok(1..), _) => Ok(serde_json::from_str(&answer)?),
            (_, Err(error)) | (Err(error), _) => Err(error.into()),
            (Ok(0), Ok(())) => Err(ClientError::Closed),
        }
    }

    /// Puts `tables` in force and returns their generation once no packet sees the former ones.
    ///
    /// # Errors
    /// The tables were refused, or the connection failed.
    pub fn apply(&mut self, tables: Tables) -> Result<u64, ClientError> {
        match self.ask(&Request::Apply {
            tables: Box::new(tables),
        })? {
            Response::Applied { generation } => Ok(generation),
            other => Err(unwanted(other)),
        }
    }

    /// Has `tables` checked.
    ///
    /// # Errors
    /// The tables were refused, or the connection failed.
    pub fn check(&mut self, tables: Tables) -> Result<u64, ClientError> {
        match self.ask(&Request::Check {
            tables: Box::new(tables),
        })? {
            Response::Applied { generation } => Ok(generation),
            other => Err(unwanted(other)),
        }
    }

    /// The tables in force.
    ///
    /// # Errors
    /// The connection failed.
    pub fn tables(&mut self) -> Result<Tables, ClientError> {
        match self.ask(&Request::Tables)? {
            Response::Tables { tables } => Ok(*tables),
            other => Err(unwanted(other)),
        }
    }

    /// Has a probe carried out, however long it takes.
    ///
    /// # Errors
    /// The probe was refused, or the connection failed.
    pub fn probe(&mut self, probe: Probe) -> Result<ProbeReport, ClientError> {
        // What it may take, and for closing connections a moment more.
        let longest = Duration::from_millis(probe.longest_ms()) + self.patience;
        self.stream.get_ref().set_read_timeout(Some(longest))?;
        let response = self.ask(&Request::Probe { probe })?;
        self.stream
            .get_ref()
            .set_read_timeout(Some(self.patience))?;
        match response {
            Response::Probe { report } => Ok(report),
            other => Err(unwanted(other)),
        }
    }

    /// Begins a capture. What comes out of the stream is pcapng, as [`Capture`] says, without a
    /// time limit; shutting the writing side down asks for the end of it.
    ///
    /// # Errors
    /// The capture was refused, or the connection failed.
    pub fn capture(mut self, capture: Capture) -> Result<BufReader<UnixStream>, ClientError> {
        match self.ask(&Request::Capture { capture })? {
            Response::Capturing => {}
            other => return Err(unwanted(other)),
        }
        self.stream.get_ref().set_read_timeout(None)?;
        Ok(self.stream)
    }

    /// Sends an echo and waits for what comes of it; `None` is silence.
    ///
    /// # Errors
    /// The echo was refused, or the connection failed.
    pub fn echo(&mut self, echo: Echo) -> Result<Option<EchoReply>, ClientError> {
        let longest = Duration::from_millis(u64::from(echo.timeout_ms)) + self.patience;
        self.stream.get_ref().set_read_timeout(Some(longest))?;
        let response = self.ask(&Request::Echo { echo })?;
        self.stream
            .get_ref()
            .set_read_timeout(Some(self.patience))?;
        match response {
            Response::Echo { reply } => Ok(reply),
            other => Err(unwanted(other)),
        }
    }

    /// All counters.
    ///
    /// # Errors
    /// The connection failed.
    pub fn counters(&mut self) -> Result<Counters, ClientError> {
        match self.ask(&Request::Counters)? {
            Response::Counters { counters } => Ok(*counters),
            other => Err(unwanted(other)),
        }
    }

    /// Version, generation, ports.
    ///
    /// # Errors
    /// The connection failed.
    pub fn status(&mut self) -> Result<Status, ClientError> {
        match self.ask(&Request::Status)? {
            Response::Status { status } => Ok(*status),
            other => Err(unwanted(other)),
        }
    }
}

fn unwanted(response: Response) -> ClientError {
    match response {
        Response::Error { error } => ClientError::Refused(error),
        _ => ClientError::Mismatch,
    }
}
