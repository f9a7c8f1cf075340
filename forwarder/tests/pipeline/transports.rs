//! Every transport between SFFs in one path.

use crate::frames::{WEB, nsh};
use crate::world::{World, only};

/// Box `k` of a path that has another transport at each of its hops.
fn mixed(number: usize) -> World {
    let at = |part: &str, hop: &str| {
        World::new(&format!(
            "{part}\n[[paths]]\nspi = 5\nhops = [{{ si = 255, to = {hop} }}]\n"
        ))
    };
    let next = "{ tunnel = { name = \"next\" } }";
    match number {
        1 => at(
            r#"
            ports = [{ name = "client" }]
            underlay = { address = "192.168.50.1" }
            rules = [{ name = "in", match = { port = "client" }, action = { path = { spi = 5, si = 255 } } }]
            tunnels = [{ name = "next", transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 1, port = 4791 } } }]
            "#,
            next,
        ),
        2 => at(
            r#"
            underlay = { address = ["192.168.50.2", "fd00::2"], gpe-port = 4791 }
            [[tunnels]]
            name = "next"
            transport = { vxlan-gpe = { remote = "fd00::3", vni = 2 } }
            [[tunnels]]
            name = "former"
            transport = { vxlan-gpe = { remote = "192.168.50.1", vni = 1 } }
            "#,
            next,
        ),
        3 => at(
            r#"
            ports = [{ name = "lan" }]
            underlay = { address = "fd00::3", gpe-port = 4791 }
            [[tunnels]]
            name = "next"
            transport = { ethernet = { port = "lan", next-hop = "02:ff:00:00:00:00" } }
            [[tunnels]]
            name = "former"
            transport = { vxlan-gpe = { remote = "fd00::2", vni = 2 } }
            "#,
            next,
        ),
        4 => at(
            r#"
            ports = [{ name = "lan" }, { name = "trunk" }]
            [[tunnels]]
            name = "former"
            transport = { ethernet = { port = "lan", next-hop = "02:00:00:00:00:03" } }
            [[tunnels]]
            name = "next"
            transport = { ethernet = { port = "trunk", next-hop = "02:ff:00:00:00:00", vlan = 4094 } }
            "#,
            next,
        ),
        _ => at(
            r#"
            ports = [{ name = "trunk" }, { name = "server" }]
            tunnels = [{ name = "former", transport = { ethernet = { port = "trunk", next-hop = "02:00:00:00:00:04", vlan = 4094 } } }]
            "#,
            "{ egress = { port = \"server\" } }",
        ),
    }
}

#[test]
fn one_path_may_use_every_transport() {
    let frame = WEB.udp(b"unchanged");
    let packet = only(mixed(1).port("client", &frame), "gpe 192.168.50.2");
    let packet = only(mixed(2).gpe("192.168.50.1", &packet), "gpe fd00::3");
    assert_eq!(packet[4..8], [0, 0, 2, 0], "the next tunnel's VNI");
    let packet = only(mixed(3).gpe("fd00::2", &packet), "lan");
    assert_eq!(packet[12..14], [0x89, 0x4f]);
    let packet = only(mixed(4).port("lan", &packet), "trunk");
    assert_eq!(packet[12..18], [0x81, 0, 0x0f, 0xfe, 0x89, 0x4f]);
    // Four SFFs behind the classifier's: the TTL fell by one at each but the last's look-up.
    assert_eq!(packet[18..], nsh(5, 255, 60, [0; 16], &frame));
    assert_eq!(only(mixed(5).port("trunk", &packet), "server"), frame);
}
