//! Plots as SVG, dark on light, by hand: bars side by side, lines over a logarithmic axis, and
//! ranges on one.

mod bars;
mod lines;
mod ranges;

pub use bars::{Bar, bars};
pub use lines::{Series, lines};
pub use ranges::{Range, ranges};

use std::fmt::Write as _;

/// Dark enough for white paper, apart in grey too.
const COLOURS: [&str; 8] = [
    "#0b5394", "#b45309", "#166534", "#6b21a8", "#9f1239", "#0e7490", "#4b5563", "#713f12",
];

const WIDTH: f64 = 880.0;
const FONT: &str = "font-family='Liberation Sans, Arial, sans-serif' font-size='12'";

fn begin(title: &str, height: f64) -> String {
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH:.0} {height:.0}' {FONT}>\n\
         <rect width='100%' height='100%' fill='#ffffff'/>\n"
    );
    text(&mut svg, 12.0, 24.0, "start", "#111827", title, true);
    svg
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, fill: &str, what: &str, bold: bool) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    let weight = if bold { " font-weight='bold'" } else { "" };
    let _ = writeln!(
        svg,
        "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}' fill='{fill}'{weight}>{what}</text>"
    );
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), stroke: &str) {
    let _ = writeln!(
        svg,
        "<line x1='{:.1}' y1='{:.1}' x2='{:.1}' y2='{:.1}' stroke='{stroke}'/>",
        from.0, from.1, to.0, to.1
    );
}

fn dot(svg: &mut String, x: f64, y: f64, fill: &str) {
    let _ = writeln!(
        svg,
        "<circle cx='{x:.1}' cy='{y:.1}' r='3.5' fill='{fill}'/>"
    );
}

/// The same for a name in all plots: ours are blue.
fn colour(name: &str) -> &'static str {
    let known = [
        ("kc-mmap", 0),
        ("kc-", 5),
        ("ovs-afxdp", 4),
        ("ovs", 1),
        ("kernel", 2),
        ("bare-", 6),
    ];
    let exact = [("kc-packet", 3), ("kc-fast", 7), ("kc-xdp", 5)];
    let mut all = exact.iter().chain(&known);
    let place = all
        .find(|(start, _)| name.starts_with(start))
        .map_or(6, |(_, place)| *place);
    COLOURS[place]
}

fn number(value: f64) -> String {
    let digits = match value {
        ..1e-9 => 0,
        ..1.0 => 2,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every tag that is opened is closed: the little that can be said without an XML parser.
    fn is_whole(svg: &str) -> bool {
        let opened = svg.matches("<text").count();
        svg.starts_with("<svg ")
            && svg.ends_with("</svg>\n")
            && opened == svg.matches("</text>").count()
            && !svg.contains("NaN")
            && !svg.contains("inf")
    }

    #[test]
    fn plots_of_something_and_of_nothing_are_whole() {
        let bar = vec![("ovs".to_owned(), 0.3), ("kc-mmap".to_owned(), 1.2)];
        let groups = [("gpe-hop".to_owned(), bar)];
        let svg = bars("Capacity & more", "Mpps", &groups);
        assert!(
            is_whole(&svg) && svg.contains("Capacity &amp; more"),
            "{svg}"
        );
        let series = vec![("ovs".to_owned(), vec![(1.0, 0.3), (100_000.0, 0.1)])];
        let svg = lines("Scaling", "Mpps", &[("paths".to_owned(), series)]);
        assert!(is_whole(&svg) && svg.contains(">100k<"), "{svg}");
        let rows = vec![("ovs".to_owned(), vec![12.0, 80.0, 900.0])];
        assert!(is_whole(&ranges(
            "Latency",
            "µs",
            &[("10 %".to_owned(), rows)]
        )));
        assert!(is_whole(&bars("", "", &[])) && is_whole(&ranges("", "", &[])));
        assert!(is_whole(&lines("", "", &[("".to_owned(), Vec::new())])));
    }
}
