//! An alarm as it is told: retained on `alarm/<name>`, and listed by the API.

use super::{Severity, Standing};
use kc_agent_api::Payload;
use serde::{Deserialize, Serialize};

/// One alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AlarmReport {
    /// Kind, resource and alarm: `servicefunction.dpi.hot`.
    pub name: String,
    /// The resource that has it: `servicefunction/dpi`.
    pub object: String,
    /// `ok`, `pending` or `firing`: the worst of its subjects.
    pub state: String,
    /// Since when, milliseconds since 1970; absent while ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// What it watches for.
    pub when: String,
    /// Subjects that are not ok.
    pub subjects: Vec<SubjectReport>,
}

/// One of those an alarm watches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SubjectReport {
    /// Instance, box, or `average`.
    pub name: String,
    /// `pending` or `firing`.
    pub state: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: u64,
    /// What was measured when it came to that, in the metric's unit.
    pub value: f32,
}

impl Payload for AlarmReport {
    const NAME: &'static str = "alarm";
}

impl SubjectReport {
    /// A subject as it stands; `None` while it is ok.
    pub fn new(name: &str, standing: Standing, value: f32) -> Option<Self> {
        Some(Self {
            name: name.to_owned(),
            state: standing.word().to_owned(),
            since_ms: standing.since_ms()?,
            value,
        })
    }
}

impl AlarmReport {
    /// In one line, for people.
    pub fn line(&self) -> String {
        let subjects: Vec<_> = self
            .subjects
            .iter()
            .filter(|subject| subject.state == "firing")
            .map(|subject| format!("{} {:.0}", subject.name, subject.value))
            .collect();
        let (state, name, when) = (self.state.to_uppercase(), &self.name, &self.when);
        match subjects.is_empty() {
            true => format!("{state} {name} ({}): {when}", self.severity),
            false => format!(
                "{state} {name} ({}): {when}: {}",
                self.severity,
                subjects.join(", ")
            ),
        }
    }

    /// Puts a report together.
    pub fn new(
        name: String,
        object: String,
        severity: Severity,
        when: String,
        worst: Standing,
        subjects: Vec<SubjectReport>,
    ) -> Self {
        Self {
            name,
            object,
            state: worst.word().to_owned(),
            since_ms: worst.since_ms(),
            severity: severity.to_string(),
            when,
            subjects,
        }
    }
}
