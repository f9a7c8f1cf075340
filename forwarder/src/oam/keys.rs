//! Handles and sequence numbers that a stranger cannot guess: SipHash of a counter under a
//! secret.

use std::hash::{DefaultHasher, Hasher};

/// Sender's handle and sequence number of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Sender's handle.
    pub(crate) handle: u32,
    /// Sequence number.
    pub(crate) sequence: u32,
}

/// Makes keys, each once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    secret: [u8; 16],
    count: u64,
}

impl Keys {
    /// Goes on under another secret.
    pub(crate) fn set_secret(&mut self, secret: [u8; 16]) {
        self.secret = secret;
    }

    /// The next key.
    pub(crate) fn next(&mut self) -> Key {
        self.count = self.count.wrapping_add(1);
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.secret);
        hasher.write_u64(self.count);
        let [a, b, c, d, e, f, g, h] = hasher.finish().to_be_bytes();
        Key {
            handle: u32::from_be_bytes([a, b, c, d]),
            sequence: u32::from_be_bytes([e, f, g, h]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_depend_on_the_secret() {
        let mut keys = Keys::default();
        let mut others = Keys::default();
        others.set_secret([7; 16]);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let (key, other) = (keys.next(), others.next());
            assert_ne!(key, other);
            assert!(seen.insert(key) && seen.insert(other));
        }
    }
}
