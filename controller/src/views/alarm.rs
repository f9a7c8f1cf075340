//! Alarms as people ask about them.

use crate::alarm::AlarmReport;
use crate::execute::Snapshot;

/// All alarms, the worst first.
pub fn alarms(moment: &Snapshot) -> Vec<AlarmReport> {
    let rank = |report: &AlarmReport| match report.state.as_str() {
        "firing" => 0,
        "pending" => 1,
        _ => 2,
    };
    let mut reports: Vec<_> = moment.state.alarm_reports().collect();
    reports.sort_by_key(rank);
    reports
}
