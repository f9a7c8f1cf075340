//! The playground that storms go over: what each fault does to it, and how it is put right.

use crate::daemons::{Daemons, RUN};
use crate::plan::{Fault, Machine, Victim};
use anyhow::{Context, Result, bail, ensure};
use kc_tests::playground::{Playground, docker};
use kc_tests::{process, programs};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where everything large of the playground is.
pub(crate) const DATA: &str = "/var/tmp/kcluster-playground";
/// Boxes: the chain goes from the first to the last.
pub(crate) const BOXES: u8 = 2;
/// File that fills a disk.
const BALLAST: &str = "ballast";

/// A playground at the mercy of a plan.
pub(crate) struct Site {
    pub(crate) playground: Playground,
    pub(crate) daemons: Daemons,
    clocks: BTreeMap<Machine, File>,
    /// Seconds each clock is off.
    offsets: BTreeMap<Machine, i64>,
    cut: BTreeMap<Machine, u8>,
    full: BTreeMap<Machine, u8>,
    /// Holds the clocks, which are mapped as long as anything runs.
    _scratch: tempfile::TempDir,
}

impl Site {
    /// Makes the playground, on disks of a few megabytes, with a clock for each machine.
    pub(crate) fn up(broker: &str) -> Result<Self> {
        Playground::verb("down")?;
        let scratch = tempfile::tempdir()?;
        let shim = compile(scratch.path())?;
        for machine in machines() {
            let (place, size) = disk(machine);
            fs::create_dir_all(&place)?;
            let options = format!("size={size}k");
            mount(
                Some("tmpfs"),
                &place,
                Some("tmpfs"),
                MsFlags::empty(),
                Some(options.as_str()),
            )
            .with_context(|| format!("cannot mount {}", place.display()))?;
        }
        let boxes = BOXES.to_string();
        let (playground, _) = Playground::up(&["--boxes", &boxes, "--broker", broker])?;
        let mut site = Self {
            playground,
            daemons: Daemons::adopt(BOXES)?,
            clocks: BTreeMap::new(),
            offsets: BTreeMap::new(),
            cut: BTreeMap::new(),
            full: BTreeMap::new(),
            _scratch: scratch,
        };
        for machine in machines() {
            let path = site._scratch.path().join(format!("clock-{machine}"));
            let clock = File::create_new(&path)?;
            clock.write_all_at(&0_i64.to_ne_bytes(), 0)?;
            site.clocks.insert(machine, clock);
            let role = match machine {
                Machine::Hub => "hub/controller".to_owned(),
                Machine::Box(k) => Victim::Agent(k).to_string(),
            };
            let more: [(&str, &Path); 2] = [("LD_PRELOAD", &shim), ("KC_CLOCK", &path)];
            site.daemons.environment(&role, &more)?;
            site.daemons.kill(&role)?;
            site.daemons.start(&role)?;
            if let Machine::Box(k) = machine {
                // It keeps the time it was born with; its successor goes by the box's clock.
                site.kill(&Victim::Forwarder(k))?;
            }
        }
        Ok(site)
    }

    /// Does what `fault` says. `None` when there is nothing it could be done to, else what was done.
    pub(crate) fn strike(&mut self, fault: &Fault) -> Result<Option<String>> {
        match fault {
            Fault::Kill(victim) => self.kill(victim),
            Fault::Cut(machine) => {
                let count = self.cut.entry(*machine).or_default();
                *count += 1;
                if *count == 1 {
                    cable(*machine, "down")?;
                }
                Ok(Some(String::new()))
            }
            Fault::Clock(machine, by) => {
                let offset = self.offsets.entry(*machine).or_default();
                *offset += by;
                // Not before 1990 and not after 2100, where other programs' formats end.
                *offset = (*offset).clamp(-1_000_000_000, 2_000_000_000);
                let clock = self.clocks.get(machine).context("no such clock")?;
                clock.write_all_at(&(*offset * 1_000_000_000).to_ne_bytes(), 0)?;
                Ok(Some(String::new()))
            }
            Fault::Fill(machine) => {
                let count = self.full.entry(*machine).or_default();
                *count += 1;
                if *count == 1 {
                    fill(&disk(*machine).0.join(BALLAST))?;
                }
                Ok(Some(String::new()))
            }
        }
    }

    /// Puts right what `fault` did. A clock stays as it is.
    pub(crate) fn heal(&mut self, fault: &Fault) -> Result<()> {
        match fault {
            Fault::Kill(Victim::Forwarder(_) | Victim::Container(..)) | Fault::Clock(..) => Ok(()),
            Fault::Kill(victim) => self.daemons.start(&victim.to_string()),
            Fault::Cut(machine) => {
                let count = self.cut.entry(*machine).or_default();
                *count = count.saturating_sub(1);
                if *count == 0 {
                    cable(*machine, "up")?;
                }
                Ok(())
            }
            Fault::Fill(machine) => {
                let count = self.full.entry(*machine).or_default();
                *count = count.saturating_sub(1);
                if *count == 0 {
                    fs::remove_file(disk(*machine).0.join(BALLAST))?;
                }
                Ok(())
            }
        }
    }

    fn kill(&mut self, victim: &Victim) -> Result<Option<String>> {
        match victim {
            Victim::Forwarder(k) => {
                let Ok(pid) = process::named(&format!("kcpg-box{k}"), "kc-forwarder") else {
                    return Ok(None);
                };
                // It may have ended by itself since.
                let killed = process::signal(pid, Signal::SIGKILL).is_ok();
                Ok(killed.then(String::new))
            }
            Victim::Container(k, nth) => {
                if self.daemons.down(&Victim::Engine(*k).to_string()) {
                    return Ok(None);
                }
                kill_container(*k, *nth)
            }
            daemon => {
                let killed = self.daemons.kill(&daemon.to_string())?;
                Ok(killed.then(String::new))
            }
        }
    }
}

/// Kills the process of a container behind the engine's back; returns the engine's name for it.
fn kill_container(k: u8, nth: u8) -> Result<Option<String>> {
    let node = format!("box{k}");
    let Ok(list) = docker(&node, &["ps", "--format", "{{.Names}}"]) else {
        return Ok(None);
    };
    let mut names: Vec<&str> = list.split_whitespace().collect();
    names.sort_unstable();
    if names.is_empty() {
        return Ok(None);
    }
    let name = names[usize::from(nth) % names.len()];
    let Ok(pid) = docker(&node, &["inspect", "--format", "{{.State.Pid}}", name]) else {
        return Ok(None);
    };
    let pid: i32 = pid.trim().parse()?;
    if pid < 2 || process::signal(pid, Signal::SIGKILL).is_err() {
        return Ok(None);
    }
    Ok(Some(name.to_owned()))
}

pub(crate) fn machines() -> Vec<Machine> {
    let boxes = (1..=BOXES).map(Machine::Box);
    std::iter::once(Machine::Hub).chain(boxes).collect()
}

/// The data of a machine's daemon, and how many KiB it may take.
pub(crate) fn disk(machine: Machine) -> (PathBuf, u32) {
    match machine {
        Machine::Hub => (Path::new(DATA).join("controller"), 32 << 10),
        Machine::Box(k) => (Path::new(DATA).join(format!("box{k}/agent")), 2 << 10),
    }
}

/// Writes until there is no room for another octet.
fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    let mut size = 1 << 20;
    while size > 0 {
        match file.write(&vec![0xa5; size]) {
            Ok(0) => size /= 2,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => size /= 2,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Pulls a machine's cable at the switch, or plugs it in again.
fn cable(machine: Machine, state: &str) -> Result<()> {
    let port = machine.to_string();
    let status = Command::new("ip")
        .args(["-netns", "kcpg-lan", "link", "set", &port, state])
        .status()?;
    ensure!(status.success(), "cannot set the cable of {port} {state}");
    Ok(())
}

/// The clock's library.
fn compile(into: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("chaos/clock.c");
    let library = into.join("clock.so");
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .output()
        .context("cannot run cc: tests/setup.sh build")?;
    if !output.status.success() {
        bail!("cc: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(library)
}

/// A box's run directory.
pub(crate) fn run(k: u8) -> PathBuf {
    Path::new(RUN).join(format!("box{k}"))
}

/// The forwarder's own word.
pub(crate) fn forwarder(k: u8) -> Result<serde_json::Value> {
    let output = Command::new(programs::find("kc-forwarder")?)
        .args(["status", "--output", "json", "--socket"])
        .arg(run(k).join("forwarder.sock"))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the forwarder of box{k}: {said}");
    Ok(serde_json::from_slice(&output.stdout)?)
}
