//! Values of one thing on a logarithmic axis.

use super::{WIDTH, begin, colour, dot, line, number, text};

/// A row of a ranges chart: its name and values in rising order.
pub type Range = (String, Vec<f64>);

/// Groups of rows, each with its values as dots on one logarithmic axis, joined by a line.
pub fn ranges(title: &str, unit: &str, groups: &[(String, Vec<Range>)]) -> String {
    const LINE: f64 = 18.0;
    const LEFT: f64 = 120.0;
    let values = || {
        groups
            .iter()
            .flat_map(|(_, rows)| rows)
            .flat_map(|(_, values)| values)
    };
    if values().next().is_none() {
        return begin(title, 40.0) + "</svg>\n";
    }
    let least = values()
        .copied()
        .fold(f64::MAX, f64::min)
        .max(1e-3)
        .log10()
        .floor();
    let last = values()
        .copied()
        .fold(1.0, f64::max)
        .log10()
        .ceil()
        .max(least + 1.0);
    let right = WIDTH - 30.0;
    let x = |value: f64| LEFT + (value.max(1e-3).log10() - least) / (last - least) * (right - LEFT);
    let count: usize = groups.iter().map(|(_, rows)| rows.len()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a few dozen rows")]
    let height = 90.0 + LINE * count as f64 + 32.0 * groups.len() as f64;
    let mut svg = begin(title, height);
    let mut decade = least;
    while decade <= last {
        let at = x(10_f64.powf(decade));
        line(&mut svg, (at, 40.0), (at, height - 34.0), "#d1d5db");
        let label = number(10_f64.powf(decade));
        text(
            &mut svg,
            at,
            height - 18.0,
            "middle",
            "#374151",
            &label,
            false,
        );
        decade += 1.0;
    }
    text(
        &mut svg,
        WIDTH - 12.0,
        height - 4.0,
        "end",
        "#374151",
        unit,
        false,
    );
    let mut y = 44.0;
    for (name, rows) in groups {
        text(&mut svg, 12.0, y + 13.0, "start", "#111827", name, true);
        y += 22.0;
        for (who, values) in rows {
            text(&mut svg, LEFT - 8.0, y + 12.0, "end", "#111827", who, false);
            let middle = y + 8.0;
            if let (Some(first), Some(end)) = (values.first(), values.last()) {
                line(
                    &mut svg,
                    (x(*first), middle),
                    (x(*end), middle),
                    colour(who),
                );
            }
            for value in values {
                dot(&mut svg, x(*value), middle, colour(who));
            }
            y += LINE;
        }
        y += 10.0;
    }
    svg.push_str("</svg>\n");
    svg
}
