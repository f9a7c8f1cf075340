//! Load balance: the least loaded instance of each type, wherever it is.

use super::survey::{Seen, step_by_step, why_more_loaded};
use super::{Choice, NoPath, Request, Scheduler};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadBalance;

impl Scheduler for LoadBalance {
    fn name(&self) -> String {
        "load-balance".to_owned()
    }

    fn schedule(&self, request: &Request<'_>) -> Result<Choice, NoPath> {
        step_by_step(request, self.name(), |_, _, function, survey| {
            let (taken, best) = least(&survey.usable, Seen::by_load);
            let rule = "the least loaded".to_owned();
            let position = survey.position(function, rule, taken, |seen, taken| {
                if taken {
                    "least loaded".to_owned()
                } else {
                    best.as_ref()
                        .map_or_else(String::new, |best| why_more_loaded(seen, best))
                }
            });
            (taken, position)
        })
    }
}

/// The first by `order`, and its index.
pub(super) fn least<'a>(
    seen: &[Seen<'a>],
    order: impl Fn(&Seen<'a>, &Seen<'a>) -> std::cmp::Ordering,
) -> (usize, Option<Seen<'a>>) {
    let first = seen.iter().enumerate().min_by(|(_, a), (_, b)| order(a, b));
    first.map_or((0, None), |(index, seen)| (index, Some(seen.clone())))
}
