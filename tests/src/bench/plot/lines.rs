//! Lines over a logarithmic axis.

use super::{WIDTH, begin, colour, dot, line, number, text};
use std::fmt::Write as _;

/// A line: its name and its points.
pub type Series = (String, Vec<(f64, f64)>);

/// One chart for each of `charts` side by side; the horizontal axis is logarithmic, the vertical
/// one begins with zero.
pub fn lines(title: &str, unit: &str, charts: &[(String, Vec<Series>)]) -> String {
    const TOP: f64 = 78.0;
    const TALL: f64 = 220.0;
    let names = names(charts);
    let rows = names.len().div_ceil(6);
    #[expect(clippy::cast_precision_loss, reason = "a few charts")]
    let (wide, below) = (
        (WIDTH - 20.0) / charts.len().max(1) as f64,
        20.0 * rows as f64,
    );
    let mut svg = begin(title, TOP + TALL + 60.0 + below);
    for (place, (name, series)) in charts.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a few charts")]
        let left = 10.0 + wide * place as f64 + 46.0;
        let right = left + wide - 76.0;
        text(&mut svg, left, TOP - 18.0, "start", "#111827", name, true);
        let points = || series.iter().flat_map(|(_, points)| points);
        let most = nice(points().map(|(_, y)| *y).fold(0.0, f64::max));
        let least = points().map(|(x, _)| *x).fold(f64::MAX, f64::min).log10();
        let last = points().map(|(x, _)| *x).fold(1.0, f64::max).log10();
        let x =
            |value: f64| left + (value.log10() - least) / (last - least).max(1e-9) * (right - left);
        let y = |value: f64| TOP + TALL * (1.0 - value / most);
        for step in 0..=4 {
            let value = most * f64::from(step) / 4.0;
            line(&mut svg, (left, y(value)), (right, y(value)), "#d1d5db");
            text(
                &mut svg,
                left - 6.0,
                y(value) + 4.0,
                "end",
                "#374151",
                &number(value),
                false,
            );
        }
        let mut ticks: Vec<f64> = points().map(|(x, _)| *x).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        for tick in ticks {
            line(
                &mut svg,
                (x(tick), TOP + TALL),
                (x(tick), TOP + TALL + 4.0),
                "#374151",
            );
            text(
                &mut svg,
                x(tick),
                TOP + TALL + 18.0,
                "middle",
                "#374151",
                &amount(tick),
                false,
            );
        }
        for (who, points) in series {
            let path: Vec<String> = points
                .iter()
                .map(|&(px, py)| format!("{:.1},{:.1}", x(px), y(py)))
                .collect();
            let _ = writeln!(
                svg,
                "<polyline points='{}' fill='none' stroke='{}' stroke-width='2'/>",
                path.join(" "),
                colour(who)
            );
            for &(px, py) in points {
                dot(&mut svg, x(px), y(py), colour(who));
            }
        }
    }
    text(&mut svg, 12.0, TOP - 36.0, "start", "#374151", unit, false);
    legend(&mut svg, &names, TOP + TALL + 44.0);
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, names: &[&str], top: f64) {
    for (place, name) in names.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a few names")]
        let (column, row) = ((place % 6) as f64, (place / 6) as f64);
        let (x, y) = (20.0 + 142.0 * column, top + 20.0 * row);
        dot(svg, x, y - 4.0, colour(name));
        text(svg, x + 8.0, y, "start", "#111827", name, false);
    }
}

fn names(charts: &[(String, Vec<Series>)]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in charts.iter().flat_map(|(_, series)| series) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

/// The next round number.
fn nice(value: f64) -> f64 {
    let decade = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * decade >= value);
    step.unwrap_or(10.0) * decade
}

/// 1000 as 1k.
fn amount(value: f64) -> String {
    if value >= 1000.0 {
        format!("{:.0}k", value / 1000.0)
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_with_round_numbers() {
        assert!((nice(0.37) - 0.4).abs() < 1e-9);
        assert!((nice(11.0) - 20.0).abs() < 1e-9);
    }
}
