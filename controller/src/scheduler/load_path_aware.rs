//! Load/path-aware: the first function is the least loaded of its type; each next one is the
//! least loaded among those at most L_TH hops from the one chosen before. When none is that
//! near, the nearest one wins, ties by load.
//!
//! Ties of load go to the nearer instance, then to the first by name.

use super::survey::{Seen, Survey, step_by_step, why_more_loaded};
use super::{Choice, NoPath, Position, Request, Scheduler};
use crate::resource::Name;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct LoadPathAware {
    /// L_TH, in hops.
    pub l_th: u32,
}

impl Scheduler for LoadPathAware {
    fn name(&self) -> String {
        format!("load-path-aware lTh={}", self.l_th)
    }

    fn schedule(&self, request: &Request<'_>) -> Result<Choice, NoPath> {
        step_by_step(request, self.name(), |place, from, function, survey| {
            let from = from.filter(|_| place > 0);
            within(survey, function, from, self.l_th)
        })
    }
}

/// The rule for one step; `from` is the instance chosen before, if any.
pub(super) fn within<'a>(
    survey: Survey<'a>,
    function: &Name,
    from: Option<&str>,
    l_th: u32,
) -> Option<(Seen<'a>, Position)> {
    let length = survey.length;
    let near = |seen: &Seen<'_>| from.is_none() || seen.distance() <= l_th;
    let reached = survey.usable.iter().any(near);
    let order = |a: &Seen<'_>, b: &Seen<'_>| match reached {
        true => near(b).cmp(&near(a)).then_with(|| a.by_load(b)),
        false => a.by_distance(b),
    };
    let best = survey.first(order)?;
    let rule = match from {
        None => "the least loaded, as the first of the chain".to_owned(),
        Some(from) if reached => format!(
            "the least loaded at most {} from {from}",
            length.words(l_th)
        ),
        Some(from) => {
            let l_th = length.words(l_th);
            format!("none is at most {l_th} from {from}, so the nearest")
        }
    };
    let why = |seen: &Seen<'_>, taken| match (taken, reached, near(seen)) {
        (true, true, _) => "least loaded within reach".to_owned(),
        (true, false, _) => "nearest".to_owned(),
        (false, true, false) => format!("more than {} away", length.words(l_th)),
        (false, true, true) => why_more_loaded(seen, &best),
        (false, false, _) if seen.distance() > best.distance() => {
            format!("farther than {}", best.sf.name)
        }
        (false, false, _) => why_more_loaded(seen, &best),
    };
    let position = survey.position(function, rule, best, order, why);
    Some((best, position))
}
