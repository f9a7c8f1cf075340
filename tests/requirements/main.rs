//! The table of what the RFCs ask, in ARCHITECTURE.md: every row names tests that exist, or says
//! why there is none; every place it points to is there.

#![expect(clippy::unwrap_used, reason = "a test program")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The heading over the tables.
const HEADING: &str = "## What the RFCs ask";

/// Documents whose every requirement must have a row, and how many rows they have at least: a table
/// that has lost rows is not complete any more.
const DOCUMENTS: [(&str, usize); 6] = [
    ("RFC 8300", 48),
    ("RFC 7348", 14),
    ("VXLAN-GPE", 14),
    ("RFC 9451", 6),
    ("RFC 9516", 38),
    ("RFC 7665", 4),
];

/// One row.
struct Row {
    document: String,
    cells: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once(HEADING).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut document = String::new();
    let mut rows = Vec::new();
    for line in section.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            document = title.to_owned();
        } else if let Some(inside) = line
            .strip_prefix("| ")
            .and_then(|line| line.strip_suffix(" |"))
        {
            let cells: Vec<String> = inside.split(" | ").map(str::to_owned).collect();
            if cells[0] != "§" {
                rows.push(Row {
                    document: document.clone(),
                    cells,
                });
            }
        }
    }
    rows
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// All Rust sources of the workspace.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The names of all functions under a test attribute.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let mut announced = false;
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("#[test]")
                || line.starts_with("#[rstest]")
                || line.starts_with("#[tokio::test")
            {
                announced = true;
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| announced) {
                let end = rest.find(['(', '<']).unwrap_or(rest.len());
                names.insert(rest[..end].to_owned());
                announced = false;
            }
        }
    }
    names
}

#[test]
fn every_requirement_has_a_test_that_exists_or_a_reason() {
    let tests = tests();
    let mut wrong = Vec::new();
    for row in rows() {
        let [_, asked, place, shown] = &row.cells[..] else {
            wrong.push(format!("{} cells: {:?}", row.cells.len(), row.cells));
            continue;
        };
        let named = quoted(shown);
        for name in &named {
            if !tests.contains(*name) {
                wrong.push(format!(
                    "{}: {asked}: there is no test {name}",
                    row.document
                ));
            }
        }
        // A reason is a sentence, not a dash.
        if named.is_empty() && shown.split_whitespace().count() < 3 {
            wrong.push(format!(
                "{}: {asked}: neither test nor reason",
                row.document
            ));
        }
        for file in quoted(place)
            .into_iter()
            .filter(|place| place.contains(".rs"))
        {
            let bases = ["", "forwarder/src", "forwarder", "controller/src"];
            if !bases
                .iter()
                .any(|base| root().join(base).join(file).is_file())
            {
                wrong.push(format!("{}: {asked}: there is no {file}", row.document));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_is_as_long_as_the_documents_ask() {
    let rows = rows();
    for (document, least) in DOCUMENTS {
        let found = rows
            .iter()
            .filter(|row| row.document.starts_with(document))
            .count();
        assert!(found >= least, "{document}: {found} rows of {least}");
    }
}

#[test]
fn a_word_of_obligation_is_in_every_row() {
    for row in rows() {
        let asked = &row.cells[1];
        let obliged = ["MUST", "SHOULD", "SHALL", "RECOMMENDED"]
            .iter()
            .any(|word| asked.contains(word));
        assert!(obliged, "{}: {asked}", row.document);
    }
}
