//! Open vSwitch in user space, with daemons, database and sockets of its own.

use kc_tests::lab::{Lab, Namespace, PATIENCE, Process};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian keeps the database's schema.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// One switch. Its daemons end with it, and with the test.
pub(crate) struct OpenVswitch<'a> {
    namespace: &'a Namespace,
    folder: PathBuf,
    _daemons: [Process; 2],
}

impl<'a> OpenVswitch<'a> {
    /// Starts a switch in `namespace`, or says why not: taps need root.
    pub(crate) fn start(lab: &Lab, namespace: &'a Namespace) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: Open vSwitch needs root");
            return None;
        }
        let folder = lab.folder().join("ovs");
        std::fs::create_dir(&folder).unwrap();
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let mut tool = namespace.command("ovsdb-tool");
        succeed(tool.args(["create", &path("conf.db"), SCHEMA]));
        let database = daemon(
            namespace,
            &folder,
            "ovsdb-server",
            &[
                &path("conf.db"),
                &format!("--remote=punix:{}", path("db.sock")),
                &format!("--unixctl={}", path("db.ctl")),
            ],
        );
        let remote = format!("unix:{}", path("db.sock"));
        let control = format!("--unixctl={}", path("vswitchd.ctl"));
        let mut client = namespace.command("ovs-vsctl");
        succeed(client.args([
            &format!("--db={remote}"),
            "--retry",
            "--timeout=15",
            "--no-wait",
            "init",
        ]));
        let switch = daemon(namespace, &folder, "ovs-vswitchd", &[&remote, &control]);
        Some(Self {
            namespace,
            folder,
            _daemons: [database, switch],
        })
    }

    /// Runs `ovs-vsctl`, which returns when the switch has done what was asked.
    pub(crate) fn configure(&self, arguments: &str) -> String {
        let mut command = self.namespace.command("ovs-vsctl");
        command.arg(format!("--db=unix:{}/db.sock", self.folder.display()));
        command
            .args(["--timeout=15"])
            .args(arguments.split_whitespace());
        succeed(&mut command)
    }

    /// The number by which flows know a port.
    pub(crate) fn number(&self, port: &str) -> u32 {
        let told = self.configure(&format!(
            "wait-until interface {port} ofport!=[] -- get interface {port} ofport"
        ));
        told.trim().parse().unwrap()
    }

    /// Adds a bridge of the userspace datapath that forwards nothing unless told.
    pub(crate) fn bridge(&self, name: &str) {
        self.configure(&format!(
            "add-br {name} -- set bridge {name} datapath_type=netdev fail-mode=secure"
        ));
    }

    /// Adds the bridge that is an interface of this machine with the addresses, and joins it with
    /// `ports`: what tunnels leave by.
    pub(crate) fn underlay(&self, name: &str, addresses: &[&str], ports: &[&str]) {
        self.bridge(name);
        for port in ports {
            self.configure(&format!("add-port {name} {port}"));
        }
        self.flow(name, "actions=NORMAL");
        for address in addresses {
            self.namespace.address(name, address);
        }
        self.namespace.run(&format!("ip link set {name} up"));
    }

    /// Adds a flow.
    pub(crate) fn flow(&self, bridge: &str, flow: &str) {
        let mut command = self.namespace.command("ovs-ofctl");
        command.args(["-O", "OpenFlow15", "add-flow"]);
        command
            .arg(format!("unix:{}/{bridge}.mgmt", self.folder.display()))
            .arg(flow);
        succeed(&mut command);
    }
}

/// A daemon that the kernel ends with the test, should the test be killed.
fn daemon(namespace: &Namespace, folder: &Path, name: &str, arguments: &[&str]) -> Process {
    let mut command = namespace.command("setpriv");
    command.args(["--pdeathsig", "KILL", name]).args(arguments);
    command.arg(format!("--log-file={}/{name}.log", folder.display()));
    command.arg("--verbose=console:off");
    for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
        command.env(variable, folder);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process {
        child: child.spawn().unwrap(),
    }
}

/// Runs to the end, which must be a good one, and returns what was printed.
fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?} within {PATIENCE:?}: {told}"
    );
    String::from_utf8(output.stdout).unwrap()
}
