//! Open vSwitch in a service path over VXLAN-GPE: between two SFFs of ours, and at both ends.

use crate::open_vswitch::OpenVswitch;
use crate::site::{Site, lossless, plain, tunnel};
use crate::wire::{Capture, service_paths};
use kc_tests::lab::Forwarder;

/// What a tunnel of Open vSwitch needs to be one of NSH in VXLAN-GPE.
const GPE: &str = "type=vxlan options:exts=gpe options:packet_type=ptap options:dst_port=4790 \
                   options:key=flow options:csum=true";

/// A forwarder between `port` and a tunnel: what enters by the port goes out on path `out`; path
/// `back`, which arrives with SI `arrives`, ends at the port.
fn end(local: &str, remote: &str, port: &str, (out, back, arrives): (u32, u32, u8)) -> String {
    format!(
        r#"
        [underlay]
        address = "{local}"
        mtu = 1700
        [[ports]]
        name = "{port}"
        {}
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
        "#,
        tunnel("ovs", remote, 100)
    )
}

/// The switch as SFF and function: SI and TTL fall by one, the tunnels are changed.
fn between(prefix: &str) {
    let Some(site) = Site::build() else { return };
    let Some(ovs) = OpenVswitch::start(&site.lab, &site.middle) else {
        return;
    };
    ovs.underlay("br-u", &["192.168.50.2/24", "fd50::2/64"], &["u1", "u3"]);
    site.middle.run("ip link set br-u mtu 1700");
    ovs.bridge("br-int");
    for number in [1, 3] {
        ovs.configure(&format!(
            "add-port br-int vx{number} -- set interface vx{number} {GPE} \
             options:remote_ip={prefix}{number} ofport_request={number}"
        ));
    }
    for (from, to, spi) in [(1, 3, 100), (3, 1, 101)] {
        ovs.flow(
            "br-int",
            &format!(
                "in_port={from},packet_type=(1,0x894f),nsh_spi={spi},nsh_si=255,\
             actions=dec_nsh_ttl,set_field:254->nsh_si,set_field:100->tun_id,output:{to}"
            ),
        );
    }
    let (switch, near, far) = (
        format!("{prefix}2"),
        format!("{prefix}1"),
        format!("{prefix}3"),
    );
    let first = end(&near, &switch, "c0", (100, 101, 254));
    let first = Forwarder::start(&site.lab, &site.first, "first", &first);
    let last = end(&far, &switch, "s0", (101, 100, 254));
    let last = Forwarder::start(&site.lab, &site.last, "last", &last);
    site.ping();

    let capture = Capture::start(&site.lab, &site.last, "u0", "udp port 4790", 24);
    let frames = capture.fill(|| site.ping());
    let paths = service_paths(&frames, "nsh");
    assert!(
        paths.contains(&(100, 254, 62)) && paths.contains(&(101, 255, 63)),
        "{paths:?}"
    );
    assert!(
        paths
            .iter()
            .all(|path| matches!(path, (100, 254, 62) | (101, 255, 63))),
        "{paths:?}"
    );

    site.bulk("through Open vSwitch", "192.168.2.2", 2 << 20);
    site.bulk("through Open vSwitch", "fd02::2", 2 << 20);
    lossless(&[&first, &last]);
}

#[test]
fn open_vswitch_is_an_sff_between_ours_over_gpe() {
    between("192.168.50.");
}

#[test]
fn open_vswitch_is_an_sff_between_ours_over_gpe_on_ipv6() {
    between("fd50::");
}

#[test]
fn open_vswitch_classifies_and_ends_paths_over_gpe() {
    let Some(site) = Site::build() else { return };
    site.move_client();
    plain(&site.client, "e0");
    let Some(ovs) = OpenVswitch::start(&site.lab, &site.middle) else {
        return;
    };
    ovs.underlay("br-u", &["192.168.50.2/24"], &["u3"]);
    site.middle.run("ip link set br-u mtu 1700");
    ovs.bridge("br-int");
    ovs.configure("add-port br-int c1 -- set interface c1 ofport_request=1");
    ovs.configure(&format!(
        "add-port br-int vx3 -- set interface vx3 {GPE} \
         options:remote_ip=192.168.50.3 ofport_request=3"
    ));
    ovs.flow(
        "br-int",
        "in_port=1,actions=encap(nsh(md_type=1)),set_field:200->nsh_spi,\
        set_field:255->nsh_si,set_field:0xdeadbeef->nsh_c1,set_field:100->tun_id,output:3",
    );
    ovs.flow(
        "br-int",
        "in_port=3,packet_type=(1,0x894f),nsh_spi=201,nsh_si=255,\
        actions=decap(),output:1",
    );
    let last = end("192.168.50.3", "192.168.50.2", "s0", (201, 200, 255));
    let last = Forwarder::start(&site.lab, &site.last, "last", &last);
    site.ping();

    let capture = Capture::start(&site.lab, &site.last, "u0", "udp port 4790", 24);
    let frames = capture.fill(|| site.ping());
    let paths = service_paths(&frames, "nsh");
    assert!(
        paths.contains(&(200, 255, 63)) && paths.contains(&(201, 255, 63)),
        "{paths:?}"
    );

    site.bulk("from and to Open vSwitch", "192.168.2.2", 2 << 20);
    site.bulk("from and to Open vSwitch", "fd02::2", 2 << 20);
    lossless(&[&last]);
}
