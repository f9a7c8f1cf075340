//! Where output goes: stdout whole lines at a time, knowing whether it is a terminal.

use super::args::Format;
use super::failure::Failure;
use super::human;
use super::rows::Listed;
use super::table::Table;
use anyhow::Context as _;
use serde::Serialize;
use std::io::{IsTerminal as _, Write as _};

/// Whether colours are wanted: a terminal, and nobody who set `NO_COLOR`.
pub(super) fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Writes `text` and a line end.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// Writes `text` as it is.
pub(super) fn raw(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// A value as JSON or YAML; other formats fall back to JSON.
pub(super) fn value<T: Serialize>(value: &T, format: Format) -> Result<(), Failure> {
    match format {
        Format::Yaml => {
            let text = serde_saphyr::to_string(value).context("cannot write YAML")?;
            raw(&text)
        }
        Format::Json | Format::Wide | Format::Name => {
            let text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
            line(&text)
        }
    }
}

/// Records in the format asked for.
pub(super) fn list<T: Listed>(
    items: &[T],
    format: Option<Format>,
    headers: bool,
) -> Result<(), Failure> {
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => value(&items, format),
        Some(Format::Name) => {
            for item in items {
                line(&reference(item))?;
            }
            Ok(())
        }
        Some(Format::Wide) | None => {
            let now = human::now_ms();
            let mut table = Table::new(T::COLUMNS, format.is_some(), colours());
            let rows: Vec<_> = items.iter().map(|item| item.row(now)).collect();
            let heading = table.heading(&rows);
            if headers && !rows.is_empty() {
                line(&heading)?;
            }
            for row in &rows {
                line(&table.line(row))?;
            }
            Ok(())
        }
    }
}

/// `chain/web`.
pub(super) fn reference<T: Listed>(item: &T) -> String {
    format!("{}/{}", T::KIND.singular(), item.name())
}
