//! A client and a server, and two boxes of which either may run a forwarder, on an underlay with
//! a third party between them.

use kc_tests::lab::{Forwarder, Lab, Namespace, Tcp, unexpected_drops};

/// client e0 - c0 [first] u0 - u1 [middle] u3 - u0 [last] s0 - e0 server
pub(crate) struct Site {
    /// Has 192.168.2.1 and fd02::1.
    pub(crate) client: Namespace,
    /// Has 192.168.50.1 and fd50::1 on the underlay.
    pub(crate) first: Namespace,
    /// Joins both sides, by whatever means.
    pub(crate) middle: Namespace,
    /// Has 192.168.50.3 and fd50::3 on the underlay.
    pub(crate) last: Namespace,
    /// Has 192.168.2.2 and fd02::2.
    pub(crate) server: Namespace,
    /// Where all of this is.
    pub(crate) lab: Lab,
}

impl Site {
    /// The site, unless this machine allows none. The underlay takes IP packets of 1700 octets,
    /// and does without the offloads that an emulated wire does not undo.
    pub(crate) fn build() -> Option<Self> {
        let lab = Lab::open()?;
        let [client, first, middle, last, server] = [(); 5].map(|()| lab.namespace());
        client.join("e0", &first, "c0");
        first.join("u0", &middle, "u1");
        last.join("u0", &middle, "u3");
        server.join("e0", &last, "s0");
        for (namespace, interface) in [
            (&first, "u0"),
            (&middle, "u1"),
            (&middle, "u3"),
            (&last, "u0"),
        ] {
            namespace.run(&format!("ip link set {interface} mtu 1700"));
            plain(namespace, interface);
        }
        for (namespace, number) in [(&first, 1), (&last, 3)] {
            namespace.address("u0", &format!("192.168.50.{number}/24"));
            namespace.address("u0", &format!("fd50::{number}/64"));
        }
        for (namespace, number) in [(&client, 1), (&server, 2)] {
            namespace.address("e0", &format!("192.168.2.{number}/24"));
            namespace.address("e0", &format!("fd02::{number}/64"));
        }
        Some(Self {
            client,
            first,
            middle,
            last,
            server,
            lab,
        })
    }

    /// Makes the middle a bridge, which has 192.168.50.2 and fd50::2 itself.
    pub(crate) fn bridge(&self) {
        let middle = &self.middle;
        middle.run("ip link add br0 mtu 1700 type bridge mcast_snooping 0");
        for port in ["u1", "u3"] {
            middle.run(&format!("ip link set {port} master br0"));
        }
        middle.run("ip link set br0 up");
        for address in ["192.168.50.2/24", "fd50::2/64"] {
            middle.address("br0", address);
        }
    }

    /// Moves the client from the first box to the middle, as `c1`.
    pub(crate) fn move_client(&self) {
        self.client.run("ip link delete e0");
        self.client.join("e0", &self.middle, "c1");
        self.client.address("e0", "192.168.2.1/24");
        self.client.address("e0", "fd02::1/64");
    }

    /// Three answers in ten seconds, from the server by both families.
    pub(crate) fn ping(&self) {
        for address in ["192.168.2.2", "fd02::2"] {
            self.client
                .run(&format!("ping -n -c 3 -i 0.02 -w 10 {address}"));
        }
    }

    /// Octets both ways over TCP, each checked.
    pub(crate) fn bulk(&self, what: &str, address: &str, octets: usize) {
        let server = Tcp::serve(&self.server, address);
        println!(
            "{what}, {address}: {}",
            Tcp::exchange(&self.client, address, octets)
        );
        drop(server);
    }
}

/// Takes away the offloads by which a frame is on a wire that no wire would carry.
pub(crate) fn plain(namespace: &Namespace, interface: &str) {
    namespace.run(&format!(
        "ethtool -K {interface} tx off tso off gso off gro off"
    ));
}

/// Nothing was dropped.
#[track_caller]
pub(crate) fn lossless(forwarders: &[&Forwarder]) {
    for forwarder in forwarders {
        let drops = unexpected_drops(&forwarder.counters(), &[]);
        assert!(drops.is_empty(), "{drops:?}");
    }
}

/// A VXLAN-GPE tunnel as tables have it.
pub(crate) fn tunnel(name: &str, remote: &str, vni: u32) -> String {
    format!(
        r#"
        [[tunnels]]
        name = "{name}"
        transport = {{ vxlan-gpe = {{ remote = "{remote}", vni = {vni} }} }}
        "#
    )
}
