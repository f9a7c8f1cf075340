//! Before any storm: a pulled cable and a killed agent are noticed in time, and told apart.

use crate::plan::{Fault, Machine, Victim};
use crate::site::Site;
use anyhow::{Context, Result, ensure};
use kc_tests::{kc, wait};
use serde_json::Value;
use std::time::Duration;

/// The default time-out of a box's heartbeat.
const TIMEOUT: Duration = Duration::from_secs(3);
/// What planning, asking and a busy machine may add.
const SLACK: Duration = Duration::from_millis(700);

/// Pulls the cable of the last box, and kills its agent.
pub(crate) fn check(site: &mut Site, tell: &mut impl FnMut(String)) -> Result<()> {
    let cut = Fault::Cut(Machine::Box(2));
    site.strike(&cut)?;
    let (node, took) = until(|node| node["condition"] != "ready")?;
    ensure!(node["sinceMs"].is_u64(), "{node}");
    ensure!(
        took < TIMEOUT + SLACK,
        "a pulled cable was noticed after {took:?}"
    );
    let (_, more) = until(|node| node["condition"] == "offline")?;
    site.heal(&cut)?;
    let (_, back) = until(|node| node["condition"] == "ready")?;
    tell(format!(
        "measured: pulled cable {} after {} ms, offline by last will {} ms later, ready {} ms after it was plugged in",
        node["condition"],
        took.as_millis(),
        more.as_millis(),
        back.as_millis()
    ));
    let kill = Fault::Kill(Victim::Agent(2));
    site.strike(&kill)?;
    let (_, took) = until(|node| node["condition"] == "offline")?;
    ensure!(took < SLACK, "a killed agent was noticed after {took:?}");
    site.heal(&kill)?;
    let (_, back) = until(|node| node["condition"] == "ready")?;
    tell(format!(
        "measured: killed agent offline after {} ms, as far as kc can ask; ready {} ms after its start",
        took.as_millis(),
        back.as_millis()
    ));
    Ok(())
}

/// Waits until the last box is as wanted.
fn until(wanted: impl Fn(&Value) -> bool) -> Result<(Value, Duration)> {
    let probe = || {
        let nodes = kc::json(&["get", "nodes"])?;
        let all = nodes.as_array().context("nodes are no list")?;
        let found = all.iter().find(|one| one["name"] == "box2" && wanted(one));
        Ok(found.cloned())
    };
    wait::until("the box", Duration::from_secs(20), probe)
}
