//! Congestion marks out of a tunnel, beside the kernel's own: whatever is marked outside and
//! inside, we and the kernel deliver the same.

use crate::kernel_vxlan::device;
use crate::scapy::{scapy, told};
use crate::site::Site;
use crate::wire::Capture;
use kc_tests::lab::{Forwarder, Namespace};
use std::collections::BTreeSet;

/// Every pair of marks, to both VTEPs, with another DSCP outside than inside: the port says which.
const MARKED: &str = r"
import socket
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
frame = Ether(dst='ff:ff:ff:ff:ff:ff', src='02:00:00:00:00:22')
for outer in range(4):
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 46 << 2 | outer)
    wire.bind(('192.168.50.2', 0))
    for inner in range(4):
        port = UDP(dport=9000 + 10 * outer + inner)
        four = frame / IP(src='192.0.2.1', dst='192.0.2.2', tos=10 << 2 | inner) / port
        six = frame / IPv6(src='2001:db8::1', dst='2001:db8::2', tc=10 << 2 | inner) / port
        for packet in four, six:
            for vtep in '192.168.50.1', '192.168.50.3':
                wire.sendto(bytes(VXLAN(flags=8, vni=7)) + bytes(packet), (vtep, 4789))
";

/// What reaches `host`, as (port, traffic class).
fn delivered(site: &Site, host: &Namespace, name: &str) -> BTreeSet<[String; 3]> {
    let filter = "udp portrange 9000-9040";
    let capture = Capture::start_as(&site.lab, host, "e0", filter, 62, name);
    let frames = capture.fill(|| drop(told(scapy(&site.middle, MARKED))));
    let fields = ["udp.dstport", "ip.dsfield", "ipv6.tclass"];
    let lines = frames.fields("udp", &fields);
    lines
        .into_iter()
        .map(|line| line.try_into().unwrap())
        .collect()
}

#[test]
fn congestion_marks_leave_a_tunnel_as_the_kernel_has_them() {
    let Some(site) = Site::build() else { return };
    site.bridge();
    device(
        &site.last,
        "u0",
        7,
        4789,
        "192.168.50.3",
        &["192.168.50.2".to_owned()],
    );
    site.last
        .run("ip link add br7 type bridge mcast_snooping 0");
    for member in ["vx7", "s0"] {
        site.last.run(&format!("ip link set {member} master br7"));
    }
    site.last.run("ip link set br7 up");
    let tables = r#"
        [underlay]
        address = "192.168.50.1"
        mtu = 1700
        [[ports]]
        name = "c0"
        [[segments]]
        vni = 7
        ports = ["c0"]
        peers = ["192.168.50.2"]
    "#;
    let _forwarder = Forwarder::start(&site.lab, &site.first, "first", tables);
    let ours = delivered(&site, &site.client, "ours");
    let kernels = delivered(&site, &site.server, "kernels");
    assert_eq!(ours, kernels);
    // Fifteen pairs of sixteen in both families: one is a loss, for who would not understand.
    assert_eq!(ours.len(), 30);
}
