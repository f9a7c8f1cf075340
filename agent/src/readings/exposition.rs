//! Prometheus' text format, version 0.0.4. Pure, and knows nothing of what is measured.

use std::fmt::{Display, Write};

/// What a family of samples is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, but for a restart; its name ends in `_total`.
    Counter,
}

/// A page of samples, family by family: each has its lines together, after its HELP and TYPE.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    /// Labels that every sample has, with their commas.
    common: String,
}

/// The family whose samples are being written; without a sample it leaves no trace.
#[derive(Debug)]
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
    help: &'static str,
    kind: Kind,
    begun: bool,
}

impl Page {
    /// An empty page, every sample of which gets `labels`.
    pub(super) fn new(labels: &[(&str, &str)]) -> Self {
        let mut page = Self::default();
        for label in labels {
            write_label(&mut page.common, label);
        }
        page
    }

    /// A new family.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
    ) -> Family<'_> {
        Family {
            page: self,
            name,
            help,
            kind,
            begun: false,
        }
    }

    /// The whole page.
    pub(super) fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// One sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) -> &mut Self {
        let Page { text, common } = &mut *self.page;
        let name = self.name;
        if !std::mem::replace(&mut self.begun, true) {
            let kind = match self.kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
            };
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", self.help);
        }
        text.push_str(name);
        text.push('{');
        text.push_str(common);
        for label in labels {
            write_label(text, label);
        }
        // The last comma.
        text.pop();
        let _ = writeln!(text, "}} {}", value.into());
        self
    }
}

/// A number of a sample.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    /// A count; Prometheus makes a float of it.
    Whole(u64),
    /// Anything else.
    Real(f64),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Whole(yes.into())
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) if *number == f64::INFINITY => f.write_str("+Inf"),
            Self::Real(number) if *number == f64::NEG_INFINITY => f.write_str("-Inf"),
            // NaN is written NaN.
            Self::Real(number) => number.fmt(f),
        }
    }
}

/// `name="value",`; of the value, backslash, quote and line feed are escaped and nothing else.
fn write_label(text: &mut String, (name, value): &(&str, &str)) {
    text.push_str(name);
    text.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
    text.push_str("\",");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_looks_like_this() {
        let mut page = Page::new(&[("node", "pi-1")]);
        page.family("a_total", Kind::Counter, "What a is.")
            .sample(&[("x", "1")], 5)
            .sample(&[("x", "q\"b\\n\nü\r")], u64::MAX);
        page.family("empty", Kind::Gauge, "Never seen.");
        page.family("b", Kind::Gauge, "What b is.")
            .sample(&[], 0.25);
        assert_eq!(
            page.finish(),
            "# HELP a_total What a is.\n# TYPE a_total counter\n\
             a_total{node=\"pi-1\",x=\"1\"} 5\n\
             a_total{node=\"pi-1\",x=\"q\\\"b\\\\n\\nü\r\"} 18446744073709551615\n\
             # HELP b What b is.\n# TYPE b gauge\nb{node=\"pi-1\"} 0.25\n"
        );
    }

    #[test]
    fn numbers_are_written_as_prometheus_reads_them() {
        for (number, text) in [
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (-0.5, "-0.5"),
        ] {
            assert_eq!(Value::Real(number).to_string(), text);
        }
        assert_eq!(Value::from(true).to_string(), "1");
    }
}
