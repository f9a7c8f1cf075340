//! A token bucket. RFC 4443 section 2.4 (f): "an IPv6 node MUST limit the rate of ICMPv6 error
//! messages it originates"; RFC 1812 section 4.3.2.8 asks the same of IPv4 routers. What a
//! segment sends to everybody is held to a rate likewise.

/// At most `burst` at once and `per_second` in the long run.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    per_second: u64,
    burst: u64,
    /// Thousandths of a token.
    level: u64,
    filled_ms: u64,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(per_second: u64, burst: u64) -> Self {
        Self {
            per_second,
            burst,
            level: burst * 1000,
            filled_ms: 0,
        }
    }

    /// Tokens a second.
    pub(crate) fn rate(&self) -> u64 {
        self.per_second
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now_ms: u64) -> bool {
        let passed = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = self.filled_ms.max(now_ms);
        let gained = passed.saturating_mul(self.per_second);
        self.level = self.level.saturating_add(gained).min(self.burst * 1000);
        match self.level.checked_sub(1000) {
            Some(level) => {
                self.level = level;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut bucket = Bucket::new(100, 10);
        let taken = |bucket: &mut Bucket, now| (0..50).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, 5), 10);
        assert_eq!(taken(&mut bucket, 15), 1);
        assert_eq!(taken(&mut bucket, 100_000), 10);
        assert_eq!(taken(&mut bucket, 99_000), 0, "time does not run backwards");
    }
}
