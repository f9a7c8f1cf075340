//! Every key of the Compose specification and what becomes of it. Left out is only what changes
//! nothing about what a program sees, does, or may do.

/// What becomes of a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// Translated; other files of this module judge its value.
    Taken,
    /// Left out, and why nothing depends on it.
    Ignored(&'static str),
    /// Why it cannot be had, and what to write instead.
    Refused(&'static str, &'static str),
}

use Fate::{Ignored, Refused, Taken};

/// Keys at the top.
pub(super) const TOP: [(&str, Fate); 9] = [
    ("name", Taken),
    ("version", Ignored("has no meaning any more; leave it out")),
    ("services", Taken),
    ("networks", Taken),
    ("volumes", Taken),
    ("configs", Taken),
    ("secrets", Taken),
    (
        "include",
        Refused(
            "other files are not included",
            "apply each file, or write one with `docker compose config`",
        ),
    ),
    ("models", Refused("models are not run", "leave them out")),
];

/// Keys of a network.
pub(super) const NETWORK: [&str; 10] = [
    "attachable",
    "driver",
    "driver_opts",
    "enable_ipv4",
    "enable_ipv6",
    "external",
    "internal",
    "ipam",
    "labels",
    "name",
];

/// What containers cannot be given.
const WEAKER: &str = "it would be left out in silence otherwise: remove it if you can do without";

/// Keys of a service.
pub(super) const SERVICE: [(&str, Fate); 91] = [
    ("annotations", Ignored("nobody reads annotations here")),
    ("attach", Ignored("nothing is attached; see kc logs -f")),
    (
        "blkio_config",
        Refused(
            "the disk is not shared out by weights",
            "remove it if you can do without",
        ),
    ),
    ("build", Taken),
    ("cap_add", Taken),
    (
        "cap_drop",
        Refused("containers have the engine's usual capabilities", WEAKER),
    ),
    (
        "cgroup",
        Refused("the engine chooses the cgroup", "leave it out"),
    ),
    (
        "cgroup_parent",
        Refused("the engine chooses the cgroup", "leave it out"),
    ),
    ("command", Taken),
    ("configs", Taken),
    (
        "container_name",
        Ignored(
            "containers are called after project, service and replica; kc get instances lists them",
        ),
    ),
    ("cpu_count", Refused("this is for Windows", "write cpus")),
    ("cpu_percent", Refused("this is for Windows", "write cpus")),
    (
        "cpu_period",
        Refused("periods and quotas are not set one by one", "write cpus"),
    ),
    (
        "cpu_quota",
        Refused("periods and quotas are not set one by one", "write cpus"),
    ),
    (
        "cpu_rt_period",
        Refused(
            "there is no real-time scheduling in containers",
            "remove it if you can do without",
        ),
    ),
    (
        "cpu_rt_runtime",
        Refused(
            "there is no real-time scheduling in containers",
            "remove it if you can do without",
        ),
    ),
    (
        "cpu_shares",
        Ignored("shares are not weighed; cpus is what counts"),
    ),
    ("cpus", Taken),
    (
        "cpuset",
        Refused(
            "containers are not bound to cores",
            "write cpus for how much of the box it may take",
        ),
    ),
    (
        "credential_spec",
        Refused("this is for Windows", "leave it out"),
    ),
    ("depends_on", Taken),
    ("deploy", Taken),
    ("develop", Ignored("nothing is watched or rebuilt here")),
    (
        "device_cgroup_rules",
        Refused(
            "classes of devices are not opened",
            "name the devices with devices",
        ),
    ),
    ("devices", Taken),
    (
        "dns",
        Refused(
            "containers ask whom the engine asks",
            "mount a file at /etc/resolv.conf with configs",
        ),
    ),
    (
        "dns_opt",
        Refused(
            "containers ask whom the engine asks",
            "mount a file at /etc/resolv.conf with configs",
        ),
    ),
    (
        "dns_search",
        Refused(
            "containers ask whom the engine asks",
            "mount a file at /etc/resolv.conf with configs",
        ),
    ),
    (
        "domainname",
        Refused(
            "there are no domain names",
            "write the whole name as hostname",
        ),
    ),
    ("entrypoint", Taken),
    ("env_file", Taken),
    ("environment", Taken),
    ("expose", Taken),
    (
        "extends",
        Refused(
            "services are not made from other files or services",
            "use a YAML anchor, or write one file with `docker compose config`",
        ),
    ),
    (
        "external_links",
        Refused(
            "containers are not linked",
            "use addresses of kc get services",
        ),
    ),
    (
        "extra_hosts",
        Refused(
            "names are not added",
            "mount a file at /etc/hosts with configs",
        ),
    ),
    (
        "gpus",
        Refused(
            "GPUs are not handed to containers",
            "name the devices with devices, such as /dev/dri",
        ),
    ),
    ("group_add", Taken),
    ("healthcheck", Taken),
    ("hostname", Taken),
    ("image", Taken),
    (
        "init",
        Refused(
            "no init runs in containers",
            "take an image that brings tini or the like as its entrypoint",
        ),
    ),
    (
        "ipc",
        Refused("no memory is shared between containers", "leave it out"),
    ),
    ("isolation", Refused("this is for Windows", "leave it out")),
    (
        "label_file",
        Refused("labels are not read from files", "write labels"),
    ),
    ("labels", Taken),
    (
        "links",
        Refused(
            "containers are not linked",
            "leave it out; depends_on orders them, kc get services tells addresses",
        ),
    ),
    (
        "logging",
        Ignored("the engine keeps 20 MB of each container; see kc logs"),
    ),
    (
        "mac_address",
        Refused("addresses are the cluster's to give", "leave it out"),
    ),
    ("mem_limit", Taken),
    (
        "mem_reservation",
        Ignored("memory is reserved by the limit; write mem_limit"),
    ),
    ("mem_swappiness", Ignored("containers do not swap")),
    ("memswap_limit", Ignored("containers do not swap")),
    ("models", Refused("models are not run", "leave them out")),
    ("network_mode", Taken),
    ("networks", Taken),
    (
        "oom_kill_disable",
        Refused(
            "what takes more than its limit is ended",
            "leave it out, or write a larger mem_limit",
        ),
    ),
    (
        "oom_score_adj",
        Refused("the kernel chooses whom it ends", "write mem_limit"),
    ),
    (
        "pid",
        Refused("containers see their own processes only", "leave it out"),
    ),
    ("pids_limit", Refused("processes are not counted", WEAKER)),
    ("platform", Taken),
    ("ports", Taken),
    (
        "post_start",
        Refused("nothing is run besides", "put it into the entrypoint"),
    ),
    (
        "pre_stop",
        Refused("nothing is run besides", "let the program act on SIGTERM"),
    ),
    (
        "privileged",
        Refused(
            "containers are never privileged",
            "name what it needs: cap_add, and devices",
        ),
    ),
    ("profiles", Taken),
    (
        "provider",
        Refused("only containers are run", "leave it out"),
    ),
    ("pull_policy", Taken),
    ("read_only", Taken),
    ("restart", Taken),
    (
        "runtime",
        Refused("the engine chooses the runtime", "leave it out"),
    ),
    ("scale", Taken),
    ("secrets", Taken),
    (
        "security_opt",
        Refused("profiles of the engine hold", WEAKER),
    ),
    ("shm_size", Taken),
    (
        "stdin_open",
        Ignored("nobody types into a service; kc exec -it opens a terminal"),
    ),
    ("stop_grace_period", Taken),
    (
        "stop_signal",
        Refused(
            "containers get the signal that their image names, SIGTERM otherwise",
            "build it into the image with STOPSIGNAL",
        ),
    ),
    (
        "storage_opt",
        Refused("layers have no size of their own", "leave it out"),
    ),
    ("sysctls", Taken),
    ("tmpfs", Taken),
    (
        "tty",
        Ignored("nobody types into a service; kc exec -it opens a terminal"),
    ),
    (
        "ulimits",
        Refused(
            "limits are the engine's",
            "set default-ulimits in the box's /etc/docker/daemon.json",
        ),
    ),
    (
        "use_api_socket",
        Refused(
            "the engine is not handed over",
            "mount /var/run/docker.sock if it must be",
        ),
    ),
    ("user", Taken),
    (
        "userns_mode",
        Refused("namespaces are the engine's", "leave it out"),
    ),
    (
        "uts",
        Refused("containers have a name of their own", "leave it out"),
    ),
    ("volumes", Taken),
    (
        "volumes_from",
        Refused(
            "volumes are not taken from others",
            "name the volume in both services",
        ),
    ),
    ("working_dir", Taken),
];
