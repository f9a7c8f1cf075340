//! Reads the numbers: files kept open, one buffer for all. Costs a few dozen system calls and
//! waits for nobody but the kernel; on a box with a sick disk that may be long, so give it a
//! thread of its own (`spawn_blocking`).

use super::{ContainerSample, MachineSample, Sample, cgroup, machine};
use kc_agent_api::{Limits, NetworkLoad};
use kc_forwarder_api::PortName;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running container to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Name in the document.
    pub name: String,
    /// The engine's id.
    pub id: String,
    /// Its first process.
    pub pid: u32,
    /// Its limits.
    pub limits: Limits,
    /// The box's ends of its legs.
    pub ports: Vec<PortName>,
}

/// Takes samples.
#[derive(Debug)]
pub struct Sampler {
    proc: PathBuf,
    disk: PathBuf,
    stat: Source,
    loadavg: Source,
    meminfo: Source,
    uptime: Source,
    /// Through the calling thread's own entry: `/sys/class/net` belongs to whoever mounted
    /// `/sys`, which need not be the namespace the agent runs in.
    interfaces: Source,
    thermal: Vec<Source>,
    throttled: Option<Source>,
    /// Where interfaces are described.
    net: PathBuf,
    /// Speeds of links, and for how many samples they are still believed.
    speeds: HashMap<String, (u32, Option<u32>)>,
    containers: HashMap<String, Probe>,
    text: String,
}

/// Samples after which the speed of a link is read again; it changes with a cable.
const SPEED_SAMPLES: u32 = 60;

impl Sampler {
    /// A sampler of this box. `disk` is Docker's data root, or any path on the same file system.
    pub fn new(disk: impl Into<PathBuf>) -> Self {
        Self::below(Path::new("/proc"), Path::new("/sys"), disk.into())
    }

    fn below(proc: &Path, sys: &Path, disk: PathBuf) -> Self {
        Self {
            proc: proc.to_owned(),
            disk,
            stat: Source::new(proc.join("stat")),
            loadavg: Source::new(proc.join("loadavg")),
            meminfo: Source::new(proc.join("meminfo")),
            uptime: Source::new(proc.join("uptime")),
            interfaces: Source::new(proc.join("thread-self/net/dev")),
            thermal: thermal_zones(&sys.join("class/thermal")),
            throttled: get_throttled(sys).map(Source::new),
            net: sys.join("class/net"),
            speeds: HashMap::new(),
            containers: HashMap::new(),
            text: String::new(),
        }
    }

    /// The engine keeps its data here.
    pub fn look_at_disk(&mut self, path: &Path) {
        if self.disk != path {
            path.clone_into(&mut self.disk);
        }
    }

    /// Adds the speed of every interface that has hardware behind it; of others the kernel only guesses.
    fn add_speeds(&mut self, interfaces: &mut [NetworkLoad]) {
        self.speeds
            .retain(|name, _| interfaces.iter().any(|one| one.name == *name));
        for interface in interfaces {
            let known = self.speeds.get_mut(&interface.name);
            if let Some((left @ 1.., speed)) = known {
                *left -= 1;
                interface.speed_mbit = *speed;
                continue;
            }
            let folder = self.net.join(&interface.name);
            let told = folder.join("device").exists().then(|| {
                let text = std::fs::read_to_string(folder.join("speed")).ok()?;
                // -1 while there is no link.
                text.trim().parse().ok()
            });
            interface.speed_mbit = told.flatten();
            let known = (SPEED_SAMPLES, interface.speed_mbit);
            self.speeds.insert(interface.name.clone(), known);
        }
    }

    /// Reads everything now; `at` is the moment on a clock that never goes back.
    pub fn sample(&mut self, at: Duration, watched: &[Watched]) -> Sample {
        let text = &mut self.text;
        let hottest = self
            .thermal
            .iter_mut()
            .filter_map(|zone| machine::temperature_c(zone.read(text)?));
        let temperature_c = hottest.reduce(f32::max);
        let throttled = self
            .throttled
            .as_mut()
            .and_then(|source| machine::throttled(source.read(text)?));
        let mut machine = MachineSample {
            cpu: self
                .stat
                .read(text)
                .and_then(machine::cpu_times)
                .unwrap_or_default(),
            load_1m: self
                .loadavg
                .read(text)
                .and_then(machine::load_1m)
                .unwrap_or_default(),
            memory: self
                .meminfo
                .read(text)
                .and_then(machine::memory)
                .unwrap_or_default(),
            disk: disk(&self.disk).unwrap_or_default(),
            temperature_c,
            throttled,
            uptime_s: self
                .uptime
                .read(text)
                .and_then(machine::uptime_s)
                .unwrap_or_default(),
            interfaces: self
                .interfaces
                .read(text)
                .map(machine::interfaces)
                .unwrap_or_default(),
        };
        self.add_speeds(&mut machine.interfaces);
        self.containers
            .retain(|id, probe| watched.iter().any(|w| w.id == *id && w.pid == probe.pid));
        let containers = watched
            .iter()
            .map(|watched| self.container(watched))
            .collect();
        Sample {
            at,
            machine,
            containers,
        }
    }

    fn container(&mut self, watched: &Watched) -> ContainerSample {
        let probe = self
            .containers
            .entry(watched.id.clone())
            .or_insert_with(|| Probe::new(&self.proc, watched.pid));
        let cpu_ns = probe.cpu.read(&mut self.text).and_then(cgroup::cpu_ns);
        let usage = probe.memory.read(&mut self.text).map(str::to_owned);
        let memory_bytes = usage.and_then(|usage| {
            let stat = probe.memory_stat.read(&mut self.text).unwrap_or_default();
            cgroup::memory_bytes(&usage, stat)
        });
        ContainerSample {
            name: watched.name.clone(),
            id: watched.id.clone(),
            cpu_ns: cpu_ns.unwrap_or_default(),
            memory_bytes: memory_bytes.unwrap_or_default(),
            limits: watched.limits,
            ports: watched.ports.clone(),
        }
    }
}

/// The open files of one container's control group.
#[derive(Debug)]
struct Probe {
    pid: u32,
    cpu: Source,
    memory: Source,
    memory_stat: Source,
}

impl Probe {
    fn new(proc: &Path, pid: u32) -> Self {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let group = read(proc.join(pid.to_string()).join("cgroup"));
        let mounts = read(proc.join("self/mountinfo"));
        let found = cgroup::files(&group, &mounts);
        let source = |pick: fn(cgroup::Files) -> PathBuf| match &found {
            Some(files) => Source::new(pick(files.clone())),
            None => Source::default(),
        };
        Self {
            pid,
            cpu: source(|files| files.cpu),
            memory: source(|files| files.memory),
            memory_stat: source(|files| files.memory_stat),
        }
    }
}

/// A small file read again and again.
#[derive(Debug, Default)]
struct Source {
    file: Option<File>,
}

impl Source {
    /// A file that cannot be opened reads as absent, for good.
    fn new(path: PathBuf) -> Self {
        Self {
            file: File::open(path).ok(),
        }
    }

    /// Its whole text now, in `buffer`.
    fn read<'a>(&mut self, buffer: &'a mut String) -> Option<&'a str> {
        let file = self.file.as_ref()?;
        let mut bytes = std::mem::take(buffer).into_bytes();
        bytes.clear();
        loop {
            let length = bytes.len();
            bytes.resize(length + 4096, 0);
            let offset = u64::try_from(length).ok()?;
            let count = file.read_at(&mut bytes[length..], offset).ok()?;
            bytes.truncate(length + count);
            if count == 0 {
                break;
            }
        }
        *buffer = String::from_utf8(bytes).ok()?;
        Some(buffer)
    }
}

fn thermal_zones(directory: &Path) -> Vec<Source> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|n| n.as_encoded_bytes().starts_with(b"thermal_zone"))
        })
        .map(|path| Source::new(path.join("temp")))
        .collect()
}

/// Where a Pi's firmware tells of its supply: below `soc` up to a Pi 4, `soc@107c000000` on a Pi 5.
pub(crate) fn get_throttled(sys: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(sys.join("devices/platform")).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let path = |soc: String| {
        sys.join(format!(
            "devices/platform/{soc}/{soc}:firmware/get_throttled"
        ))
    };
    names
        .filter(|name| name.starts_with("soc"))
        .map(path)
        .find(|path| path.exists())
}

/// Bytes in use and all bytes of the file system under `path`; blocks kept back for root count
/// as neither.
pub(crate) fn disk(path: &Path) -> Option<(u64, u64)> {
    let found = path
        .ancestors()
        .find_map(|path| nix::sys::statvfs::statvfs(path).ok())?;
    // These are 32 bits wide on some targets.
    let bytes = |blocks| wide(blocks) * wide(found.fragment_size());
    let used = found.blocks().saturating_sub(found.blocks_free());
    Some((bytes(used), bytes(used + found.blocks_available())))
}

/// The same in percent; a disk of no size is not a full one.
pub(crate) fn percent((used, total): (u64, u64)) -> u8 {
    let percent = u128::from(used) * 100 / u128::from(total.max(1));
    u8::try_from(percent).unwrap_or(100).min(100)
}

fn wide(number: impl Into<u64>) -> u64 {
    number.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_disk_is_not_a_full_one() {
        assert_eq!(percent((0, 0)), 0);
        assert_eq!(percent((85, 100)), 85);
        assert_eq!(percent((u64::MAX, 1)), 100);
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_pi_with_one_container_is_read() {
        let root = tempfile::tempdir().unwrap();
        let (proc, sys) = (root.path().join("proc"), root.path().join("sys"));
        write(
            &proc,
            "stat",
            "cpu  1 2 3 4 5 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n",
        );
        write(&proc, "uptime", "77.12 3.4\n");
        write(&sys, "class/thermal/thermal_zone0/temp", "41000\n");
        write(&sys, "class/thermal/thermal_zone1/temp", "55500\n");
        write(&sys, "class/thermal/cooling_device0/temp", "99000\n");
        write(
            &sys,
            "devices/platform/soc/soc:firmware/get_throttled",
            "50005\n",
        );
        let group = root.path().join("cg");
        let mounts = format!("30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n", group.display());
        write(&proc, "self/mountinfo", &mounts);
        write(&proc, "42/cgroup", "0::/fw\n");
        write(&group, "fw/cpu.stat", "usage_usec 9\n");
        write(&group, "fw/memory.current", "1000\n");
        write(&group, "fw/memory.stat", "inactive_file 400\n");
        let mut sampler = Sampler::below(&proc, &sys, root.path().to_owned());
        let mut watched = Watched {
            name: "fw-1".into(),
            id: "x".into(),
            pid: 42,
            limits: Limits::default(),
            ports: Vec::new(),
        };
        let sample = sampler.sample(Duration::ZERO, std::slice::from_ref(&watched));
        assert_eq!(sample.machine.cpu.busy, 27);
        assert_eq!(sample.machine.uptime_s, 77);
        assert_eq!(sample.machine.temperature_c, Some(55.5));
        assert_eq!(sample.machine.throttled, Some(true));
        assert!(sample.machine.disk.1 > 0);
        assert_eq!(sample.containers[0].cpu_ns, 9000);
        assert_eq!(sample.containers[0].memory_bytes, 600);
        // Numbers that change are read anew from the same open file; a new process is looked up.
        write(&group, "fw/cpu.stat", "usage_usec 123456\n");
        let again = sampler.sample(Duration::ZERO, std::slice::from_ref(&watched));
        assert_eq!(again.containers[0].cpu_ns, 123_456_000);
        watched.pid = 43;
        let gone = sampler.sample(Duration::ZERO, std::slice::from_ref(&watched));
        assert_eq!(gone.containers[0].cpu_ns, 0);
        sampler.sample(Duration::ZERO, &[]);
        assert!(sampler.containers.is_empty());
    }

    #[test]
    fn a_box_without_anything_reads_as_nothing() {
        let root = tempfile::tempdir().unwrap();
        let nowhere = root.path().join("x");
        let mut sampler = Sampler::below(&nowhere, &nowhere, nowhere.clone());
        let sample = sampler.sample(Duration::from_secs(1), &[]);
        assert_eq!(sample.machine.throttled, None);
        assert_eq!(sample.machine.memory, (0, 0));
    }

    #[test]
    fn this_machine_is_read() {
        let mut sampler = Sampler::new("/var/lib/docker");
        let ourselves = Watched {
            name: "me".into(),
            id: "me".into(),
            pid: std::process::id(),
            limits: Limits::default(),
            ports: Vec::new(),
        };
        let sample = sampler.sample(Duration::from_secs(1), &[ourselves]);
        assert!(sample.machine.cpu.cores >= 1);
        assert!(sample.machine.memory.0 > 0 && sample.machine.memory.0 < sample.machine.memory.1);
        assert!(sample.machine.interfaces.iter().any(|i| i.name == "lo"));
        assert!(sample.machine.uptime_s > 0);
    }
}
