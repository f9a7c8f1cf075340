//! Load/path-aware: the first function is the least loaded of its type; each next one is the
//! least loaded among those at most L_TH hops from the one chosen before. When none is that
//! near, the nearest one wins, ties by load.
//!
//! Ties of load go to the nearer instance, then to the first by name.

use super::explanation::counted;
use super::load_balance::least;
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
pub(super) fn within(
    survey: Survey<'_>,
    function: &Name,
    from: Option<&str>,
    l_th: u32,
) -> (usize, Position) {
    let near = |seen: &Seen<'_>| from.is_none() || seen.distance() <= l_th;
    let (taken, best, rule) = if survey.usable.iter().any(near) {
        let order = |a: &Seen<'_>, b: &Seen<'_>| near(b).cmp(&near(a)).then_with(|| a.by_load(b));
        let (taken, best) = least(&survey.usable, order);
        let rule = match from {
            Some(from) => format!("the least loaded at most {} from {from}", counted(l_th)),
            None => "the least loaded, as the first of the chain".to_owned(),
        };
        (taken, best, rule)
    } else {
        let (taken, best) = least(&survey.usable, Seen::by_distance);
        let from = from.unwrap_or_default();
        let l_th = counted(l_th);
        let rule = format!("none is at most {l_th} from {from}, so the nearest");
        (taken, best, rule)
    };
    let position = survey.position(function, rule, taken, |seen, taken| {
        let Some(best) = best.as_ref() else {
            return String::new();
        };
        let fell_back = !near(best);
        match (taken, fell_back, near(seen)) {
            (true, false, _) => "least loaded within reach".to_owned(),
            (true, true, _) => "nearest".to_owned(),
            (false, false, false) => format!("more than {} away", counted(l_th)),
            (false, false, true) => why_more_loaded(seen, best),
            (false, true, _) if seen.distance() > best.distance() => {
                format!("farther than {}", best.sf.name)
            }
            (false, true, _) => why_more_loaded(seen, best),
        }
    });
    (taken, position)
}
