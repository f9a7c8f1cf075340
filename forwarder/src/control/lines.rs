//! Lines out of a stream of octets, with a limit. Pure.

/// Octets received and not yet used.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Octets known to hold no newline.
    searched: usize,
}

/// What a stream has ready.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole line, its newline removed.
    Line(Vec<u8>),
    /// Nothing yet, or half a line.
    Wait,
    /// A line beyond the limit.
    TooLong,
}

/// Room that is kept between requests.
const KEEP: usize = 64 * 1024;

impl Lines {
    /// Takes what was received.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line of at most `limit` octets.
    pub(super) fn next(&mut self, limit: usize) -> Next {
        let unseen = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(newline) = unseen.iter().position(|&octet| octet == b'\n') else {
            self.searched = self.buffer.len();
            return if self.searched > limit {
                Next::TooLong
            } else {
                Next::Wait
            };
        };
        let end = self.searched + newline;
        if end > limit {
            return Next::TooLong;
        }
        let mut rest = self.buffer.split_off(end + 1);
        rest.shrink_to(KEEP);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        self.searched = 0;
        line.pop();
        Next::Line(line)
    }

    /// Octets of an unfinished line.
    pub(super) fn waiting(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_came_in() {
        let mut lines = Lines::default();
        lines.push(b"fir");
        assert_eq!(lines.next(100), Next::Wait);
        lines.push(b"st\nsecond\nthi");
        assert_eq!(lines.next(100), Next::Line(b"first".to_vec()));
        assert_eq!(lines.next(100), Next::Line(b"second".to_vec()));
        assert_eq!(lines.next(100), Next::Wait);
        assert_eq!(lines.waiting(), 3);
        lines.push(b"rd\n");
        assert_eq!(lines.next(100), Next::Line(b"third".to_vec()));
        assert_eq!(lines.waiting(), 0);
    }

    #[test]
    fn the_limit_holds_with_and_without_a_newline() {
        let mut lines = Lines::default();
        lines.push(b"12345");
        assert_eq!(lines.next(5), Next::Wait);
        lines.push(b"6");
        assert_eq!(lines.next(5), Next::TooLong);
        let mut lines = Lines::default();
        lines.push(b"123456\n");
        assert_eq!(lines.next(5), Next::TooLong);
        let mut lines = Lines::default();
        lines.push(b"12345\n");
        assert_eq!(lines.next(5), Next::Line(b"12345".to_vec()));
    }
}
