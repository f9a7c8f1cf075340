//! Memory, CPU, wake-ups, writes, system calls and children of what runs on a box.

use anyhow::{Context, Result};
use kc_tests::bench::table::Table;
use kc_tests::cost::{Clock, Memory, wake_ups, written};
use kc_tests::{kc, process};
use std::process::Command;
use std::time::{Duration, Instant};

/// The box.
const NAMESPACE: &str = "kcpg-box1";

/// Seconds over which system calls are counted, apart from everything else: counting costs.
const COUNTED: u64 = 10;

/// Rows: who, and the names of the processes.
const WHO: [(&str, &[&str]); 4] = [
    ("kc-agent", &["kc-agent"]),
    ("kc-forwarder", &["kc-forwarder"]),
    ("both", &["kc-agent", "kc-forwarder"]),
    (
        "engine: dockerd, containerd, shims",
        &["dockerd", "containerd", "containerd-shim"],
    ),
];

/// Measures all of it over so many seconds.
pub(crate) fn measure(seconds: u64) -> Result<Table> {
    let containers = kc::containers()?.len();
    let who: Vec<(&str, Vec<u32>)> = WHO
        .iter()
        .map(|(name, programs)| Ok((*name, processes(programs)?)))
        .collect::<Result<_>>()?;
    // What was begun when the containers started is over by then.
    std::thread::sleep(Duration::from_secs(10));
    let before: Vec<_> = who.iter().map(|(_, them)| Taken::of(them)).collect();
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let after: Vec<_> = who.iter().map(|(_, them)| Taken::of(them)).collect();
    let took = began.elapsed().as_secs_f64();
    let mut table = Table::new([
        &format!("{containers} containers, reports each second"),
        "PSS MB",
        "anonymous MB",
        "% of a CPU",
        "wake-ups/s",
        "written MB/day",
        "system calls/s",
        "children/min",
    ]);
    for ((name, them), (before, after)) in who.iter().zip(before.iter().zip(&after)) {
        let memory = Memory::of(them)?;
        let calls = counted("raw_syscalls:sys_enter", them);
        let children = counted("sched:sched_process_fork", them);
        let or_unknown =
            |value: Option<f64>| value.map_or("?".into(), |value| format!("{value:.1}"));
        table.row(vec![
            (*name).to_owned(),
            format!("{:.1}", memory.pss),
            format!("{:.1}", memory.anonymous),
            format!(
                "{:.2}",
                after.clock.since(before.clock).running / took * 100.0
            ),
            format!("{:.1}", (after.wake_ups - before.wake_ups) / took),
            format!(
                "{:.2}",
                (after.written - before.written) / took * 86_400.0 / 1e6
            ),
            or_unknown(calls),
            or_unknown(children.map(|children| children * 60.0)),
        ]);
    }
    Ok(table)
}

/// The processes of these names on the box.
fn processes(names: &[&str]) -> Result<Vec<u32>> {
    let named = |pid: &i32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // The kernel keeps 15 characters of a name.
        names
            .iter()
            .any(|name| name[..name.len().min(15)] == *comm.trim())
    };
    let all = process::of_box(NAMESPACE)?.into_iter().filter(named);
    let found: Vec<u32> = all.filter_map(|pid| u32::try_from(pid).ok()).collect();
    found
        .first()
        .with_context(|| format!("none of {names:?} runs"))?;
    Ok(found)
}

/// What only grows.
struct Taken {
    clock: Clock,
    wake_ups: f64,
    written: f64,
}

impl Taken {
    fn of(processes: &[u32]) -> Self {
        Self {
            clock: Clock::read(processes),
            wake_ups: wake_ups(processes),
            written: written(processes),
        }
    }
}

/// How often a second `processes` meet a trace point of the kernel's, where perf(1) is there to tell.
fn counted(point: &str, processes: &[u32]) -> Option<f64> {
    let pids: Vec<String> = processes.iter().map(u32::to_string).collect();
    let output = Command::new("perf")
        .args(["stat", "--field-separator", ",", "--event", point])
        .args([
            "--pid",
            &pids.join(","),
            "--",
            "sleep",
            &COUNTED.to_string(),
        ])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find(|line| line.contains(point))?;
    let count: f64 = line.split(',').next()?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
    Some(count / COUNTED as f64)
}
