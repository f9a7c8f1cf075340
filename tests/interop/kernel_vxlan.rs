//! The kernel's own vxlan device as peer on overlay segments: learning, flooding and its own ARP,
//! several VNIs with the same addresses in them, other ports, both families.

use crate::site::{Site, lossless};
use crate::wire::Capture;
use kc_tests::lab::{Forwarder, Namespace};

/// A vxlan device of `vni` in `namespace` that reaches the other VTEPs by `interface`.
pub(crate) fn device(
    namespace: &Namespace,
    interface: &str,
    vni: u32,
    port: u16,
    local: &str,
    peers: &[String],
) {
    namespace.run(&format!(
        "ip link add vx{vni} type vxlan id {vni} dstport {port} local {local} dev {interface}"
    ));
    for peer in peers {
        namespace.run(&format!(
            "bridge fdb append 00:00:00:00:00:00 dev vx{vni} dst {peer}"
        ));
    }
    namespace.run(&format!("ip link set vx{vni} up"));
}

/// Segment 7 joins the client to a bridge of the kernel's, where the server is, and to an address
/// of the middle; segment 8 joins another host, which has the client's address, to the middle.
fn segments(prefix: &str, port: u16) {
    let Some(site) = Site::build() else { return };
    site.bridge();
    let other = site.lab.namespace();
    other.join("e0", &site.first, "c8");
    other.address("e0", "192.168.2.1/24");
    let vtep = |number: u8| format!("{prefix}{number}");
    device(&site.last, "u0", 7, port, &vtep(3), &[vtep(1), vtep(2)]);
    site.last
        .run("ip link add br7 type bridge mcast_snooping 0");
    for member in ["vx7", "s0"] {
        site.last.run(&format!("ip link set {member} master br7"));
    }
    site.last.run("ip link set br7 up");
    device(&site.middle, "br0", 7, port, &vtep(2), &[vtep(1), vtep(3)]);
    device(&site.middle, "br0", 8, port, &vtep(2), &[vtep(1)]);
    site.middle.address("vx7", "192.168.2.7/24");
    // One address for each segment, and a table of routes of its own for the second.
    let eighth = site.lab.namespace();
    site.middle.give("vx8", &eighth);
    eighth.address("vx8", "192.168.2.7/24");

    let tables = format!(
        r#"
        [underlay]
        address = "{}"
        mtu = 1700
        vxlan-port = {port}
        [[ports]]
        name = "c0"
        [[ports]]
        name = "c8"
        [[segments]]
        vni = 7
        ports = ["c0"]
        peers = ["{}", "{}"]
        [[segments]]
        vni = 8
        ports = ["c8"]
        peers = ["{}"]
        "#,
        vtep(1),
        vtep(2),
        vtep(3),
        vtep(2),
    );
    let forwarder = Forwarder::start(&site.lab, &site.first, "first", &tables);
    site.ping();
    // Asked by the kernel, not only answered.
    site.server.run("ping -n -c 3 -i 0.02 -w 10 192.168.2.1");
    for host in [&site.client, &other] {
        host.run("ping -n -c 3 -i 0.02 -w 10 192.168.2.7");
    }
    // Whom one segment knows, the other does not.
    let mac = |namespace: &Namespace, device: &str| {
        let line = namespace.run(&format!("ip -brief link show {device}"));
        line.split_whitespace().nth(2).unwrap().to_owned()
    };
    let neighbours = site.client.run("ip neighbour show 192.168.2.7");
    assert!(
        neighbours.contains(&mac(&site.middle, "vx7")),
        "{neighbours}"
    );
    let neighbours = other.run("ip neighbour show 192.168.2.7");
    assert!(neighbours.contains(&mac(&eighth, "vx8")), "{neighbours}");
    let nobody = other.output("ping -n -c 1 -W 1 192.168.2.2");
    assert!(!nobody.status.success(), "the server is in segment 7 only");

    let filter = format!("udp dst port {port}");
    let capture = Capture::start(&site.lab, &site.last, "u0", &filter, 16);
    let frames = capture.fill(|| site.ping());
    let decoded = frames.decode_as(&format!("udp.port=={port},vxlan"));
    let sources = decoded.fields("vxlan", &["udp.srcport", "vxlan.vni", "vxlan.flags"]);
    assert!(!sources.is_empty());
    for line in &sources {
        assert!(line[0].parse::<u16>().unwrap() >= 32_768, "{line:?}");
        assert_eq!((line[1].as_str(), line[2].as_str()), ("7", "0x0800"));
    }
    for address in ["192.168.2.2", "fd02::2"] {
        site.bulk("to the kernel's vxlan", address, 2 << 20);
    }
    lossless(&[&forwarder]);
}

#[test]
fn the_kernels_vxlan_shares_segments_with_us() {
    segments("192.168.50.", 4789);
}

#[test]
fn the_kernels_vxlan_shares_segments_with_us_on_ipv6_and_another_port() {
    segments("fd50::", 8472);
}
