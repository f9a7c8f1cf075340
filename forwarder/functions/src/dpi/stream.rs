//! The start of one direction of a TCP connection, put in order. Bounded: what does not fit is
//! not looked at.

/// Octets kept; a ClientHello fits.
pub(super) const LIMIT: usize = 16 * 1024;

/// Segments that wait for one before them.
const WAITING: usize = 16;

/// The first octets of a stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Sequence number of the first octet.
    first: Option<u32>,
    octets: Vec<u8>,
    /// Offset and octets of segments behind a gap.
    waiting: Vec<(usize, Vec<u8>)>,
}

impl Stream {
    /// Notes the sequence number of a SYN.
    pub(super) fn begin(&mut self, sequence: u32) {
        *self = Self {
            first: Some(sequence.wrapping_add(1)),
            ..Self::default()
        };
    }

    /// Takes a segment's payload. Of two copies of an octet the first one counts.
    pub(super) fn add(&mut self, sequence: u32, payload: &[u8]) {
        let first = *self.first.get_or_insert(sequence);
        let offset = sequence.wrapping_sub(first);
        // Sequence numbers before the first are far beyond the limit, too.
        let Some(offset) = usize::try_from(offset)
            .ok()
            .filter(|&offset| offset < LIMIT)
        else {
            return;
        };
        if offset > self.octets.len() {
            if self.waiting.len() < WAITING {
                self.waiting.push((offset, payload.to_vec()));
            }
            return;
        }
        self.append(offset, payload);
        while let Some(at) = self
            .waiting
            .iter()
            .position(|(offset, _)| *offset <= self.octets.len())
        {
            let (offset, payload) = self.waiting.swap_remove(at);
            self.append(offset, &payload);
        }
    }

    fn append(&mut self, offset: usize, payload: &[u8]) {
        let known = self.octets.len() - offset;
        let new = payload.get(known..).unwrap_or_default();
        let room = LIMIT - self.octets.len();
        self.octets
            .extend_from_slice(new.get(..room).unwrap_or(new));
    }

    /// What has come without a gap.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Whether nothing more will be taken.
    pub(super) fn is_full(&self) -> bool {
        self.octets.len() >= LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_copy_of_an_octet_counts() {
        let mut stream = Stream::default();
        stream.begin(99);
        stream.add(100, b"abc");
        stream.add(100, b"xyzd");
        stream.add(90, b"0123456789");
        assert_eq!(stream.octets(), b"abcd");
    }

    #[test]
    fn it_never_grows_beyond_its_limit() {
        let mut stream = Stream::default();
        for n in 0..100 {
            stream.add(n * 1000, &[7; 1000]);
            stream.add(u32::MAX - n, &[8; 1000]);
        }
        assert_eq!(stream.octets().len(), LIMIT);
        assert!(stream.is_full());
    }

    proptest! {
        #[test]
        fn segments_in_any_order_make_the_stream(first: u32, order in Just((0..10_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let data: Vec<u8> = (0..100).collect();
            let mut stream = Stream::default();
            stream.begin(first.wrapping_sub(1));
            for n in order {
                let part = &data[n * 10..(n * 10 + 15).min(100)];
                stream.add(first.wrapping_add(u32::try_from(n * 10).unwrap()), part);
            }
            prop_assert_eq!(stream.octets(), &data[..]);
        }
    }
}
