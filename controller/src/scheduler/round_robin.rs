//! Round robin: the usable instance that follows, in name order, the one of its type that was
//! taken last by any chain.

use super::survey::{Seen, step_by_step};
use super::{Choice, NoPath, Request, Scheduler};
use crate::topology::by_name;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobin;

impl Scheduler for RoundRobin {
    fn name(&self) -> String {
        "round-robin".to_owned()
    }

    fn schedule(&self, request: &Request<'_>) -> Result<Choice, NoPath> {
        step_by_step(request, self.name(), |_, _, function, survey| {
            let last = request.rotation.get(function);
            let after = |name: &str| last.is_none_or(|last| by_name(last, name).is_lt());
            let next = survey.usable.iter().find(|seen| after(&seen.sf.name));
            let taken = *next.or(survey.usable.first())?;
            let rule = match last {
                Some(last) => format!("the next after {last}"),
                None => "the first".to_owned(),
            };
            let position = survey.position(function, rule, taken, Seen::by_name, |_, taken| {
                if taken { "its turn" } else { "not its turn" }.to_owned()
            });
            Some((taken, position))
        })
    }
}
