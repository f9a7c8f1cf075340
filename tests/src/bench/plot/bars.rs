//! Bars side by side.

use super::{WIDTH, begin, colour, number, text};
use std::fmt::Write as _;

/// A name and a value for it.
pub type Bar = (String, f64);

/// Groups of horizontal bars, each on a scale of its own that begins with zero.
pub fn bars(title: &str, unit: &str, groups: &[(String, Vec<Bar>)]) -> String {
    const LINE: f64 = 18.0;
    const LEFT: f64 = 120.0;
    let count: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a few dozen bars")]
    let height = 60.0 + LINE * count as f64 + 34.0 * groups.len() as f64;
    let mut svg = begin(title, height);
    let mut y = 44.0;
    for (name, bars) in groups {
        let most = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        let scale = (WIDTH - LEFT - 130.0) / most.max(1e-9);
        text(
            &mut svg,
            12.0,
            y + 13.0,
            "start",
            "#111827",
            &format!("{name}, {unit}"),
            true,
        );
        y += 22.0;
        for (who, value) in bars {
            text(&mut svg, LEFT - 8.0, y + 12.0, "end", "#111827", who, false);
            let _ = writeln!(
                svg,
                "<rect x='{LEFT}' y='{:.1}' width='{:.1}' height='{:.1}' fill='{}'/>",
                y + 2.0,
                (value * scale).max(1.0),
                LINE - 4.0,
                colour(who)
            );
            let label = number(*value);
            text(
                &mut svg,
                LEFT + value * scale + 6.0,
                y + 12.0,
                "start",
                "#111827",
                &label,
                false,
            );
            y += LINE;
        }
        y += 12.0;
    }
    svg.push_str("</svg>\n");
    svg
}
