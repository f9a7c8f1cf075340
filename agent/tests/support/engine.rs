//! A Docker engine of one test, and an image made of the box's own shell.

use super::run;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The image every test container is made from.
pub(crate) const IMAGE: &str = "kc-test:1";

/// An engine; its end is the end of everything in it.
pub(crate) struct Engine {
    pub(crate) dir: tempfile::TempDir,
    name: &'static str,
    child: Child,
}

impl Engine {
    pub(crate) fn start(name: &'static str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("kc-{name}-"))
            .tempdir()
            .unwrap();
        let child = spawn(dir.path(), name);
        let engine = Self { dir, name, child };
        engine.await_ready();
        engine.import_image();
        engine
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// `docker` against this engine.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        let host = format!("unix://{}", self.socket().display());
        let mut all = vec!["-H", host.as_str()];
        all.extend(args);
        run("docker", &all).trim().to_owned()
    }

    /// SIGKILL, as a crash would.
    pub(crate) fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        // Its containerd died with it, and where nobody collects orphans the new one takes the
        // remains for a living process.
        let _ = fs::remove_file(self.dir.path().join("exec/containerd/containerd.pid"));
        self.child = spawn(self.dir.path(), self.name);
        self.await_ready();
    }

    fn await_ready(&self) {
        let host = format!("unix://{}", self.socket().display());
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let asked = Command::new("docker")
                .args(["-H", &host, "version"])
                .output()
                .unwrap();
            if asked.status.success() {
                return;
            }
            assert!(Instant::now() < deadline, "dockerd: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("dockerd.log")).unwrap_or_default()
    }

    /// A root file system of `sh`, `sleep`, `cat`, `stty` and the libraries they need.
    fn import_image(&self) {
        let root = self.dir.path().join("rootfs");
        for program in ["/bin/sh", "/bin/sleep", "/bin/cat", "/bin/stty"] {
            copy_with_libraries(Path::new(program), &root);
        }
        let script = "#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 3600 & wait; done\n";
        fs::write(root.join("kc-function"), script).unwrap();
        fs::set_permissions(root.join("kc-function"), fs::Permissions::from_mode(0o755)).unwrap();
        let tar = self.dir.path().join("rootfs.tar");
        let (root, tar) = (root.to_str().unwrap(), tar.to_str().unwrap());
        run("tar", &["-C", root, "-cf", tar, "."]);
        self.docker(&["import", tar, IMAGE]);
    }

    /// Processes that run under our directory and outlived their parent.
    fn end_leftovers(&self) {
        let own = self.dir.path().to_str().unwrap().to_owned();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let ours = String::from_utf8_lossy(&line).contains(&own);
            if ours && pid != std::process::id().cast_signed() {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.end_leftovers();
        let own = self.dir.path().to_str().unwrap_or_default().to_owned();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let mut ours: Vec<_> = points.filter(|point| point.starts_with(&own)).collect();
        ours.reverse();
        for point in ours {
            let _ = Command::new("umount").args(["-l", point]).status();
        }
        remove_cgroups(&cgroup(self.name));
    }
}

fn cgroup(name: &str) -> String {
    format!("kc-test-{name}-{}", std::process::id())
}

fn remove_cgroups(name: &str) {
    let groups = fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten();
    for top in groups
        .map(|group| group.path())
        .chain([PathBuf::from("/sys/fs/cgroup")])
    {
        remove_tree(&top.join(name));
    }
}

/// Ends what still runs in a group, then removes it: containers of a crashed engine live on.
fn remove_tree(group: &Path) {
    for _ in 0..100 {
        let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        if listed.is_empty() {
            break;
        }
        for pid in listed.lines().filter_map(|line| line.parse().ok()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for child in fs::read_dir(group).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&child.path());
        }
    }
    let _ = fs::remove_dir(group);
}

fn spawn(dir: &Path, name: &str) -> Child {
    let at = |leaf: &str| dir.join(leaf).to_str().unwrap().to_owned();
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("dockerd.log"))
        .unwrap();
    let _ = fs::remove_file(dir.join("docker.pid"));
    let mut command = Command::new("dockerd");
    command
        .args([
            "--data-root",
            &at("data"),
            "--exec-root",
            &at("exec"),
            "--pidfile",
            &at("docker.pid"),
        ])
        .args(["-H", &format!("unix://{}", at("docker.sock"))])
        .args([
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            "--ip-forward=false",
        ])
        .args(["--storage-driver", "overlay2", "--shutdown-timeout", "2"])
        .args(["--cgroup-parent", &cgroup(name)])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command.spawn().unwrap()
}

fn copy_with_libraries(program: &Path, root: &Path) {
    let copy = |from: &Path, to: &Path| {
        let to = root.join(to.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    copy(program, program);
    let libraries = run("ldd", &[program.to_str().unwrap()]);
    for word in libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        copy(Path::new(word), Path::new(word));
    }
}
