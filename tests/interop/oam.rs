//! tshark reads what is not a user's packet: echoes, questions for life and their answers, and the
//! context headers that a classifier puts on.

use crate::site::Site;
use crate::wire::Capture;
use kc_forwarder_api::Echo;
use kc_tests::lab::Forwarder;

/// A path from port to port over a tunnel that is asked for life; context headers are put on.
fn tables(local: u8, remote: u8, port: &str) -> String {
    let (out, back) = if local == 1 { (100, 101) } else { (101, 100) };
    format!(
        r#"
        [underlay]
        address = "192.168.50.{local}"
        mtu = 1700
        [[ports]]
        name = "{port}"
        [[tunnels]]
        name = "peer"
        transport = {{ vxlan-gpe = {{ remote = "192.168.50.{remote}", vni = 100 }} }}
        liveness = {{ interval-ms = 100 }}
        [[rules]]
        name = "all"
        match = {{ port = "{port}" }}
        [rules.action.path]
        spi = {out}
        si = 255
        [rules.action.path.metadata.md2]
        headers = [
            {{ class = 0x0101, type = 5, value = "6162636465" }},
            {{ class = 0xfff6, type = 255, value = "" }},
        ]
        [[paths]]
        spi = {out}
        reverse = {back}
        hops = [{{ si = 255, to = {{ tunnel = {{ name = "peer" }} }} }}]
        [[paths]]
        spi = {back}
        hops = [{{ si = 255, to = {{ egress = {{ port = "{port}" }} }} }}]
        "#
    )
}

#[test]
fn tshark_reads_echoes_and_questions_for_life() {
    let Some(site) = Site::build() else { return };
    site.bridge();
    let first = Forwarder::start(&site.lab, &site.first, "first", &tables(1, 3, "c0"));
    let _last = Forwarder::start(&site.lab, &site.last, "last", &tables(3, 1, "s0"));
    site.ping();
    let echo: Echo = serde_json::from_str(r#"{"spi":100}"#).unwrap();
    let capture = Capture::start(&site.lab, &site.middle, "br0", "udp port 4790", 100);
    let frames = capture.fill(|| {
        site.ping();
        assert!(first.client().echo(echo.clone()).unwrap().is_some());
    });
    let frames = frames.decode_as("udp.port==4790,vxlan_gpe");
    assert_eq!(frames.complaints(), Vec::<String>::new());
    // The O bit is on what we say of our own, and on nothing of a user's.
    let fields = ["nsh.Obit", "nsh.nextproto", "nsh.spi"];
    let lines = frames.fields("nsh", &fields);
    let users = lines
        .iter()
        .filter(|line| line[1] == "3" || line[1] == "0x03");
    assert!(
        users.clone().count() > 6
            && users
                .clone()
                .all(|line| line[0] == "0" || line[0] == "0x0000"),
        "{lines:?}"
    );
    assert!(lines.len() > users.clone().count() + 4, "{lines:?}");
    let own = frames.fields("nsh.Obit == 1 || nsh.Obit == 0x2000", &fields);
    assert_eq!(own.len(), lines.len() - users.count(), "{lines:?}");
    let context = frames.fields("icmp", &["nsh.metadataclass", "nsh.metadatalen"]);
    assert!(
        !context.is_empty()
            && context
                .iter()
                .all(|line| line[0].ends_with("101") || line[0] == "257"),
        "{context:?}"
    );
}
