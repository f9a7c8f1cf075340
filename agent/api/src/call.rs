//! Requests to an agent and its answers, matched by the id in their topics. An answer may come
//! in several parts; the last one says so.

use crate::{Finding, Payload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kc_forwarder_api::{Request, Response};
use serde::{Deserialize, Serialize};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Call {
    /// What is asked.
    pub body: CallBody,
}

impl Payload for Call {
    const NAME: &'static str = "call";
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum CallBody {
    /// A container's output.
    Logs {
        /// Name in the document.
        container: String,
        /// Last lines only; all when absent.
        tail: Option<u32>,
        /// Only lines younger than this many seconds.
        since_s: Option<u64>,
        /// Only lines from then on: seconds since 1970 by the box's clock.
        #[serde(default)]
        since_wall_s: Option<u64>,
        /// Go on with what the container says next, until it ends.
        #[serde(default)]
        follow: bool,
        /// Each line with the time at which the engine got it.
        #[serde(default)]
        timestamps: bool,
        /// What ran before under this name: the container before its present start, or the one that it
        /// took the place of. Neither is followed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        previous: bool,
        /// Parts the caller can take before it gives more [`CallBody::Credit`].
        #[serde(default)]
        credit: u32,
    },
    /// A command in a running container.
    Exec {
        /// Name in the document.
        container: String,
        /// Program and arguments.
        command: Vec<String>,
        /// Whether [`CallBody::Input`] follows; the command's standard input is empty otherwise.
        stdin: bool,
        /// A terminal of that size; standard output and error are one then.
        tty: Option<Window>,
        /// Parts the caller can take before it gives more [`CallBody::Credit`].
        credit: u32,
    },
    /// Files into a container: [`CallBody::Input`] is a tar archive, unpacked where `path` is a
    /// directory, else beside it.
    Upload {
        /// Name in the document.
        container: String,
        /// Where to.
        path: String,
        /// Parts the caller can take before it gives more [`CallBody::Credit`].
        credit: u32,
    },
    /// Files out of a container, as a tar archive.
    Download {
        /// Name in the document.
        container: String,
        /// What.
        path: String,
        /// Parts the caller can take before it gives more [`CallBody::Credit`].
        credit: u32,
    },
    /// Octets that belong to a call, as many parts as [`ReplyBody::Begun`] and
    /// [`ReplyBody::Credit`] allow.
    Input {
        /// Id of the call.
        id: u64,
        /// 0, 1, 2 … within the call.
        part: u32,
        /// The octets, in base64 (RFC 4648 section 4).
        base64: String,
        /// Whether no more will follow.
        last: bool,
    },
    /// The caller's terminal has another size now.
    Resize {
        /// Id of the call.
        id: u64,
        /// The size.
        window: Window,
    },
    /// A request to the forwarder: status, counters, an echo, a probe or a capture. Others are
    /// refused, because tables come with the document and with nothing else.
    Forwarder {
        /// The request.
        request: Box<Request>,
        /// Parts the caller can take before it gives more [`CallBody::Credit`].
        credit: u32,
    },
    /// Another version of the agent: [`CallBody::Input`] is its archive, a tar file. The answer's end
    /// says that it was found good and goes on trial; what comes of that is told in
    /// [`crate::NodeStatus::update`], because whoever answers is not there any more.
    Update {
        /// A number of the caller's, by which the status names this attempt.
        attempt: u32,
        /// Octets of the archive.
        size: u64,
        /// Its signature: what minisign writes beside it.
        signature: String,
        /// Whether it may be older than what runs.
        allow_downgrade: bool,
        /// Parts the caller can take before it gives more [`CallBody::Credit`].
        credit: u32,
    },
    /// A look at the box: what is wrong with it, and how that is put right.
    Doctor,
    /// The caller of a long answer is there, and can take so much of it. Said again at least every
    /// [`SIGN_OF_LIFE_S`] seconds: an answer that nobody seems to want any more is given up.
    Credit {
        /// Id of the call that is being answered.
        id: u64,
        /// Parts it can take altogether, from the first: said twice, it means the same.
        parts: u32,
    },
    /// Nobody waits for an answer any more.
    Cancel {
        /// Id of the call.
        id: u64,
    },
}

impl CallBody {
    /// Parts of the answer that may come before the caller says more.
    pub const fn credit(&self) -> u32 {
        match self {
            Self::Logs { credit, .. }
            | Self::Exec { credit, .. }
            | Self::Upload { credit, .. }
            | Self::Download { credit, .. }
            | Self::Update { credit, .. }
            | Self::Forwarder { credit, .. } => *credit,
            _ => 0,
        }
    }

    /// Octets that belong to call `id`.
    pub fn input(id: u64, part: u32, octets: &[u8], last: bool) -> Self {
        Self::Input {
            id,
            part,
            base64: STANDARD.encode(octets),
            last,
        }
    }
}

/// Seconds between two signs of life of whoever waits for a long answer. Three are waited for.
pub const SIGN_OF_LIFE_S: u64 = 10;

/// The part number of what is said about a call that there is not, or not any more.
pub const NO_SUCH_CALL: u32 = u32::MAX;

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Window {
    /// Height.
    pub rows: u16,
    /// Width.
    pub columns: u16,
}

/// What is at a path of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, a socket or a pipe.
    Other,
}

/// Which of its two outputs a container wrote to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Standard output; all that has a terminal writes to it.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

impl Output {
    /// For serde: what is not written.
    const fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }
}

/// One part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reply {
    /// 0, 1, 2 … within the answer.
    pub part: u32,
    /// Whether this is the last part.
    pub last: bool,
    /// The part.
    pub body: ReplyBody,
}

impl Payload for Reply {
    const NAME: &'static str = "reply";
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum ReplyBody {
    /// The call was taken up, and its answer follows; the first part.
    Begun {
        /// Parts of [`CallBody::Input`] that may be sent before [`ReplyBody::Credit`].
        credit: u32,
        /// What is at the path of an upload or a download.
        #[serde(default)]
        entry: Option<Entry>,
    },
    /// More input can be taken. Not a part of the answer: its number says nothing.
    Credit {
        /// Parts that may be sent altogether, from the first: said twice, it means the same.
        parts: u32,
    },
    /// The command has ended, or all is copied.
    Ended {
        /// The command's exit code, where it is known.
        exit_code: Option<i64>,
    },
    /// The forwarder's answer.
    Forwarder {
        /// The answer.
        response: Box<Response>,
    },
    /// What the look at the box has found.
    Doctor {
        /// Every check, whatever came of it.
        findings: Vec<Finding>,
        /// Milliseconds since 1970 by the box's clock when this was said.
        wall_ms: u64,
    },
    /// Octets that follow the first part: a capture's pcapng, output, a tar archive.
    Data {
        /// The octets, in base64 (RFC 4648 section 4).
        base64: String,
        /// Where a container wrote them to.
        #[serde(default, skip_serializing_if = "Output::is_stdout")]
        stream: Output,
    },
    /// It could not be done.
    Error {
        /// Why, for people.
        message: String,
    },
}

impl ReplyBody {
    /// Octets as a part of an answer.
    pub fn data(octets: &[u8]) -> Self {
        Self::output(octets, Output::Stdout)
    }

    /// Octets that a container wrote to `stream`.
    pub fn output(octets: &[u8], stream: Output) -> Self {
        Self::Data {
            base64: STANDARD.encode(octets),
            stream,
        }
    }
}

/// The octets of a [`ReplyBody::Data`] or a [`CallBody::Input`].
///
/// # Errors
/// It is no base64.
pub fn octets(base64: &str) -> Result<Vec<u8>, base64::DecodeError> {
    STANDARD.decode(base64)
}
