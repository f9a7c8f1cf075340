//! Results into the page that people read: tables between two marks of `../README.md`, plots
//! beside it.

use anyhow::{Context, Result, ensure};
use kc_tests::bench::plot;
use kc_tests::bench::record::{Line, Run, Skipped};
use kc_tests::bench::report::{self, Report};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- what `--render` writes begins here -->";
const END: &str = "<!-- and ends here -->";

/// Renders the results of `files`, which are taken together.
pub(crate) fn run(files: &[PathBuf]) -> Result<()> {
    let mut lines = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        for (number, line) in text.lines().enumerate() {
            let place = || format!("{}:{}", file.display(), number + 1);
            lines.push(serde_json::from_str(line).with_context(place)?);
        }
    }
    let report = Report::of(&lines);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let page = folder.join("README.md");
    let text = std::fs::read_to_string(&page)?;
    let (before, rest) = text
        .split_once(BEGIN)
        .context("no place for results in README.md")?;
    let (_, after) = rest
        .split_once(END)
        .context("no end of results in README.md")?;
    let plots = plots(&report, &folder)?;
    let results = page_of(&lines, &report, &plots);
    std::fs::write(&page, format!("{before}{BEGIN}\n\n{results}\n{END}{after}"))?;
    println!("{}", page.display());
    Ok(())
}

/// Writes the plots there are data for; returns their names and captions.
fn plots(report: &Report, folder: &Path) -> Result<Vec<(&'static str, &'static str)>> {
    let mut written = Vec::new();
    let mut write = |name: &'static str, caption: &'static str, svg: String| -> Result<()> {
        ensure!(svg.ends_with("</svg>\n"), "{name} is cut");
        std::fs::write(folder.join(name), svg)?;
        written.push((name, caption));
        Ok(())
    };
    let capacity = capacity_groups(report);
    if !capacity.is_empty() {
        let svg = plot::bars(
            "Capacity of one CPU",
            "Mpps for each second of CPU time",
            &capacity,
        );
        write("capacity.svg", "Capacity by work", svg)?;
    }
    let latency = latency_groups(report);
    if !latency.is_empty() {
        let svg = plot::ranges(
            "Time from generator to sink: median, p99, p99.9",
            "µs",
            &latency,
        );
        write("latency.svg", "Latency by work and load", svg)?;
    }
    let scaling = scaling_charts(report);
    if !scaling.is_empty() {
        let svg = plot::lines(
            "Capacity over the size of tables and the number of flows",
            "Mpps for each second of CPU time, 64 octets",
            &scaling,
        );
        write("scaling.svg", "Scaling", svg)?;
    }
    let memory: Vec<plot::Bar> = report
        .rests
        .iter()
        .map(|one| (format!("{}, {}", one.contestant, one.paths), one.pss_after))
        .collect();
    if !memory.is_empty() {
        let groups = [(
            "with so many service paths, after traffic".to_owned(),
            memory,
        )];
        let svg = plot::bars("Memory", "PSS in MiB", &groups);
        write("memory.svg", "Memory", svg)?;
    }
    Ok(written)
}

fn capacity_groups(report: &Report) -> Vec<(String, Vec<plot::Bar>)> {
    let cases = report.summary.cases.iter();
    let plain = cases.filter(|(case, _)| {
        let is_small = case.flows == 1 && case.paths == 1 && case.rules == 1;
        case.measure == "capacity" && is_small && !case.checksum && !case.one_core
    });
    plain
        .map(|(case, results)| {
            let mut bars: Vec<plot::Bar> = results
                .iter()
                .map(|(name, result)| (name.clone(), result.norm.median))
                .collect();
            bars.sort_by(|one, other| other.1.total_cmp(&one.1));
            let size = if case.size == 0 {
                "mix".to_owned()
            } else {
                format!("{} B", case.size)
            };
            (format!("{}, {size}", case.work), bars)
        })
        .collect()
}

fn latency_groups(report: &Report) -> Vec<(String, Vec<plot::Range>)> {
    let mut groups: Vec<(String, Vec<plot::Range>)> = Vec::new();
    for one in &report.latencies {
        let name = format!(
            "{} at {:.0} % of its own capacity",
            one.work,
            100.0 * one.load
        );
        let row = (one.contestant.clone(), vec![one.p50, one.p99, one.p999]);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((name, vec![row])),
        }
    }
    groups
}

fn scaling_charts(report: &Report) -> Vec<(String, Vec<plot::Series>)> {
    let mut charts: Vec<(String, Vec<plot::Series>)> = Vec::new();
    let cases = report.summary.cases.iter();
    for (case, results) in cases.filter(|(case, _)| case.measure != "capacity") {
        let title = format!("{}, {}", case.measure, case.work);
        let place = charts.iter().position(|(known, _)| *known == title);
        let place = place.unwrap_or_else(|| {
            charts.push((title, Vec::new()));
            charts.len() - 1
        });
        for (name, result) in results {
            let point = (f64::from(report::amount(case)), result.norm.median);
            let series = &mut charts[place].1;
            match series.iter_mut().find(|(known, _)| known == name) {
                Some((_, points)) => points.push(point),
                None => series.push((name.clone(), vec![point])),
            }
        }
    }
    charts
}

/// The results as Markdown.
fn page_of(lines: &[Line], report: &Report, plots: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for line in lines {
        if let Line::Run(run) = line {
            text.push_str(&origin(run));
        }
    }
    for (name, caption) in plots {
        let _ = writeln!(text, "\n![{caption}]({name})");
    }
    for work in report.works() {
        let title = crate::work::Work::ALL
            .into_iter()
            .find(|known| known.name() == work);
        let title = title.map_or("", |work| work.title());
        let table = report.capacity(work).markdown();
        let _ = write!(text, "\n### {work}: {title}\n\n{table}");
    }
    let mut section = |title: &str, table: kc_tests::bench::table::Table| {
        if !table.is_empty() {
            let _ = write!(text, "\n### {title}\n\n{}", table.markdown());
        }
    };
    section("Latency", report.latency());
    for measure in ["paths", "rules", "flows"] {
        section(
            &format!("Capacity over {measure}, Mpps/CPU"),
            report.scaling(measure),
        );
    }
    section("At rest", report.rest());
    section("Tables replaced while packets flow", report.swap());
    let mut skipped: Vec<&Skipped> = Vec::new();
    for line in lines {
        if let Line::Skipped(one) = line
            && !skipped.contains(&one)
        {
            skipped.push(one);
        }
    }
    if !skipped.is_empty() {
        text.push_str("\n### Who did not take part\n\n");
    }
    for one in skipped {
        let _ = writeln!(text, "- {} in {}: {}", one.contestant, one.work, one.reason);
    }
    text
}

fn origin(run: &Run) -> String {
    format!(
        "Measured {} UTC on {} × {}, Linux {}, {}; {}. Arguments: `{}`\n",
        run.began,
        run.processors,
        run.processor,
        run.kernel,
        run.forwarder,
        run.open_vswitch,
        run.command
    )
}
