//! How much memory things take: each is read by a process of its own, as a controller does when
//! it starts, which tells by how much it has grown.

use super::cluster::{Cluster, Size};
use kc_agent_api::{NodeName, NodeSpec};
use kc_controller::observation::Observations;
use kc_controller::plan::State;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;

pub(crate) const HEAD: &str = "\
| boxes, instances, chains | state | observations | documents | per box, observations and document | per instance, state | per chain, state |
|---|---|---|---|---|---|---|";

/// The argument by which a process knows that it shall weigh something.
const WEIGH: &str = "--weigh";

pub(crate) fn is_asked() -> bool {
    std::env::args().nth(1).as_deref() == Some(WEIGH)
}

/// Reads what it is told to, and tells by how many octets it has grown.
pub(crate) fn answer() {
    let mut arguments = std::env::args().skip(2);
    let (what, path) = (arguments.next().unwrap(), arguments.next().unwrap());
    let path = Path::new(&path);
    let grown = match what.as_str() {
        "state" => grown::<State>(path),
        "observations" => grown::<Observations>(path),
        _ => grown::<BTreeMap<NodeName, NodeSpec>>(path),
    };
    println!("{grown}");
}

fn grown<T: DeserializeOwned>(path: &Path) -> u64 {
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    let before = resident();
    let value: T = serde_json::from_reader(file).unwrap();
    let after = resident();
    drop(value);
    after.saturating_sub(before)
}

/// What this process has in memory, in octets.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kibibytes.parse::<u64>().unwrap() * 1024
}

fn weigh<T: Serialize>(what: &str, value: &T) -> u64 {
    let file = tempfile::NamedTempFile::new().unwrap();
    serde_json::to_writer(std::io::BufWriter::new(&file), value).unwrap();
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args([WEIGH, what])
        .arg(file.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().parse().unwrap()
}

/// A line of the table.
pub(crate) fn all(size: Size, cluster: &Cluster) -> String {
    let state = weigh("state", &cluster.state);
    let mut without = cluster.state.clone();
    for record in (&mut without.chains).into_iter().map(|(_, record)| record) {
        record.paths.clear();
    }
    let pathless = weigh("state", &without);
    without.instances.clear();
    let bare = weigh("state", &without);
    let observations = weigh("observations", &cluster.observed);
    let documents = weigh("documents", &cluster.last.documents);
    let each = |octets: u64, count: usize| {
        format!("{} KiB", octets / u64::try_from(count).unwrap() / 1024)
    };
    format!(
        "| {size} | {} MiB | {} MiB | {} MiB | {} | {} | {} |",
        state >> 20,
        observations >> 20,
        documents >> 20,
        each(observations + documents, size.boxes),
        each(pathless.saturating_sub(bare), size.instances),
        each(state.saturating_sub(pathless), size.chains),
    )
}
