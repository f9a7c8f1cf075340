//! Which backend a flow goes to: rendezvous hashing, so that a backend that comes or goes moves
//! only its own flows, and two balancers agree without talking.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A backend and what is known of its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    pub(super) standing: Standing,
    /// Flows sent to it.
    pub(super) flows: u64,
}

/// What health checks have said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// `None` before the first check has ended.
    pub(super) up: Option<bool>,
    /// Checks in a row that said otherwise.
    against: u32,
}

/// How checks become a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// From the end of one check to the start of the next, in milliseconds.
    pub interval_ms: u64,
    /// Longest time for a connection to be made.
    pub timeout_ms: u64,
    /// Good checks in a row after which a backend is up again.
    pub rise: u32,
    /// Bad checks in a row after which it is down.
    pub fall: u32,
}

impl Standing {
    /// A backend of which this is known.
    pub(super) const fn of(up: Option<bool>) -> Self {
        Self { up, against: 0 }
    }

    /// Takes note of a check. The first one decides at once.
    pub(super) fn note(&mut self, good: bool, policy: &Policy) {
        match self.up {
            None => self.up = Some(good),
            Some(up) if up == good => self.against = 0,
            Some(_) => {
                self.against += 1;
                if self.against >= if good { policy.rise } else { policy.fall } {
                    *self = Self {
                        up: Some(good),
                        against: 0,
                    };
                }
            }
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.up {
            None => "unchecked",
            Some(true) => "up",
            Some(false) => "down",
        })
    }
}

/// The backend that is up and scores highest for a client.
pub(super) fn choose(backends: &[Backend], client: SocketAddr, protocol: u8) -> Option<usize> {
    let up = backends
        .iter()
        .enumerate()
        .filter(|(_, backend)| backend.standing.up == Some(true));
    up.max_by_key(|(_, backend)| score(client, protocol, backend.address))
        .map(|(at, _)| at)
}

/// The same on every machine and in every version.
fn score(client: SocketAddr, protocol: u8, backend: SocketAddr) -> u64 {
    // FNV-1a, then the finalizer of splitmix64, since FNV's high bits are weak.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut feed = |octets: &[u8]| {
        for octet in octets {
            hash = (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    feed(&[protocol]);
    for end in [client, backend] {
        match end.ip() {
            IpAddr::V4(address) => feed(&address.octets()),
            IpAddr::V6(address) => feed(&address.octets()),
        }
        feed(&end.port().to_be_bytes());
    }
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        interval_ms: 1000,
        timeout_ms: 500,
        rise: 2,
        fall: 3,
    };

    fn backends(count: u8) -> Vec<Backend> {
        let backend = |n| Backend {
            address: SocketAddr::from(([10, 0, 0, n], 80)),
            standing: Standing {
                up: Some(true),
                against: 0,
            },
            flows: 0,
        };
        (1..=count).map(backend).collect()
    }

    fn clients() -> impl Iterator<Item = SocketAddr> {
        (0..3000_u16).map(|n| SocketAddr::from(([10, 1, 0, 1], 10_000 + n)))
    }

    #[test]
    fn flows_spread_evenly() {
        let all = backends(3);
        let mut counts = [0; 3];
        clients().for_each(|client| counts[choose(&all, client, 6).unwrap()] += 1);
        assert!(
            counts.iter().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_lost_backend_moves_only_its_own_flows() {
        let all = backends(3);
        let mut fewer = all.clone();
        fewer[1].standing.up = Some(false);
        for client in clients() {
            let (before, after) = (choose(&all, client, 6), choose(&fewer, client, 6));
            assert!(before == Some(1) || before == after);
            assert_ne!(after, Some(1));
        }
    }

    #[test]
    fn nobody_up_means_nobody_chosen() {
        let mut all = backends(1);
        all[0].standing = Standing::default();
        assert_eq!(choose(&all, SocketAddr::from(([1, 1, 1, 1], 1)), 6), None);
    }

    #[test]
    fn one_bad_check_is_no_outage_and_one_good_one_no_recovery() {
        let mut standing = Standing::default();
        let mut note = |good| {
            standing.note(good, &POLICY);
            standing.up
        };
        assert_eq!(note(true), Some(true));
        assert_eq!(
            [false, false, true, false, false].map(&mut note),
            [Some(true); 5]
        );
        assert_eq!(note(false), Some(false));
        assert_eq!(note(true), Some(false));
        assert_eq!(note(true), Some(true));
    }
}
