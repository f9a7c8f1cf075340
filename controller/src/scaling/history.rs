//! What is remembered of former decisions, and of what targets wanted meanwhile. As long as they
//! want the same nothing is written down, so that a steady load costs no write.

use crate::resource::{AutoscaleSpec, FlapBudget};
use serde::{Deserialize, Serialize};

/// Most wishes and turns that are kept: load that jumps each second shall not fill the disk.
const KEPT: usize = 64;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// When it grew last.
    #[serde(skip_serializing_if = "Option::is_none")]
    out_ms: Option<u64>,
    /// When it shrank last.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_ms: Option<u64>,
    /// What targets wanted, and since when; the last is what they want now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wishes: Vec<(u64, u32)>,
    /// When growth turned into shrinking, or back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    turns: Vec<u64>,
}

/// Which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Out,
    In,
}

impl History {
    /// A clock that was set back must hold nothing for ever.
    pub(super) fn set_back(&mut self, now_ms: u64) {
        let earlier = |at: Option<u64>| at.map(|at| at.min(now_ms));
        (self.out_ms, self.in_ms) = (earlier(self.out_ms), earlier(self.in_ms));
        for (since, _) in &mut self.wishes {
            *since = now_ms.min(*since);
        }
        for turn in &mut self.turns {
            *turn = now_ms.min(*turn);
        }
    }

    /// Targets want `replicas` now.
    pub(super) fn wished(&mut self, replicas: u32, now_ms: u64, spec: &AutoscaleSpec) {
        if self.wishes.last().map(|(_, last)| *last) == Some(replicas) {
            return;
        }
        self.wishes.push((now_ms, replicas));
        let longest = spec.in_window_ms().max(spec.out_window_ms());
        let from = now_ms.saturating_sub(longest);
        // The last one before the window holds at its beginning.
        let old = self
            .wishes
            .iter()
            .filter(|(since, _)| *since <= from)
            .count();
        self.wishes.drain(..old.saturating_sub(1));
        if self.wishes.len() > KEPT {
            self.forget();
        }
    }

    /// Makes one of the two oldest: the larger one, so that nothing shrinks for it.
    fn forget(&mut self) {
        let (_, first) = self.wishes.remove(0);
        if let Some((_, second)) = self.wishes.first_mut() {
            *second = first.max(*second);
        }
    }

    /// Wishes that held at any time of the last `window_ms`; nothing when not all of it is known.
    fn within(&self, window_ms: u64, now_ms: u64) -> Option<impl Iterator<Item = u32>> {
        let from = now_ms.checked_sub(window_ms)?;
        let (first, _) = self.wishes.first()?;
        if *first > from {
            return None;
        }
        let before = self
            .wishes
            .iter()
            .filter(|(since, _)| *since <= from)
            .count();
        let held = self.wishes.get(before.saturating_sub(1)..)?;
        Some(held.iter().map(|(_, replicas)| *replicas))
    }

    pub(super) fn least_wished(&self, window_ms: u64, now_ms: u64) -> Option<u32> {
        self.within(window_ms, now_ms)?.min()
    }

    pub(super) fn most_wished(&self, window_ms: u64, now_ms: u64) -> Option<u32> {
        self.within(window_ms, now_ms)?.max()
    }

    /// When it may grow again.
    pub(super) fn grows_at(&self, spec: &AutoscaleSpec) -> Option<u64> {
        Some(self.out_ms?.saturating_add(spec.out_cooldown_ms()))
    }

    /// When it may shrink again.
    pub(super) fn shrinks_at(&self, spec: &AutoscaleSpec) -> Option<u64> {
        let last = self.out_ms.max(self.in_ms)?;
        Some(last.saturating_add(spec.in_cooldown_ms()))
    }

    /// Which way it went last.
    fn last(&self) -> Option<Direction> {
        match (self.out_ms, self.in_ms) {
            (None, None) => None,
            (out, shrank) if shrank > out => Some(Direction::In),
            _ => Some(Direction::Out),
        }
    }

    /// When a change in `direction` would be within the budget, if it is not now.
    pub(super) fn may_turn_at(
        &self,
        direction: Direction,
        budget: FlapBudget,
        now_ms: u64,
    ) -> Option<u64> {
        if self.last().is_none_or(|last| last == direction) {
            return None;
        }
        let within = u64::from(budget.within.millis());
        let recent = self.turns.iter().map(|at| at.saturating_add(within));
        let recent: Vec<u64> = recent.filter(|free_at| *free_at > now_ms).collect();
        let turns = usize::try_from(budget.turns).unwrap_or(usize::MAX);
        let surplus = recent.len().checked_sub(turns)?;
        recent
            .get(surplus)
            .copied()
            .or(Some(now_ms.saturating_add(within)))
    }

    /// It grew, or shrank.
    pub(super) fn changed(&mut self, grew: bool, now_ms: u64) {
        let direction = if grew { Direction::Out } else { Direction::In };
        if self.last().is_some_and(|last| last != direction) {
            self.turns.push(now_ms);
            let surplus = self.turns.len().saturating_sub(KEPT);
            self.turns.drain(..surplus);
        }
        match direction {
            // Of two at one moment the later one counts.
            Direction::Out => self.out_ms = Some(now_ms.max(self.in_ms.unwrap_or(0))),
            Direction::In => {
                let after = self.out_ms.map_or(0, |out| out.saturating_add(1));
                self.in_ms = Some(now_ms.max(after));
            }
        }
    }
}
