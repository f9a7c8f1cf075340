//! What goes over one HTTP connection between kc and the controller while octets stream both ways:
//! frames of a kind (1 octet), a length (4 octets, big endian) and a payload. Pure.
//!
//! ```text
//!  0       1               5
//! +-------+---------------+----------- - -
//! | kind  | length        | payload
//! +-------+---------------+----------- - -
//! ```

use std::collections::VecDeque;

/// Longest payload.
const LONGEST: usize = 1 << 20;
/// Kind and length.
const HEAD: usize = 5;

/// The media type of a body of frames, and the protocol that a connection is upgraded to.
pub const PROTOCOL: &str = "application/vnd.kcluster.frames";
/// Seconds after which a side with nothing to say says so.
pub const SILENCE_S: u64 = 15;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Nothing: whoever says it is there.
    Silence,
    /// Octets: to the command's standard input, or its standard output; a tar archive.
    Octets(Vec<u8>),
    /// Octets of the command's standard error.
    Errors(Vec<u8>),
    /// No more octets from this side.
    End,
    /// The terminal's rows and columns.
    Resize(u16, u16),
    /// What is at the path of a copy, as JSON.
    Entry(Vec<u8>),
    /// The command has ended, with that exit code if it is known; the last frame.
    Exit(Option<i64>),
    /// It broke off, and why; the last frame.
    Failure(String),
}

/// Not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Of no kind we know.
    #[error("a frame of kind {0} is none of ours")]
    Kind(u8),
    /// Too long.
    #[error("a frame of {0} octets is too long")]
    TooLong(u32),
    /// Its payload does not fit its kind.
    #[error("a frame of kind {0} has the wrong payload")]
    Payload(u8),
}

impl Frame {
    /// The frame's octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut size = [0; 4];
        let mut code = [0; 8];
        let (kind, payload): (u8, &[u8]) = match self {
            Self::Silence => (0, &[]),
            Self::Octets(octets) => (1, octets),
            Self::Errors(octets) => (2, octets),
            Self::End => (3, &[]),
            Self::Resize(rows, columns) => {
                size[..2].copy_from_slice(&rows.to_be_bytes());
                size[2..].copy_from_slice(&columns.to_be_bytes());
                (4, &size)
            }
            Self::Entry(json) => (5, json),
            Self::Exit(None) => (6, &[]),
            Self::Exit(Some(value)) => {
                code.copy_from_slice(&value.to_be_bytes());
                (6, &code)
            }
            Self::Failure(text) => (7, text.as_bytes()),
        };
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut octets = Vec::with_capacity(HEAD + payload.len());
        octets.push(kind);
        octets.extend_from_slice(&length.to_be_bytes());
        octets.extend_from_slice(payload);
        octets
    }

    fn decode(kind: u8, payload: Vec<u8>) -> Result<Self, FrameError> {
        let wrong = |_| FrameError::Payload(kind);
        Ok(match kind {
            0 => Self::Silence,
            1 => Self::Octets(payload),
            2 => Self::Errors(payload),
            3 => Self::End,
            4 => {
                let [a, b, c, d] = <[u8; 4]>::try_from(payload).map_err(wrong)?;
                Self::Resize(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
            }
            5 => Self::Entry(payload),
            6 if payload.is_empty() => Self::Exit(None),
            6 => Self::Exit(Some(i64::from_be_bytes(payload.try_into().map_err(wrong)?))),
            7 => Self::Failure(String::from_utf8_lossy(&payload).into_owned()),
            kind => return Err(FrameError::Kind(kind)),
        })
    }
}

/// Puts frames together again.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: VecDeque<u8>,
}

impl Frames {
    /// More octets have come.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend(octets);
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// The octets are no frame; no later ones will be either.
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        let mut head = self.buffer.iter().take(HEAD).copied();
        let [Some(kind), Some(a), Some(b), Some(c), Some(d)] = std::array::from_fn(|_| head.next())
        else {
            return Ok(None);
        };
        let announced = u32::from_be_bytes([a, b, c, d]);
        let length = usize::try_from(announced).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(FrameError::TooLong(announced));
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.drain(..HEAD);
        Frame::decode(kind, self.buffer.drain(..length).collect()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame() -> impl Strategy<Value = Frame> {
        let octets = || prop::collection::vec(any::<u8>(), 0..100);
        prop_oneof![
            Just(Frame::Silence),
            Just(Frame::End),
            octets().prop_map(Frame::Octets),
            octets().prop_map(Frame::Errors),
            octets().prop_map(Frame::Entry),
            any::<(u16, u16)>().prop_map(|(rows, columns)| Frame::Resize(rows, columns)),
            any::<Option<i64>>().prop_map(Frame::Exit),
            ".{0,20}".prop_map(Frame::Failure),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_however_they_are_cut(frames in prop::collection::vec(frame(), 0..10), cut in 1usize..50) {
            let wire: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            let (mut reader, mut heard) = (Frames::default(), Vec::new());
            for piece in wire.chunks(cut) {
                reader.push(piece);
                while let Some(frame) = reader.take().unwrap() {
                    heard.push(frame);
                }
            }
            prop_assert_eq!(heard, frames);
        }

        #[test]
        fn rubbish_is_refused_or_awaited_and_never_grows(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Frames::default();
            reader.push(&octets);
            while let Ok(Some(_)) = reader.take() {}
            prop_assert!(reader.buffer.len() <= octets.len());
        }
    }

    #[test]
    fn a_frame_is_written_so() {
        assert_eq!(Frame::Octets(b"ab".to_vec()).encode(), b"\x01\0\0\0\x02ab");
        assert_eq!(
            Frame::Resize(24, 80).encode(),
            b"\x04\0\0\0\x04\0\x18\0\x50"
        );
        assert_eq!(
            Frame::Exit(Some(3)).encode(),
            b"\x06\0\0\0\x08\0\0\0\0\0\0\0\x03"
        );
    }

    #[test]
    fn a_frame_too_long_to_be_true_is_refused_before_it_has_come() {
        let mut reader = Frames::default();
        reader.push(&[1, 0xff, 0, 0, 0]);
        assert_eq!(reader.take(), Err(FrameError::TooLong(0xff00_0000)));
    }
}
