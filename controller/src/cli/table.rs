//! Tables: one record a line, columns apart by two blanks; colours on a terminal only.

use std::fmt::Write as _;

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    /// Heading.
    pub title: &'static str,
    /// Only with `-o wide`.
    pub wide: bool,
    /// Changes by the mere passing of time, so a watch does not print a row for it.
    pub drifts: bool,
}

impl Column {
    /// A column that is always shown.
    pub(super) const fn new(title: &'static str) -> Self {
        Self {
            title,
            wide: false,
            drifts: false,
        }
    }

    /// Only with `-o wide`.
    pub(super) const fn wide(self) -> Self {
        Self { wide: true, ..self }
    }

    /// Changes by the mere passing of time.
    pub(super) const fn drifts(self) -> Self {
        Self {
            drifts: true,
            ..self
        }
    }
}

/// A table whose column widths stay once printed.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    shown: Vec<usize>,
    widths: Vec<usize>,
    colour: bool,
}

impl Table {
    /// A table of those columns.
    pub(super) fn new(columns: &[Column], wide: bool, colour: bool) -> Self {
        let shown = (0..columns.len())
            .filter(|&at| columns.get(at).is_some_and(|c| wide || !c.wide))
            .collect();
        Self {
            columns: columns.to_vec(),
            shown,
            widths: vec![0; columns.len()],
            colour,
        }
    }

    /// The heading, wide enough for `rows`.
    pub(super) fn heading(&mut self, rows: &[Vec<String>]) -> String {
        for (at, column) in self.columns.iter().enumerate() {
            let cells = rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            if let Some(width) = self.widths.get_mut(at) {
                *width = widest.max(column.title.len());
            }
        }
        let titles: Vec<String> = self.columns.iter().map(|c| c.title.to_owned()).collect();
        let line = self.plain(&titles);
        if self.colour {
            format!("\x1b[1m{line}\x1b[0m")
        } else {
            line
        }
    }

    /// One record as a line without its end.
    pub(super) fn line(&self, row: &[String]) -> String {
        if !self.colour {
            return self.plain(row);
        }
        self.join(row, colour)
    }

    /// The record without what drifts: equal for records that print alike.
    pub(super) fn steady(&self, row: &[String]) -> Vec<String> {
        self.shown
            .iter()
            .filter(|&&at| self.columns.get(at).is_some_and(|c| !c.drifts))
            .filter_map(|&at| row.get(at).cloned())
            .collect()
    }

    fn plain(&self, row: &[String]) -> String {
        self.join(row, |_| None)
    }

    fn join(&self, row: &[String], colour: impl Fn(&str) -> Option<&'static str>) -> String {
        let mut line = String::new();
        let last = self.shown.last().copied();
        for &at in &self.shown {
            let cell = row.get(at).map_or("", String::as_str);
            let cell = if cell.is_empty() { "-" } else { cell };
            // A record is one line, whatever is in it.
            let cell: String = cell
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            let painted = colour(&cell);
            if let Some(code) = painted {
                let _ = write!(line, "\x1b[{code}m");
            }
            line.push_str(&cell);
            if painted.is_some() {
                line.push_str("\x1b[0m");
            }
            if Some(at) != last {
                let width = self.widths.get(at).copied().unwrap_or(0);
                let pad = width.saturating_sub(cell.chars().count()) + 2;
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        line
    }
}

/// The colour of a word that says how something is.
fn colour(cell: &str) -> Option<&'static str> {
    let word = cell.split([',', ' ']).next().unwrap_or("");
    match word {
        "Ready" | "Running" | "Active" => Some("32"),
        "Offline" | "Unreachable" | "Failed" | "Exited" | "Broken" | "Lost" => Some("31"),
        "Pending" | "Pulling" | "Waiting" | "Changing" | "Leaving" | "Unknown" | "Installing"
        | "Switching" | "Superseded" | "Withdrawing" | "Draining" => Some("33"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::new("NAME"),
        Column::new("AGE").drifts(),
        Column::new("NOTE").wide(),
    ];

    fn row(cells: [&str; 3]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn a_record_is_one_line_without_colours_in_a_pipe() {
        let rows = [row(["firewall-1", "5m", "a\nb"]), row(["b", "", "c"])];
        let mut table = Table::new(&COLUMNS, true, false);
        assert_eq!(table.heading(&rows), "NAME        AGE  NOTE");
        assert_eq!(table.line(&rows[0]), "firewall-1  5m   a b");
        assert_eq!(table.line(&rows[1]), "b           -    c");
    }

    #[test]
    fn a_narrow_table_leaves_wide_columns_out_and_ends_without_blanks() {
        let rows = [row(["a", "5m", "x"])];
        let mut table = Table::new(&COLUMNS, false, false);
        assert_eq!(table.heading(&rows), "NAME  AGE");
        assert_eq!(table.line(&rows[0]), "a     5m");
    }

    #[test]
    fn passing_time_alone_makes_no_new_record() {
        let table = Table::new(&COLUMNS, false, false);
        assert_eq!(
            table.steady(&row(["a", "5m", "x"])),
            table.steady(&row(["a", "6m", "y"]))
        );
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let rows = [row(["Ready", "1s", ""]), row(["Unreachable", "1s", ""])];
        let mut table = Table::new(&COLUMNS, false, true);
        table.heading(&rows);
        assert_eq!(table.line(&rows[0]), "\x1b[32mReady\x1b[0m        1s");
    }
}
