//! Weighted rendezvous hashing (highest random weight): each flow falls into a bucket, and each
//! bucket ranks the members by draws that depend on nothing but bucket and member. So a member
//! that goes takes only its own flows with it, one that comes back gets only those, and every
//! SFF that knows the same members by the same keys decides alike.
//!
//! The chance to draw the lowest `-log(random) / weight` is proportional to the weight.

use super::log2::below_top;
use crate::wire::flow::mix;
use std::cmp::Ordering;

/// Flows are told apart this finely. It never depends on the members: a change would move
/// everybody's flows.
const BUCKETS: usize = 8192;

/// Members that a bucket knows in order; beyond them the draws are made again.
const RANKS: usize = 4;

/// No member.
const NOBODY: u8 = u8::MAX;

/// What a member may expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share<'a> {
    /// What the member is called on every SFF.
    pub(crate) key: &'a str,
    /// Its share in proportion to the others'.
    pub(crate) weight: u16,
    /// Whether it gets flows only while no other is alive.
    pub(crate) backup: bool,
}

#[derive(Debug, Clone, Copy)]
struct Drawer {
    hash: u64,
    weight: u64,
    backup: bool,
}

impl Drawer {
    fn new(share: Share<'_>) -> Self {
        Self {
            hash: hash_of(share.key),
            weight: u64::from(share.weight.max(1)),
            backup: share.backup,
        }
    }
}

/// Flows spread over members, which are known by their place.
#[derive(Debug, Clone)]
pub(crate) struct Spread {
    drawers: Vec<Drawer>,
    buckets: Vec<[u8; RANKS]>,
}

impl Spread {
    /// Members beyond 254 get nothing.
    pub(crate) fn new<'a>(members: impl IntoIterator<Item = Share<'a>>) -> Self {
        let drawers = members.into_iter().take(usize::from(NOBODY));
        let drawers: Vec<_> = drawers.map(Drawer::new).collect();
        let mut ranked: Vec<(usize, Draw)> = Vec::with_capacity(drawers.len());
        let buckets = (0..BUCKETS).map(|bucket| {
            ranked.clear();
            ranked.extend(
                drawers
                    .iter()
                    .map(|drawer| Draw::new(bucket, drawer))
                    .enumerate(),
            );
            ranked.sort_unstable_by(|(a, x), (b, y)| x.rank(y).then(a.cmp(b)));
            let mut ranks = [NOBODY; RANKS];
            for (rank, (place, _)) in ranks.iter_mut().zip(&ranked) {
                *rank = u8::try_from(*place).unwrap_or(NOBODY);
            }
            ranks
        });
        let buckets = buckets.collect();
        Self { drawers, buckets }
    }

    /// For those who choose once a flow and remember it: the same choice, drawn when it is made.
    /// Costs no memory and no time to make, and a draw a member for each choice.
    pub(crate) fn unranked<'a>(members: impl IntoIterator<Item = Share<'a>>) -> Self {
        Self {
            drawers: members.into_iter().map(Drawer::new).collect(),
            buckets: Vec::new(),
        }
    }

    /// The member for a flow, by its [`stable_hash`](crate::wire::flow::FlowKey::stable_hash),
    /// among those that are `usable`.
    pub(crate) fn choose(&self, flow: u64, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let bucket = bucket_of(flow);
        for &rank in self.buckets.get(bucket).into_iter().flatten() {
            if rank == NOBODY {
                return None;
            }
            if usable(usize::from(rank)) {
                return Some(usize::from(rank));
            }
        }
        // The first four of this bucket are gone, or nobody ranked them.
        let alive = self.drawers.iter().enumerate();
        alive
            .filter(|(place, _)| usable(*place))
            .map(|(place, drawer)| (place, Draw::new(bucket, drawer)))
            .min_by(|(a, x), (b, y)| x.rank(y).then(a.cmp(b)))
            .map(|(place, _)| place)
    }
}

impl Spread {
    /// The member for a flow among those that are `usable` and come behind the first of the `passed`
    /// ones; among all where nobody is passed.
    pub(crate) fn choose_behind(
        &self,
        flow: u64,
        passed: impl Fn(usize) -> bool,
        usable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let bucket = bucket_of(flow);
        let draws = || {
            let drawers = self.drawers.iter().enumerate();
            drawers.map(|(place, drawer)| (place, Draw::new(bucket, drawer)))
        };
        let by_rank = |(a, x): &(usize, Draw), (b, y): &(usize, Draw)| x.rank(y).then(a.cmp(b));
        let first = draws().filter(|(place, _)| passed(*place)).min_by(by_rank);
        let behind = |draw: &(usize, Draw)| {
            let first = first.as_ref();
            first.is_none_or(|first| by_rank(first, draw).is_lt())
        };
        let left = draws().filter(|draw| behind(draw) && usable(draw.0));
        left.min_by(by_rank).map(|(place, _)| place)
    }
}

/// What a member drew for a bucket.
#[derive(Debug, Clone, Copy)]
struct Draw {
    random: u64,
    drawer: Drawer,
}

impl Draw {
    fn new(bucket: usize, drawer: &Drawer) -> Self {
        let random = mix(drawer.hash ^ mix(bucket as u64 + 1));
        Self {
            random,
            drawer: *drawer,
        }
    }

    /// Better draws first.
    fn rank(&self, other: &Self) -> Ordering {
        let (a, b) = (&self.drawer, &other.drawer);
        let by_backup = a.backup.cmp(&b.backup);
        let by_chance = || {
            // Costs have 39 bits and weights 16.
            let (mine, theirs) = (below_top(self.random), below_top(other.random));
            (mine * b.weight).cmp(&(theirs * a.weight))
        };
        let by_weight = if a.weight == b.weight {
            Ordering::Equal
        } else {
            by_chance()
        };
        let random = other.random.cmp(&self.random);
        by_backup
            .then(by_weight)
            .then(random)
            .then(a.hash.cmp(&b.hash))
    }
}

fn bucket_of(flow: u64) -> usize {
    usize::try_from(flow % BUCKETS as u64).unwrap_or(0)
}

/// A hash of a name that is the same in every version and on every machine: FNV-1a, finished by
/// [`mix`].
fn hash_of(key: &str) -> u64 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(hash)
}

#[cfg(test)]
mod tests;
