//! Open vSwitch in a service path over Ethernet of type 0x894F: between two SFFs of ours, one of
//! which is in a VLAN, and at both ends. Its box's kernel is who is found by ARP and neighbour
//! discovery.

use crate::open_vswitch::OpenVswitch;
use crate::site::{Site, plain};
use crate::wire::{Capture, number};
use kc_tests::lab::{Forwarder, Namespace, unexpected_drops};

/// A forwarder between `port` and a LAN, by a tunnel as TOML has it: what enters by the port goes
/// out on path `out`; path `back`, which arrives with SI `arrives`, ends at the port.
fn end(own: &str, hop: &str, port: &str, (out, back, arrives): (u32, u32, u8)) -> String {
    format!(
        r#"
        [[ports]]
        name = "{port}"
        [[ports]]
        name = "u0"
        addresses = [{own}]
        [[tunnels]]
        name = "ovs"
        transport = {{ ethernet = {{ port = "u0", {hop} }} }}
        [[rules]]
        name = "all"
        match = {{ port = "{port}" }}
        action = {{ path = {{ spi = {out}, si = 255 }} }}
        [[paths]]
        spi = {out}
        hops = [{{ si = 255, to = {{ tunnel = {{ name = "ovs" }} }} }}]
        [[paths]]
        spi = {back}
        hops = [{{ si = {arrives}, to = {{ egress = {{ port = "{port}" }} }} }}]
        "#
    )
}

/// What the stations of the LAN say to each other is nobody's here; nothing else was lost.
fn only_strangers_dropped(forwarder: &Forwarder) {
    let drops = unexpected_drops(&forwarder.counters(), &["no-match"]);
    assert!(drops.is_empty(), "{drops:?}");
}

fn mac(namespace: &Namespace, interface: &str) -> String {
    let line = namespace.run(&format!("ip -brief link show {interface}"));
    line.split_whitespace().nth(2).unwrap().to_owned()
}

/// The switch with its bridge on both LANs: a bridge for everything but NSH.
fn switch<'a>(site: &'a Site, ports: &[&str]) -> Option<OpenVswitch<'a>> {
    let ovs = OpenVswitch::start(&site.lab, &site.middle)?;
    ovs.underlay("br-lan", &["192.168.60.2/24"], ports);
    site.middle.run("ip link set br-lan mtu 1700");
    ovs.configure("add-port br-lan lan7 tag=7 -- set interface lan7 type=internal");
    site.middle.run("ip link set lan7 up");
    site.middle.address("lan7", "fd67::2/64");
    Some(ovs)
}

#[test]
fn open_vswitch_is_an_sff_between_ours_over_ethernet_with_and_without_a_vlan() {
    let Some(site) = Site::build() else { return };
    let Some(ovs) = switch(&site, &["u1", "u3"]) else {
        return;
    };
    let (own, near, far) = (
        mac(&site.middle, "br-lan"),
        mac(&site.first, "u0"),
        mac(&site.last, "u0"),
    );
    let [one, three] = ["u1", "u3"].map(|port| ovs.number(port));
    let through = "dec_nsh_ttl,set_field:254->nsh_si";
    ovs.flow(
        "br-lan",
        &format!(
            "priority=40000,in_port={one},dl_type=0x894f,nsh_spi=100,nsh_si=255,actions={through},\
         set_field:{own}->eth_src,set_field:{far}->eth_dst,\
         push_vlan:0x8100,set_field:4103->vlan_vid,output:{three}"
        ),
    );
    ovs.flow(
        "br-lan",
        &format!(
            "priority=40000,in_port={three},dl_vlan=7,dl_type=0x894f,nsh_spi=101,nsh_si=255,\
         actions=pop_vlan,{through},set_field:{own}->eth_src,set_field:{near}->eth_dst,output:{one}"
        ),
    );
    let first = end(
        "\"192.168.60.1\"",
        "next-hop = \"192.168.60.2\"",
        "c0",
        (100, 101, 254),
    );
    let first = Forwarder::start(&site.lab, &site.first, "first", &first);
    let last = end(
        "\"fd67::3\"",
        "next-hop = \"fd67::2\", vlan = 7",
        "s0",
        (101, 100, 254),
    );
    let last = Forwarder::start(&site.lab, &site.last, "last", &last);
    site.ping();

    let filter = "ether proto 0x894f or vlan";
    let capture = Capture::start(&site.lab, &site.last, "u0", filter, 24);
    let frames = capture.fill(|| site.ping());
    let fields = ["nsh.spi", "nsh.si", "nsh.ttl", "vlan.id", "eth.dst"];
    for line in frames.fields("nsh", &fields) {
        let path = [number(&line[0]), number(&line[1]), number(&line[2])];
        match path {
            [100, 254, 62] => assert_eq!((line[3].as_str(), &line[4]), ("7", &far)),
            [101, 255, 63] => assert_eq!((line[3].as_str(), &line[4]), ("7", &own)),
            _ => panic!("{line:?}"),
        }
    }
    site.bulk("through Open vSwitch on Ethernet", "192.168.2.2", 2 << 20);
    site.bulk("through Open vSwitch on Ethernet", "fd02::2", 2 << 20);
    for forwarder in [&first, &last] {
        only_strangers_dropped(forwarder);
    }
}

#[test]
fn open_vswitch_classifies_and_ends_paths_over_ethernet() {
    let Some(site) = Site::build() else { return };
    site.move_client();
    plain(&site.client, "e0");
    let Some(ovs) = switch(&site, &["u3", "c1"]) else {
        return;
    };
    let (own, far) = (mac(&site.middle, "br-lan"), mac(&site.last, "u0"));
    let [one, three] = ["c1", "u3"].map(|port| ovs.number(port));
    ovs.flow(
        "br-lan",
        &format!(
            "priority=40000,in_port={one},actions=encap(nsh(md_type=2)),set_field:200->nsh_spi,\
         set_field:255->nsh_si,encap(ethernet),set_field:{own}->eth_src,set_field:{far}->eth_dst,\
         output:{three}"
        ),
    );
    ovs.flow(
        "br-lan",
        &format!(
            "priority=40000,in_port={three},dl_type=0x894f,nsh_spi=201,nsh_si=255,\
         actions=decap(),decap(),output:{one}"
        ),
    );
    let hop = format!("next-hop = \"{own}\"");
    let last = end("\"192.168.60.3\"", &hop, "s0", (201, 200, 255));
    let last = Forwarder::start(&site.lab, &site.last, "last", &last);
    site.ping();
    site.bulk(
        "from and to Open vSwitch on Ethernet",
        "192.168.2.2",
        2 << 20,
    );
    site.bulk("from and to Open vSwitch on Ethernet", "fd02::2", 2 << 20);
    only_strangers_dropped(&last);
}
