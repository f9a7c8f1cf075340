//! A plain-VXLAN segment against the kernel's own vxlan device, both ways.

use kc_forwarder_api::Backend;
use kc_tests::lab::{Forwarder, Lab, Tcp, unexpected_drops};

fn against_the_kernel(backend: Backend) {
    let Some(lab) = Lab::open() else { return };
    let (host, ours, theirs) = (lab.namespace(), lab.namespace(), lab.namespace());
    host.join("e0", &ours, "p0");
    ours.join("u0", &theirs, "u0");
    for namespace in [&ours, &theirs] {
        namespace.run("ip link set u0 mtu 1500");
    }
    ours.address("u0", "192.168.50.1/24");
    theirs.address("u0", "192.168.50.2/24");
    theirs.run(
        "ip link add vx0 type vxlan id 7 dstport 4789 local 192.168.50.2 remote 192.168.50.1 dev u0",
    );
    theirs.run("ip link set vx0 up");
    host.address("e0", "10.7.0.1/24");
    host.address("e0", "fd07::1/64");
    theirs.address("vx0", "10.7.0.2/24");
    theirs.address("vx0", "fd07::2/64");
    let tables = format!(
        r#"
        [underlay]
        address = "192.168.50.1"
        [[ports]]
        name = "p0"
        backend = "{backend}"
        [[segments]]
        vni = 7
        ports = ["p0"]
        peers = ["192.168.50.2"]
        "#
    );
    let forwarder = Forwarder::start(&lab, &ours, "segment", &tables);
    for line in [
        "ping -n -c 3 -i 0.05 -w 10 10.7.0.2",
        "ping -n -c 3 -i 0.05 -w 10 fd07::2",
    ] {
        host.run(line);
    }
    theirs.run("ping -n -c 3 -i 0.05 -w 10 10.7.0.1");

    let _server = Tcp::serve(&theirs, "10.7.0.2");
    println!(
        "{backend}, from the forwarder: {}",
        Tcp::exchange(&host, "10.7.0.2", 4 << 20)
    );
    let _server = Tcp::serve(&host, "fd07::1");
    println!(
        "{backend}, from the kernel: {}",
        Tcp::exchange(&theirs, "fd07::1", 4 << 20)
    );

    let counters = forwarder.counters();
    let drops = unexpected_drops(&counters, &[]);
    assert!(drops.is_empty(), "{drops:?}");
    assert!(counters.tunnels[0].rx_packets > 0 && counters.tunnels[0].tx_packets > 0);
}

#[test]
fn packet_backend_and_the_kernels_vxlan_understand_each_other() {
    against_the_kernel(Backend::Packet);
}

#[test]
fn pnet_backend_and_the_kernels_vxlan_understand_each_other() {
    against_the_kernel(Backend::Pnet);
}
