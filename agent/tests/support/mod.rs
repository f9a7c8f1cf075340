//! A box to test on: a network namespace of its own, a Docker engine of its own in it, and an
//! agent's loop. Everything goes when the test ends, also when it panics.
#![allow(
    dead_code,
    clippy::allow_attributes,
    unused_imports,
    reason = "test code, of which every file uses its own part"
)]

mod broker;
mod caller;
mod engine;
mod fake;
mod keeper;
pub(crate) mod registry;

pub(crate) use broker::{Broker, Listener};
pub(crate) use caller::{Answer, Caller};
pub(crate) use engine::{Engine, IMAGE};
pub(crate) use fake::{fake_forwarder, play};
pub(crate) use keeper::{Agent, leg, of, spec_of};

use std::future::Future;
use std::process::Command;
use std::time::Duration;

/// Longest any single thing may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// Runs `test` on a thread in a network namespace of its own, with an engine in it. Says so and
/// passes where that cannot be had.
pub(crate) fn on_a_box<T, F>(name: &'static str, test: T)
where
    T: FnOnce(Engine) -> F + Send + 'static,
    F: Future<Output = ()>,
{
    if !nix::unistd::geteuid().is_root()
        || Command::new("dockerd").arg("--version").output().is_err()
    {
        let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!ci, "CI must have root and dockerd");
        eprintln!("skipped: needs root and dockerd");
        return;
    }
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        run("ip", &["link", "set", "lo", "up"]);
        let engine = Engine::start(name);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test(engine));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs a program to its end; panics with its words when it fails.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program in the network namespace of a process.
pub(crate) fn run_inside(pid: u32, program: &str, args: &[&str]) -> String {
    let net = format!("--net=/proc/{pid}/ns/net");
    let mut all = vec![net.as_str(), program];
    all.extend(args);
    run("nsenter", &all)
}

/// Index of an interface of the box: another pair under the same name has another.
pub(crate) fn index_of(interface: &str) -> String {
    let line = run("ip", &["-o", "link", "show", interface]);
    line.split(':').next().unwrap().to_owned()
}
