//! Suricata inline: AF_PACKET in copy mode between two legs, as its documentation has it for an IPS
//! on layer 2.

use crate::rootfs;
use kc_tests::lab::{Lab, Namespace, Process};
use std::path::PathBuf;
use std::process::Stdio;

/// Segments with this text do not pass.
pub(crate) const FORBIDDEN: &str = "kcluster-test-exploit";

/// Suricata 7.0.10 takes the client's acknowledgements for invalid once it has closed its half of a
/// connection and announced a window of zero, with or without a forwarder in between; hence
/// `drop-invalid`. What its rules forbid is dropped all the same.
const SETTINGS: &str = r#"%YAML 1.1
---
vars:
  address-groups: {HOME_NET: any, EXTERNAL_NET: any}
default-log-dir: /mnt
default-rule-path: /mnt
rule-files: [test.rules]
classification-file: /etc/suricata/classification.config
reference-config-file: /etc/suricata/reference.config
stats: {enabled: no}
outputs:
  - fast: {enabled: yes, filename: fast.log}
logging:
  default-log-level: notice
  outputs:
    - console: {enabled: yes}
unix-command: {enabled: no}
run-as: {user: root, group: root}
af-packet:
  - {interface: i0, copy-iface: o0, copy-mode: ips, threads: 1, cluster-id: 98, cluster-type: cluster_flow,
     defrag: no, use-mmap: yes, tpacket-v3: no, ring-size: 8192}
  - {interface: o0, copy-iface: i0, copy-mode: ips, threads: 1, cluster-id: 97, cluster-type: cluster_flow,
     defrag: no, use-mmap: yes, tpacket-v3: no, ring-size: 8192}
exception-policy: ignore
stream:
  memcap: 64mb
  inline: auto
  drop-invalid: no
  reassembly: {memcap: 128mb, depth: 1mb, toserver-chunk-size: 2560, toclient-chunk-size: 2560}
flow: {memcap: 64mb, hash-size: 65536, prealloc: 1000}
app-layer:
  protocols:
    http: {enabled: yes}
"#;

/// A running Suricata and what it writes.
pub(crate) struct Suricata {
    /// The process; a signal to it is one to Suricata.
    pub(crate) process: Process,
    folder: PathBuf,
}

impl Suricata {
    /// Starts it between `i0` and `o0`, and waits until it forwards.
    pub(crate) fn start(lab: &Lab, namespace: &Namespace) -> Self {
        let root = rootfs::suricata();
        let folder = lab.folder().join("suricata");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("suricata.yaml"), SETTINGS).unwrap();
        let rules = format!(
            "drop tcp any any -> any any (msg:\"forbidden\"; content:\"{FORBIDDEN}\"; sid:1; rev:1;)\n"
        );
        std::fs::write(folder.join("test.rules"), rules).unwrap();
        // Mounts of its own, which go with it; each program becomes the next, so that the process
        // is Suricata.
        let script = format!(
            "mount --bind {folder} {root}/mnt && mount -t proc proc {root}/proc && \
             exec chroot {root} suricata -c /mnt/suricata.yaml --af-packet -k none 2>&1",
            folder = folder.display(),
            root = root.display()
        );
        let mut command = namespace.command("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        command.stderr(Stdio::inherit());
        let process = Process::start_until(command, "Engine started");
        Self { process, folder }
    }

    /// How often the rule was met, as the log says.
    pub(crate) fn alerts(&self) -> usize {
        let text = std::fs::read_to_string(self.folder.join("fast.log")).unwrap_or_default();
        text.lines()
            .filter(|line| line.contains("[Drop]") && line.contains("forbidden"))
            .count()
    }
}
