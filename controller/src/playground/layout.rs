//! Where everything of a playground lives: names, addresses and paths, derived from the number
//! of boxes. Pure; makes nothing.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Everything short-lived: journal, sockets, logs.
pub(super) const RUN: &str = "/run/kcluster-playground";
/// Everything large: images, containers, the controller's store.
pub(super) const DATA: &str = "/var/tmp/kcluster-playground";
/// What all our namespaces, and the cgroups of our containers, begin with.
pub(super) const PREFIX: &str = "kcpg-";
/// Namespace of the bridge that plays the switch between the boxes.
pub(super) const LAN: &str = "kcpg-lan";
/// Namespace of broker and controller.
pub(super) const HUB: &str = "kcpg-hub";
/// Namespace that requests come from.
pub(super) const CLIENT: &str = "kcpg-client";
/// Namespace that answers.
pub(super) const SERVER: &str = "kcpg-server";
/// Where broker and controller are on the underlay.
pub(super) const HUB_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 254);
/// The underlay's prefix.
pub(super) const UNDERLAY: &str = "192.168.50.0/24";
/// The client's address behind box 1.
pub(super) const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The server's address behind the last box.
pub(super) const SERVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// What the NAT of the example chain makes of the client's address.
pub(super) const NAT_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// MQTT port of the broker.
pub(super) const BROKER_PORT: u16 = 1883;
/// The image that holds `kc-function`.
pub(super) const IMAGE: &str = "kcluster/function:latest";
/// The MQTT domain.
pub(super) const DOMAIN: &str = "lab";

/// One simulated box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Site {
    /// `box1`, `box2` …
    pub(super) name: String,
    /// VTEP.
    pub(super) address: Ipv4Addr,
}

impl Site {
    /// Box number `k`, counted from 1.
    pub(super) fn new(k: u8) -> Self {
        Self {
            name: format!("box{k}"),
            address: Ipv4Addr::new(192, 168, 50, k),
        }
    }

    /// Its network namespace.
    pub(super) fn namespace(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// Sockets, pid files and scratch space of its daemons.
    pub(super) fn run(&self) -> PathBuf {
        Path::new(RUN).join(&self.name)
    }

    /// Images and state of its daemons.
    pub(super) fn data(&self) -> PathBuf {
        Path::new(DATA).join(&self.name)
    }

    /// The Docker engine's socket.
    pub(super) fn docker(&self) -> PathBuf {
        self.run().join("docker.sock")
    }

    /// The engine as Docker's `-H` wants it.
    pub(super) fn docker_host(&self) -> String {
        format!("unix://{}", self.docker().display())
    }

    /// The containerd socket.
    pub(super) fn containerd(&self) -> PathBuf {
        self.run().join("containerd.sock")
    }

    /// The forwarder's control socket.
    pub(super) fn forwarder(&self) -> PathBuf {
        self.run().join("forwarder.sock")
    }
}

/// All boxes of a playground.
pub(super) fn sites(boxes: u8) -> Vec<Site> {
    (1..=boxes).map(Site::new).collect()
}

/// Every namespace of a playground, in the order they are made.
pub(super) fn namespaces(boxes: u8) -> Vec<String> {
    let fixed = [LAN, HUB, CLIENT, SERVER].map(str::to_owned);
    let of_boxes = sites(boxes).into_iter().map(|site| site.namespace());
    fixed.into_iter().chain(of_boxes).collect()
}

/// The controller's socket.
pub(super) fn controller_socket() -> PathBuf {
    Path::new(RUN).join("controller.sock")
}

/// Where `kc` finds server and token.
pub(super) fn client_config() -> PathBuf {
    Path::new(RUN).join("kc.toml")
}

/// The handle of a named network namespace.
pub(super) fn namespace_file(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_namespace_carries_the_prefix_that_down_looks_for() {
        let names = namespaces(3);
        assert_eq!(names.len(), 7);
        assert!(names.iter().all(|name| name.starts_with(PREFIX)));
    }

    #[test]
    fn socket_paths_fit_into_a_socket_address() {
        let longest = Site::new(16)
            .run()
            .join("docker/containerd/containerd.sock");
        assert!(longest.as_os_str().len() < 108);
    }
}
