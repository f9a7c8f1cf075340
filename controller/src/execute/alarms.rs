//! Alarms as bytes: what the broker was told, what differs now, what nobody has any more.

use crate::alarm::AlarmReport;
use kc_agent_api::{PayloadError, encode};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    told: BTreeMap<String, Vec<u8>>,
    /// To be published, or cleared where `told` has nothing.
    unsent: BTreeSet<String>,
}

impl Alarms {
    /// Takes up how all alarms stand.
    pub(super) fn update(
        &mut self,
        reports: impl Iterator<Item = AlarmReport>,
    ) -> Result<(), PayloadError> {
        let mut told = BTreeMap::new();
        for report in reports {
            let bytes = encode(&report)?;
            if self.told.get(&report.name) != Some(&bytes) {
                self.unsent.insert(report.name.clone());
            }
            told.insert(report.name, bytes);
        }
        let gone = self.told.keys().filter(|name| !told.contains_key(*name));
        self.unsent.extend(gone.cloned());
        self.told = told;
        Ok(())
    }

    /// The broker may have forgotten everything.
    pub(super) fn again(&mut self) {
        self.unsent.extend(self.told.keys().cloned());
    }

    /// The broker keeps an alarm of that name: it is cleared if nobody has it.
    pub(super) fn kept(&mut self, name: &str) {
        if !self.told.contains_key(name) {
            self.unsent.insert(name.to_owned());
        }
    }

    /// The next to publish with its payload, which is empty for one to be cleared.
    pub(super) fn next(&mut self) -> Option<(String, Vec<u8>)> {
        let name = self.unsent.pop_first()?;
        let payload = self.told.get(&name).cloned().unwrap_or_default();
        Some((name, payload))
    }

    /// One that could not be published yet.
    pub(super) fn put_back(&mut self, name: String) {
        self.unsent.insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::{Severity, Standing};

    fn report(name: &str, standing: Standing) -> AlarmReport {
        let when = "cpu > 50%".to_owned();
        let object = "servicefunction/dpi".to_owned();
        AlarmReport::new(
            name.to_owned(),
            object,
            Severity::Info,
            when,
            standing,
            Vec::new(),
        )
    }

    fn sent(alarms: &mut Alarms) -> Vec<(String, bool)> {
        let next = std::iter::from_fn(|| alarms.next());
        next.map(|(name, payload)| (name, payload.is_empty()))
            .collect()
    }

    #[test]
    fn changes_are_told_once_and_what_nobody_has_is_cleared() {
        let mut alarms = Alarms::default();
        let both = || {
            ["a", "b"]
                .map(|name| report(name, Standing::Ok))
                .into_iter()
        };
        alarms.update(both()).unwrap();
        assert_eq!(
            sent(&mut alarms),
            [("a".into(), false), ("b".into(), false)]
        );
        alarms.update(both()).unwrap();
        assert_eq!(sent(&mut alarms), []);
        let firing = report("a", Standing::Firing { since_ms: 1 });
        alarms.update([firing].into_iter()).unwrap();
        assert_eq!(sent(&mut alarms), [("a".into(), false), ("b".into(), true)]);
        alarms.kept("a");
        alarms.kept("of former days");
        assert_eq!(sent(&mut alarms), [("of former days".into(), true)]);
        alarms.again();
        assert_eq!(sent(&mut alarms), [("a".into(), false)]);
    }
}
