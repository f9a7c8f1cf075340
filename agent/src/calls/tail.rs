//! Keeps the last bytes of a long output and cuts them into parts. Pure.

use std::collections::VecDeque;

/// The last bytes of an output, and how many there were before them.
#[derive(Debug)]
pub(super) struct Tail {
    limit: usize,
    kept: VecDeque<u8>,
    cut: u64,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: VecDeque::new(),
            cut: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().saturating_sub(self.limit);
        let fresh = &bytes[skipped..];
        let evicted = (self.kept.len() + fresh.len()).saturating_sub(self.limit);
        self.kept.drain(..evicted);
        self.kept.extend(fresh);
        self.cut += u64::try_from(skipped + evicted).unwrap_or(u64::MAX);
    }

    /// The text, lossily decoded. What is missing is said in a line of its own: at the start when
    /// it was too much, at the end for another reason.
    pub(super) fn finish(mut self, broken_off: Option<&str>) -> String {
        let bytes = self.kept.make_contiguous();
        let mut start = 0;
        if self.cut > 0 {
            // Half a line is worth nothing, unless there is no whole one.
            start = bytes
                .iter()
                .position(|b| *b == b'\n')
                .map_or(0, |end| end + 1);
            self.cut += u64::try_from(start).unwrap_or(u64::MAX);
        }
        let mut text = match self.cut {
            0 => String::new(),
            cut => format!("[{cut} bytes before this were cut]\n"),
        };
        text.push_str(&String::from_utf8_lossy(&bytes[start..]));
        if let Some(reason) = broken_off {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&format!("[cut here: {reason}]\n"));
        }
        text
    }
}

/// Cuts `text` into parts of at most `limit` bytes, after a line's end where there is one. At
/// least one part, which may be empty.
pub(super) fn parts(text: &str, limit: usize) -> Vec<&str> {
    // Room for any character at all.
    let limit = limit.max(4);
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > limit {
        let longest = rest.floor_char_boundary(limit);
        let cut = rest[..longest].rfind('\n').map_or(longest, |end| end + 1);
        let (part, behind) = rest.split_at(cut);
        parts.push(part);
        rest = behind;
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_output_is_whole() {
        let mut tail = Tail::new(10);
        tail.push(b"a\n");
        tail.push(b"b\xff\n");
        assert_eq!(tail.finish(None), "a\nb\u{fffd}\n");
        assert_eq!(Tail::new(10).finish(None), "");
    }

    #[test]
    fn of_a_long_output_the_last_lines_stay_and_the_cut_is_told() {
        let mut tail = Tail::new(10);
        tail.push(b"first line\nsecond\n");
        tail.push(b"third\n");
        assert_eq!(
            tail.finish(None),
            "[18 bytes before this were cut]\nthird\n"
        );
        let mut tail = Tail::new(4);
        tail.push(b"0123456789");
        assert_eq!(tail.finish(None), "[6 bytes before this were cut]\n6789");
    }

    #[test]
    fn an_output_broken_off_says_why() {
        let mut tail = Tail::new(10);
        tail.push(b"half");
        let text = tail.finish(Some("the engine took too long"));
        assert_eq!(text, "half\n[cut here: the engine took too long]\n");
    }

    #[test]
    fn parts_end_with_lines() {
        assert_eq!(parts("", 4), [""]);
        assert_eq!(parts("ab\ncd\nef", 4), ["ab\n", "cd\n", "ef"]);
        assert_eq!(parts("abcdef", 4), ["abcd", "ef"]);
    }

    proptest! {
        #[test]
        fn parts_are_short_and_make_the_whole(text in "(\\PC|\n){0,300}", limit in 4usize..50) {
            let parts = parts(&text, limit);
            prop_assert_eq!(parts.concat(), text.as_str());
            prop_assert!(parts.iter().all(|part| part.len() <= limit));
        }

        #[test]
        fn no_byte_is_kept_beyond_the_limit(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let mut tail = Tail::new(50);
            for piece in &pieces {
                tail.push(piece);
                prop_assert!(tail.kept.len() <= 50);
            }
            let all = pieces.concat();
            let kept: Vec<u8> = tail.kept.iter().copied().collect();
            prop_assert!(all.ends_with(&kept));
            prop_assert_eq!(kept.len(), all.len().min(50));
        }
    }
}
