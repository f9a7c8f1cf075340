//! Tables of results, the same on a terminal and in Markdown.

use super::record::{Case, Latency, Line, Rest, Swap};
use super::statistics::Spread;
use super::summary::{Result, Summary};
use super::table::Table;
use std::collections::BTreeMap;

/// What came of a run, sorted by kind.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Trials.
    pub summary: Summary,
    /// Times of packets.
    pub latencies: Vec<Latency>,
    /// What contestants take at rest.
    pub rests: Vec<Rest>,
    /// Tables replaced while packets flow.
    pub swaps: Vec<Swap>,
}

/// A work and a contestant in it.
type Subject<'a> = (&'a str, &'a str);

/// The reference that a ratio's column is named after: bare loops share one.
fn column(reference: &str) -> &str {
    if reference.starts_with("bare-") {
        "bare loop"
    } else {
        reference
    }
}

impl Report {
    /// Of these lines.
    pub fn of(lines: &[Line]) -> Self {
        let mut report = Self::default();
        let mut trials = Vec::new();
        for line in lines {
            match line {
                Line::Trial(trial) => trials.push(trial.clone()),
                Line::Latency(latency) => report.latencies.push(latency.clone()),
                Line::Rest(rest) => report.rests.push(rest.clone()),
                Line::Swap(swap) => report.swaps.push(swap.clone()),
                Line::Run(_) | Line::Skipped(_) => {}
            }
        }
        report.summary = Summary::of(&trials);
        report
    }

    /// Works of which there is a table, in order.
    pub fn works(&self) -> Vec<&str> {
        let mut works: Vec<&str> = Vec::new();
        for (case, _) in &self.summary.cases {
            if case.measure == "capacity" && !works.contains(&case.work.as_str()) {
                works.push(&case.work);
            }
        }
        works
    }

    /// Capacity in one work: a row for each case and contestant.
    pub fn capacity(&self, work: &str) -> Table {
        let of_work = |case: &Case| case.measure == "capacity" && case.work == work;
        let cases = self.summary.cases.iter().filter(|(case, _)| of_work(case));
        let cases: Vec<_> = cases.collect();
        let mut columns: Vec<&str> = Vec::new();
        for (_, results) in &cases {
            let references = results.iter().flat_map(|(_, result)| result.ratios.keys());
            for name in references.map(|name| column(name)) {
                if !columns.contains(&name) {
                    columns.push(name);
                }
            }
        }
        columns.sort_unstable_by_key(|name| (*name == "bare loop", *name));
        let fixed = ["frames", "contestant", "Mpps/CPU", "Mpps", "lost %"];
        let mut head: Vec<String> = fixed.map(str::to_owned).into();
        head.extend(columns.iter().map(|name| format!("× {name}")));
        let mut table = Table::new(head);
        for (case, results) in cases {
            for (name, result) in results {
                table.row(capacity_row(case, name, result, &columns));
            }
        }
        table
    }

    /// How contestants scale in one thing: `paths`, `rules` or `flows`.
    pub fn scaling(&self, measure: &str) -> Table {
        let mut amounts: Vec<u32> = Vec::new();
        let mut rows: Vec<(Subject<'_>, BTreeMap<u32, f64>)> = Vec::new();
        for (case, results) in self
            .summary
            .cases
            .iter()
            .filter(|(c, _)| c.measure == measure)
        {
            let amount = amount(case);
            if !amounts.contains(&amount) {
                amounts.push(amount);
            }
            for (name, result) in results {
                let key = (case.work.as_str(), name.as_str());
                let place = rows.iter().position(|(known, _)| *known == key);
                let place = place.unwrap_or_else(|| {
                    rows.push((key, BTreeMap::new()));
                    rows.len() - 1
                });
                rows[place].1.insert(amount, result.norm.median);
            }
        }
        amounts.sort_unstable();
        let mut head = vec!["work".to_owned(), "contestant".to_owned()];
        head.extend(amounts.iter().map(|amount| format!("{amount} {measure}")));
        let mut table = Table::new(head);
        for ((work, name), values) in rows {
            let mut row = vec![work.to_owned(), name.to_owned()];
            row.extend(amounts.iter().map(|amount| match values.get(amount) {
                Some(norm) => format!("{norm:.3}"),
                None => String::new(),
            }));
            table.row(row);
        }
        table
    }

    /// Times of packets, in microseconds.
    pub fn latency(&self) -> Table {
        let mut table = Table::new([
            "work",
            "contestant",
            "load %",
            "Mpps",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "max µs",
            "lost %",
        ]);
        for one in &self.latencies {
            let mut row = vec![one.work.clone(), one.contestant.clone()];
            row.push(format!("{:.0}", 100.0 * one.load));
            row.push(format!("{:.3}", one.sent));
            for time in [one.p50, one.p99, one.p999, one.longest] {
                row.push(if time < 100.0 {
                    format!("{time:.1}")
                } else {
                    format!("{time:.0}")
                });
            }
            row.push(format!("{:.1}", 100.0 * one.lost));
            table.row(row);
        }
        table
    }

    /// Memory, CPU and wake-ups at rest.
    pub fn rest(&self) -> Table {
        let mut table = Table::new([
            "contestant",
            "paths",
            "PSS MiB",
            "RSS MiB",
            "PSS after traffic",
            "idle CPU %",
            "wake-ups/s",
        ]);
        for one in &self.rests {
            let maybe = |value: Option<f64>, digits: usize| match value {
                Some(value) => format!("{value:.digits$}"),
                None => String::new(),
            };
            table.row(vec![
                one.contestant.clone(),
                one.paths.to_string(),
                format!("{:.1}", one.pss),
                format!("{:.1}", one.rss),
                format!("{:.1}", one.pss_after),
                maybe(one.idle_cpu.map(|share| 100.0 * share), 2),
                maybe(one.wakeups, 1),
            ]);
        }
        table
    }

    /// Tables replaced while packets flow: medians over the loads.
    pub fn swap(&self) -> Table {
        let mut groups: Vec<((&str, u32), Vec<&Swap>)> = Vec::new();
        for swap in &self.swaps {
            let key = (swap.contestant.as_str(), swap.rules);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, swaps)) => swaps.push(swap),
                None => groups.push((key, vec![swap])),
            }
        }
        let mut table = Table::new([
            "contestant",
            "rules",
            "loaded in ms",
            "packets sent",
            "packets lost",
            "longest µs",
        ]);
        for ((name, rules), swaps) in groups {
            let median = |value: fn(&Swap) -> f64| {
                let spread = Spread::of(swaps.iter().map(|swap| value(swap)));
                spread.map_or(String::new(), |spread| format!("{:.0}", spread.median))
            };
            let sum = |value: fn(&Swap) -> u64| swaps.iter().map(|s| value(s)).sum::<u64>();
            table.row(vec![
                name.to_owned(),
                rules.to_string(),
                median(|swap| 1e3 * swap.seconds),
                sum(|swap| swap.sent).to_string(),
                sum(|swap| swap.lost).to_string(),
                median(|swap| swap.longest),
            ]);
        }
        table
    }
}

fn capacity_row(case: &Case, name: &str, result: &Result, columns: &[&str]) -> Vec<String> {
    // One that was not busy all the time could have done more.
    let open = if result.is_saturated { "" } else { "≥ " };
    let mut row = vec![
        frames(case),
        name.to_owned(),
        format!("{:.3}", result.norm.median),
        format!("{open}{:.3}", result.forwarded.median),
        format!("{:.0}", 100.0 * result.lost),
    ];
    row.extend(columns.iter().map(|wanted| {
        let mut ratios = result.ratios.iter();
        match ratios.find(|(name, _)| column(name) == *wanted) {
            Some((name, ratio)) => {
                let text = format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.least, ratio.most);
                match name.strip_prefix("bare-") {
                    Some(twin) => format!("{text} {twin}"),
                    None => text,
                }
            }
            None => String::new(),
        }
    }));
    row
}

/// What tells one case of a work from the others.
fn frames(case: &Case) -> String {
    let mut text = match case.size {
        0 => "mix".to_owned(),
        size => format!("{size} B"),
    };
    for (count, what) in [
        (case.flows, "flows"),
        (case.paths, "paths"),
        (case.rules, "rules"),
    ] {
        if count > 1 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    if case.checksum {
        text.push_str(", checksums");
    }
    if case.one_core {
        text.push_str(", one core");
    }
    text
}

/// The number that a case of a scaling measure is about.
pub fn amount(case: &Case) -> u32 {
    match case.measure.as_str() {
        "paths" => case.paths,
        "rules" => case.rules,
        _ => case.flows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Trial;

    fn trial(measure: &str, contestant: &str, paths: u32, norm: f64) -> Line {
        Line::Trial(Trial {
            case: Case {
                measure: measure.into(),
                work: "gpe-hop".into(),
                size: 64,
                flows: 1,
                paths,
                rules: 1,
                checksum: false,
                one_core: false,
            },
            contestant: contestant.into(),
            beside: "kc-mmap".into(),
            round: 1,
            offered: 2.0,
            forwarded: norm / 2.0,
            cpu: 0.5,
            disturbed: 0.0,
            norm,
            octets: 100.0,
        })
    }

    #[test]
    fn bare_loops_share_a_column_and_are_named_in_it() {
        let lines = [
            trial("capacity", "ovs", 1, 0.25),
            trial("capacity", "bare-gso4", 1, 1.25),
            trial("capacity", "kc-mmap", 1, 1.0),
        ];
        let text = Report::of(&lines).capacity("gpe-hop").text();
        assert!(text.contains("× ovs"), "{text}");
        assert!(text.contains("4.00 (4.00–4.00)"), "{text}");
        assert!(text.contains("0.80 (0.80–0.80) gso4"), "{text}");
        assert!(
            text.contains("≥ 0.500"),
            "half of a CPU is no limit: {text}"
        );
    }

    #[test]
    fn scaling_has_a_column_for_each_amount_in_order() {
        let lines = [
            trial("paths", "kc-mmap", 1000, 0.5),
            trial("paths", "kc-mmap", 10, 1.0),
            trial("capacity", "kc-mmap", 1, 9.0),
        ];
        let text = Report::of(&lines).scaling("paths").text();
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some("work     contestant  10 paths  1000 paths")
        );
        assert_eq!(
            lines.next(),
            Some("gpe-hop  kc-mmap        1.000       0.500")
        );
    }

    #[test]
    fn losses_of_all_swaps_are_added() {
        let swap = |lost| {
            Line::Swap(Swap {
                contestant: "kc-mmap".into(),
                rules: 10_000,
                round: 1,
                seconds: 0.25,
                sent: 100,
                lost,
                longest: 50.0,
            })
        };
        let text = Report::of(&[swap(1), swap(2)]).swap().text();
        let cells: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(cells, ["kc-mmap", "10000", "250", "200", "3", "50"]);
    }
}
