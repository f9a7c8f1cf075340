//! How soon things happen: a container asked for, a container's process killed, an agent killed, a
//! cable pulled. What has a peer is measured beside it, A B A B.

use anyhow::{Context, Result, ensure};
use kc_tests::bench::statistics::Spread;
use kc_tests::bench::table::Table;
use kc_tests::playground::docker;
use kc_tests::{daemon, kc, namespace, process, wait};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NODE: &str = "box1";
const IMAGE: &str = "kcluster/function:latest";

/// What the containers run.
const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:6001"];

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// From the beginning of `kc apply` to the start of the container's process as the engine tells it,
/// beside `docker run` of the same image, once on the box's network and once in a namespace of its own.
pub(crate) fn start(rounds: u32) -> Result<Table> {
    let folder = tempfile::tempdir()?;
    let [mut bare, mut apart, mut host, mut overlay] = [(); 4].map(|()| Vec::new());
    for round in 0..rounds {
        for (network, times) in [("host", &mut bare), ("none", &mut apart)] {
            let name = format!("bench-{network}-{round}");
            let began = now();
            let run = [
                "run",
                "--detach",
                "--network",
                network,
                "--name",
                &name,
                IMAGE,
            ];
            docker(NODE, &[&run[..], &SERVE[..]].concat())?;
            times.push(started(&name)? - began);
            docker(NODE, &["rm", "--force", &name])?;
        }
        for (network, times) in [("host", &mut host), ("overlay", &mut overlay)] {
            let service = format!("bench-{network}-{round}");
            let manifest = format!(
                "apiVersion: kcluster/v1\nkind: Service\nmetadata: {{name: {service}}}\nspec:\n  \
                 image: {IMAGE}\n  args: [{}]\n  network: {network}\n",
                SERVE.map(|word| format!("\"{word}\"")).join(", ")
            );
            let began = now();
            kc::apply(folder.path(), "service.yaml", &manifest)?;
            let container = format!("kc-{service}-1");
            let there = || Ok(started(&container).ok());
            let (at, _) = wait::until("the container", PATIENCE, there)?;
            times.push(at - began);
            kc::good(&["delete", "service", &service])?;
            let gone = || {
                Ok(docker(NODE, &["inspect", &container])
                    .is_err()
                    .then_some(()))
            };
            wait::until("the end of the container", PATIENCE, gone)?;
        }
    }
    let mut table = Table::new([
        "from asking to its process",
        "ms (least-most)",
        "× docker run",
    ]);
    table.row(row("docker run, the box's own network", &bare, None));
    table.row(row("kc apply, the box's own network", &host, Some(&bare)));
    table.row(row("docker run, a namespace", &apart, None));
    table.row(row(
        "kc apply, a namespace with a leg",
        &overlay,
        Some(&apart),
    ));
    Ok(table)
}

/// From SIGKILL of a container's process to its next one, beside a container of Docker's own.
pub(crate) fn restart(rounds: u32) -> Result<Table> {
    let name = "bench-restart";
    let mut arguments = vec![
        "run",
        "--detach",
        "--restart",
        "always",
        "--network",
        "host",
    ];
    arguments.extend(["--name", name, IMAGE]);
    arguments.extend(SERVE);
    docker(NODE, &arguments)?;
    let instances = kc::containers()?;
    let own = instances.keys().next().context("no containers")?;
    let own = format!("kc-{own}");
    let [mut bare, mut ours] = [(); 2].map(|()| Vec::new());
    for _ in 0..rounds {
        // The engine is in less of a hurry with what has just started.
        std::thread::sleep(Duration::from_secs(11));
        for (container, times) in [(name, &mut bare), (&own, &mut ours)] {
            let pid: i32 = inspect(container, "{{.State.Pid}}")?.parse()?;
            let began = now();
            process::signal(pid, Signal::SIGKILL)?;
            let again = || {
                let next: i32 = inspect(container, "{{.State.Pid}}")?.parse()?;
                Ok((next != pid && next != 0).then_some(()))
            };
            wait::until("its next process", PATIENCE, again)?;
            times.push(started(container)? - began);
        }
    }
    docker(NODE, &["rm", "--force", name])?;
    let mut table = Table::new([
        "from SIGKILL to the next process",
        "ms (least-most)",
        "× bare",
    ]);
    table.row(row("docker run --restart always", &bare, None));
    table.row(row("a container of ours", &ours, Some(&bare)));
    Ok(table)
}

/// From SIGKILL of the agent to its last will at a subscriber, and to the controller's event; from
/// a pulled cable to the controller's event.
pub(crate) fn notice(rounds: u32) -> Result<Table> {
    let [mut will, mut told, mut silent] = [(); 3].map(|()| Vec::new());
    let mut watch = Watch::start()?;
    for _ in 0..rounds {
        ready()?;
        let pid = process::named("kcpg-box1", "kc-agent")?;
        let how = process::how(pid)?;
        watch.drain();
        let began = now();
        process::signal(pid, Signal::SIGKILL)?;
        will.push(watch.offline()? - began);
        told.push(event_after(began)? - began);
        daemon::start("box1/agent", &how)?;
    }
    for _ in 0..rounds.min(3) {
        ready()?;
        let began = now();
        cable("down")?;
        let noticed = event_after(began);
        cable("up")?;
        silent.push(noticed? - began);
    }
    let mut table = Table::new(["noticed", "ms (least-most)"]);
    let mut add = |what: &str, times: &[f64]| {
        let mut row = row(what, times, None);
        row.truncate(2);
        table.row(row);
    };
    add("agent killed: last will at a subscriber", &will);
    add("agent killed: event of the controller", &told);
    add("cable pulled: event of the controller", &silent);
    Ok(table)
}

/// Waits until the box is ready.
fn ready() -> Result<()> {
    let ready = || {
        let nodes = kc::run(&["get", "nodes", "-o", "json"])?;
        Ok(nodes.out.contains("\"ready\"").then_some(()))
    };
    wait::until("a ready box", PATIENCE, ready)?;
    // Reports come again.
    std::thread::sleep(Duration::from_secs(2));
    Ok(())
}

fn cable(way: &str) -> Result<()> {
    let set = ["-netns", "kcpg-lan", "link", "set", NODE, way];
    ensure!(
        Command::new("ip").args(set).status()?.success(),
        "cable {way}"
    );
    Ok(())
}

/// When the controller has told of the box, after `began`, that it is gone.
fn event_after(began: f64) -> Result<f64> {
    let told = || {
        let events = kc::json(&["events"])?;
        let events = events.as_array().cloned().unwrap_or_default();
        let of_box = events.iter().filter(|event| {
            let kind = event["kind"].as_str().unwrap_or_default();
            kind.starts_with("node-") && event.to_string().contains(NODE)
        });
        let times = of_box.filter_map(|event| event["atMs"].as_f64());
        Ok(times
            .filter(|at| *at >= began.floor())
            .min_by(f64::total_cmp))
    };
    Ok(wait::until("the controller's word", PATIENCE, told)?.0)
}

/// Follows what the broker says of the box.
struct Watch {
    child: Child,
    lines: std::sync::mpsc::Receiver<(f64, String)>,
}

impl Watch {
    fn start() -> Result<Self> {
        let topic = format!("kcluster/lab/node/{NODE}/status");
        let mut child = namespace::inside("kcpg-hub", || {
            Command::new("mosquitto_sub")
                .args(["-h", "192.168.50.254", "-t", &topic])
                .stdout(Stdio::piped())
                .spawn()
        })?
        .context("mosquitto_sub (mosquitto-clients)")?;
        let output = child.stdout.take().context("no output")?;
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send((now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    fn drain(&mut self) {
        while self.lines.try_recv().is_ok() {}
    }

    /// When the box was said to be offline.
    fn offline(&mut self) -> Result<f64> {
        loop {
            let (at, line) = self.lines.recv_timeout(PATIENCE).context("no last will")?;
            if line.contains("offline") {
                return Ok(at);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Milliseconds since 1970.
fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |now| now.as_secs_f64() * 1000.0)
}

fn inspect(container: &str, what: &str) -> Result<String> {
    Ok(docker(NODE, &["inspect", "--format", what, container])?
        .trim()
        .to_owned())
}

/// When the engine says that a container's process has started.
fn started(container: &str) -> Result<f64> {
    let text = inspect(container, "{{.State.StartedAt}}")?;
    ensure!(!text.starts_with("0001"), "not started yet");
    let output = Command::new("date")
        .args(["-d", &text, "+%s.%N"])
        .output()?;
    let seconds: f64 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
    Ok(seconds * 1000.0)
}

fn row(what: &str, times: &[f64], bare: Option<&[f64]>) -> Vec<String> {
    let shown = Spread::of(times.iter().copied()).map_or(String::new(), |spread| {
        format!(
            "{:.0} ({:.0}-{:.0})",
            spread.median, spread.least, spread.most
        )
    });
    let ratios = bare.map(|bare| times.iter().zip(bare).map(|(ours, bare)| ours / bare));
    let ratio = ratios.and_then(Spread::of).map_or(String::new(), |ratio| {
        format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.least, ratio.most)
    });
    vec![what.to_owned(), shown, ratio]
}
