//! What is wrong with this box, and how it is put right. [`judge`] is pure: facts in, findings
//! out, a check after the other. [`examine`] reads the facts first: it works beside a running
//! agent and without one, without engine, broker and privileges; what cannot be read is unknown.

mod broker;
mod card;
mod clock;
mod controller;
mod disk;
mod engine;
mod facts;
mod forwarder;
mod memory;
mod network;
mod power;
mod privilege;
mod read;

pub use facts::{
    Broker, Card, Clock, Disk, Echo, Engine, Facts, Forwarder, Machine, Network, Process, Runner,
};
pub use read::{Vantage, examine};

use kc_agent_api::{Finding, Severity};

/// Every check, in the order in which a person would go about it.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let machine = &facts.machine;
    let unread = facts.unread.as_ref().map(|why| {
        let fix = "run it as root: sudo kc-agent doctor";
        Finding::unknown("configuration", why, fix)
    });
    let mut findings: Vec<Finding> = unread.into_iter().collect();
    findings.push(memory::cgroup(machine));
    findings.push(engine::docker(&facts.engine));
    findings.push(clock::clock(&facts.clock));
    findings.extend(power::power(machine));
    findings.extend(power::throttling(machine));
    findings.extend(facts.cards.iter().map(card::card));
    findings.extend(facts.disks.iter().map(disk::disk));
    findings.extend(disk::errors(&facts.file_system_errors));
    findings.extend(facts.processes.iter().map(privilege::capabilities));
    findings.push(network::underlay(&facts.network));
    findings.push(network::forwarding(&facts.network));
    findings.push(network::reverse_path(&facts.network));
    findings.push(broker::broker(&facts.broker));
    findings.extend(facts.controller.as_ref().map(controller::controller));
    findings.extend(forwarder::forwarder(&facts.forwarder));
    findings
}

/// Whether something does not work.
pub fn sick(findings: &[Finding]) -> bool {
    let mut severities = findings.iter().map(|finding| finding.severity);
    severities.any(|severity| severity == Severity::Problem)
}
