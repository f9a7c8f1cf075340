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
            let best = survey.first(Seen::by_load)?;
            let rule = "the least loaded".to_owned();
            let why = |seen: &Seen<'_>, taken| match taken {
                true => "least loaded".to_owned(),
                false => why_more_loaded(seen, &best),
            };
            let position = survey.position(function, rule, best, Seen::by_load, why);
            Some((best, position))
        })
    }
}
