//! What can be judged about alarms by themselves.

use super::check::Desk;
use crate::alarm::{AlarmSpec, Comparison, Metric, Of, webhook};
use std::collections::BTreeSet;

/// What an alarm may watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subjects {
    /// Instances, which chains may leave.
    Functions,
    /// Replicas.
    Services,
    Boxes,
    Chains,
}

impl Subjects {
    fn have(self, metric: Metric) -> bool {
        match self {
            Self::Functions | Self::Services => metric.of_containers(),
            Self::Chains => metric.of_chains(),
            Self::Boxes => true,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Functions | Self::Services => "containers",
            Self::Chains => "chains",
            Self::Boxes => "boxes",
        }
    }
}

pub(super) fn check(desk: &mut Desk<'_>, alarms: &[AlarmSpec], subjects: Subjects) {
    let mut seen = BTreeSet::new();
    for (index, alarm) in alarms.iter().enumerate() {
        let index = index.to_string();
        let twice = !seen.insert(&alarm.name);
        desk.refuse_if(
            twice,
            &["spec", "alarms", &index, "name"],
            format!("alarm {} is here twice", alarm.name),
        );
        for (number, url) in alarm.notify.iter().enumerate() {
            if let Err(message) = webhook(url) {
                let number = number.to_string();
                desk.wrong(&["spec", "alarms", &index, "notify", &number], message);
            }
        }
        let metric = alarm.when.metric;
        if !subjects.have(metric) {
            let have = Metric::ALL
                .into_iter()
                .filter(|metric| subjects.have(*metric));
            let have: Vec<_> = have.map(Metric::as_str).collect();
            let message = format!(
                "{} have no {}; they have {}",
                subjects.word(),
                metric.as_str(),
                have.join(" and ")
            );
            desk.wrong(&["spec", "alarms", &index, "when"], message);
        }
        replace(
            desk,
            &["spec", "alarms", &index, "replace"],
            alarm,
            subjects,
        );
        clear(desk, &["spec", "alarms", &index, "clear"], alarm);
    }
}

fn replace(desk: &mut Desk<'_>, at: &[&str], alarm: &AlarmSpec, subjects: Subjects) {
    if !alarm.replace {
        return;
    }
    match subjects {
        Subjects::Functions => desk.refuse_if(
            alarm.of == Of::Average,
            at,
            "chains leave an instance, and a mean has none; leave of: average out",
        ),
        Subjects::Services => desk.wrong(at, "no chain runs through a service; take autoscale"),
        Subjects::Boxes => desk.wrong(at, "a box cannot be replaced; functions have replace"),
        Subjects::Chains => desk.wrong(at, "chains leave functions; give those replace"),
    }
}

fn clear(desk: &mut Desk<'_>, at: &[&str], alarm: &AlarmSpec) {
    let threshold = alarm.when.threshold;
    match (alarm.clear_level(), alarm.when.comparison) {
        (Err(error), _) => desk.wrong(at, error.to_string()),
        (Ok(clear), Comparison::Above) => desk.refuse_if(
            clear > threshold,
            at,
            format!("it would end above the {threshold} it begins at"),
        ),
        (Ok(clear), Comparison::Below) => desk.refuse_if(
            clear < threshold,
            at,
            format!("it would end below the {threshold} it begins at"),
        ),
    }
}
