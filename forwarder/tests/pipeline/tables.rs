//! Tables that contradict themselves are refused, and the message says what would be right.

use crate::path::BOX1;
use crate::world::tables;
use kc_forwarder::pipeline::Compiled;

#[track_caller]
fn refused(toml: &str, message: &str) {
    let error = Compiled::new(tables(toml)).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), message);
}

/// BOX1 with one thing written differently.
#[track_caller]
fn changed(from: &str, to: &str, message: &str) {
    assert!(BOX1.contains(from));
    refused(&BOX1.replacen(from, to, 1), message);
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest_one() {
    changed(
        "function = { name = \"fw\" }",
        "function = { name = \"fvv\" }",
        "path 10 at SI 255 refers to function fvv, which the tables do not define; did you mean fw?",
    );
    changed(
        "tunnel = { name = \"box2\" }",
        "tunnel = { name = \"box3\" }",
        "path 10 at SI 254 refers to tunnel box3, which the tables do not define; did you mean box2?",
    );
    changed(
        "outside = \"fw-b\"",
        "outside = \"fw_b\"",
        "function fw refers to port fw_b, which the tables do not define; did you mean fw-b?",
    );
    changed(
        "egress = { port = \"client\" }",
        "segment = { vni = 5 }",
        "path 11 at SI 253 refers to segment 5, which the tables do not define",
    );
    changed(
        "match = { port = \"client\" }",
        "match = { port = \"cleint\" }",
        "rule \"out\" refers to port cleint, which the tables do not define; did you mean client?",
    );
}

#[test]
fn names_and_indices_are_unique() {
    changed(
        "name = \"fw-b\"",
        "name = \"fw-a\"",
        "port fw-a is defined twice; names and VNIs must be unique",
    );
    changed(
        "{ si = 254, to = { tunnel",
        "{ si = 255, to = { tunnel",
        "path 10 has two next hops at SI 255; (SPI, SI) must be unique",
    );
    changed(
        "name = \"fw-b\"",
        "name = \"fw-b\"\ninterface = \"client\"",
        "ports client and fw-b both use interface client; an interface serves one port",
    );
    refused(
        "segments = [{ vni = 5 }, { vni = 5 }]",
        "segment 5 is defined twice; names and VNIs must be unique",
    );
    refused(
        "rules = [{ name = \"a\", action = \"drop\" }, { name = \"a\", action = \"drop\" }]",
        "rule a is defined twice; names and VNIs must be unique",
    );
}

#[test]
fn a_port_has_one_meaning() {
    changed(
        "outside = \"fw-b\"",
        "outside = \"fw-a\"",
        "port fw-a is already a leg of function fw and cannot also be a leg of function fw",
    );
    changed(
        "egress = { port = \"client\" }",
        "egress = { port = \"fw-a\" }",
        "port fw-a is already a leg of function fw and cannot also be the egress of path 11 at SI 253",
    );
    changed(
        "match = { port = \"client\" }",
        "match = { port = \"fw-b\" }",
        "port fw-b is already a leg of function fw and cannot also be the ingress port of rule \"out\"",
    );
    refused(
        "ports = [{ name = \"a\" }]\nsegments = [{ vni = 5, ports = [\"a\"] }, { vni = 6, ports = [\"a\"] }]",
        "port a is already a member of segment 5 and cannot also be a member of segment 6",
    );
}

#[test]
fn tunnels_and_peers_need_an_underlay_of_their_family() {
    changed(
        "[underlay]\n    address = \"192.168.50.1\"",
        "",
        "tunnel box2 needs an underlay, and the tables have none; add [underlay] with this box's VTEP address",
    );
    refused(
        "segments = [{ vni = 5, peers = [\"10.0.0.1\"] }]",
        "segment 5 needs an underlay, and the tables have none; add [underlay] with this box's VTEP address",
    );
    changed(
        "remote = \"192.168.50.2\"",
        "remote = \"fd00::2\"",
        "tunnel box2 leads to fd00::2, but the underlay has no IPv6 address; add one to its list",
    );
    changed(
        "remote = \"192.168.50.2\"",
        "remote = \"192.168.50.1\"",
        "tunnel box2 has VTEP address 192.168.50.1, which must be another box's unicast address",
    );
    changed(
        "address = \"192.168.50.1\"",
        "address = \"0.0.0.0\"",
        "the underlay has VTEP address 0.0.0.0, which must be another box's unicast address",
    );
    changed(
        "address = \"192.168.50.1\"",
        "address = \"192.168.50.1\"\nmtu = 100",
        "the underlay has an MTU of 100; at least 512 octets are needed",
    );
}

#[test]
fn a_path_starts_where_it_has_a_hop_and_ends_before_si_runs_out() {
    changed(
        "spi = 10, si = 255",
        "spi = 10, si = 253",
        "rule \"out\" sends to path 10 at SI 253, which has no next hop here; did you mean SI 255?",
    );
    changed(
        "spi = 10, si = 255",
        "spi = 99, si = 255",
        "rule \"out\" sends to path 99 at SI 255, which has no next hop here",
    );
    changed(
        "{ si = 254, to = { function",
        "{ si = 0, to = { function",
        "path 11 at SI 0 leads to a function, but SI 0 cannot be decremented; start the path at a higher SI",
    );
}

#[test]
fn a_rule_that_can_never_match_is_a_mistake() {
    let with = |matches: &str| {
        format!("rules = [{{ name = \"r\", match = {{ {matches} }}, action = \"drop\" }}]")
    };
    refused(
        &with("vlan = 4095"),
        "rule \"r\" matches VLAN 4095; VLANs are 1 to 4094, and 0 stands for untagged frames",
    );
    refused(
        &with("source = \"10.0.0.0/8\", destination = \"fd00::/8\""),
        "rule \"r\" can never match: source and destination are of different address families",
    );
    refused(
        &with("protocol = \"icmp\", source-ports = 7"),
        "rule \"r\" can never match: only tcp, udp and sctp have ports",
    );
    refused(
        &with("ethertype = 2054, protocol = \"tcp\""),
        "rule \"r\" can never match: the ethertype carries no such IP packet",
    );
    refused(
        &with("ethertype = 0x86dd, source = \"10.0.0.0/8\""),
        "rule \"r\" can never match: the ethertype carries no such IP packet",
    );
}

#[test]
fn static_entries_are_for_members_and_for_single_stations() {
    let with = |entries: &str| {
        format!(
            "ports = [{{ name = \"a\" }}, {{ name = \"b\" }}]\nunderlay = {{ address = \"10.0.0.1\" }}\nsegments = [{{ vni = 5, ports = [\"a\"], entries = [{entries}] }}]"
        )
    };
    refused(
        &with("{ mac = \"02:00:00:00:00:01\", port = \"b\" }"),
        "segment 5 places 02:00:00:00:00:01 behind port b, which is no member of the segment; add it to its ports",
    );
    refused(
        &with("{ mac = \"03:00:00:00:00:01\", port = \"a\" }"),
        "segment 5 has MAC address 03:00:00:00:00:01, which must be a unicast address",
    );
    refused(
        &with(
            "{ mac = \"02:00:00:00:00:01\", port = \"a\" }, { mac = \"02:00:00:00:00:01\", peer = \"10.0.0.2\" }",
        ),
        "segment 5 has two static entries for 02:00:00:00:00:01; keep the one that is right",
    );
}

#[test]
fn empty_tables_are_sound() {
    let compiled = Compiled::new(tables("generation = 7")).unwrap();
    assert_eq!((compiled.generation(), compiled.ports().len()), (7, 0));
}

#[test]
fn every_list_has_a_bound_that_the_error_names() {
    use kc_forwarder_api::{Tables, bounds};
    let one = r#"
        ports = [{ name = "p", addresses = ["10.0.0.1"] }]
        functions = [{ name = "f", attachment = { one-leg = { port = "p", mac = "02:00:00:00:00:01" } } }]
        tunnels = [{ name = "t", transport = { vxlan-gpe = { remote = "192.0.2.2", vni = 1 } } }]
        rules = [{ name = "r", action = "drop" }]
        paths = [{ spi = 1, hops = [{ si = 1, to = { egress = { port = "p" } } }] }]
        [[segments]]
        vni = 1
        ports = ["p"]
        peers = ["192.0.2.2"]
        entries = [{ mac = "02:00:00:00:00:01", port = "p" }]
    "#;
    fn grow<T: Clone>(list: &mut Vec<T>, bound: usize) {
        let one = list[0].clone();
        list.resize(bound + 1, one);
    }
    let refused = |change: &dyn Fn(&mut Tables), message: &str| {
        let mut tables = tables(one);
        change(&mut tables);
        let error = Compiled::new(tables).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    refused(
        &|tables| grow(&mut tables.ports, bounds::PORTS),
        "4097 entries of kind port; at most 4096 are possible",
    );
    refused(
        &|tables| grow(&mut tables.functions, bounds::FUNCTIONS),
        "4097 entries of kind function; at most 4096 are possible",
    );
    refused(
        &|tables| grow(&mut tables.tunnels, bounds::TUNNELS),
        "16385 entries of kind tunnel; at most 16384 are possible",
    );
    refused(
        &|tables| grow(&mut tables.rules, bounds::RULES),
        "131073 entries of kind rule; at most 131072 are possible",
    );
    refused(
        &|tables| grow(&mut tables.paths, bounds::PATHS),
        "131073 entries of kind path; at most 131072 are possible",
    );
    refused(
        &|tables| grow(&mut tables.segments, bounds::SEGMENTS),
        "1025 entries of kind segment; at most 1024 are possible",
    );
    refused(
        &|tables| grow(&mut tables.ports[0].addresses, bounds::ADDRESSES),
        "port p has 65 entries of kind address; at most 64 are possible",
    );
    refused(
        &|tables| grow(&mut tables.paths[0].hops, bounds::HOPS),
        "path 1 has 257 entries of kind hop; at most 256 are possible",
    );
    refused(
        &|tables| grow(&mut tables.segments[0].peers, bounds::PEERS),
        "segment 1 has 1025 entries of kind peer; at most 1024 are possible",
    );
    refused(
        &|tables| grow(&mut tables.segments[0].ports, bounds::MEMBERS),
        "segment 1 has 1025 entries of kind member port; at most 1024 are possible",
    );
    refused(
        &|tables| grow(&mut tables.segments[0].entries, bounds::ENTRIES),
        "segment 1 has 65537 entries of kind static entry; at most 65536 are possible",
    );
}

#[test]
fn a_next_hop_on_a_lan_is_somebody_who_can_be_found() {
    let with = |port: &str, transport: &str| {
        format!(
            "ports = [{{ name = \"lan\", {port} }}]\ntunnels = [{{ name = \"t\", transport = {{ ethernet = {{ port = \"lan\", {transport} }} }} }}]"
        )
    };
    let own = "addresses = [\"10.0.0.1\"]";
    refused(
        &with(own, "next-hop = \"fe80::2\""),
        "tunnel t has to find fe80::2 by port lan, where the forwarder has no IPv6 address to ask with; add one to the port's addresses, or give the next hop's MAC address",
    );
    for nobody in [
        "10.0.0.1",
        "224.0.0.5",
        "03:00:00:00:00:01",
        "00:00:00:00:00:00",
    ] {
        refused(
            &with(own, &format!("next-hop = \"{nobody}\"")),
            &format!(
                "tunnel t has next hop {nobody}, which must be another station's unicast address"
            ),
        );
    }
    refused(
        &with(
            "backend = \"pnet\"",
            "next-hop = \"02:00:00:00:00:01\", vlan = 7",
        ),
        "tunnel t has a VLAN tag, which backend pnet of port lan never sees; use packet or auto",
    );
    refused(
        &with(
            "addresses = [\"10.0.0.1\", \"10.0.0.1\"]",
            "next-hop = \"10.0.0.2\"",
        ),
        "port lan has address 10.0.0.1, which must be a unicast address and there once",
    );
    changed(
        "vxlan-gpe = { remote = \"192.168.50.2\", vni = 100 }",
        "ethernet = { port = \"fw-a\", next-hop = \"02:00:00:00:00:01\" }",
        "port fw-a is already a leg of function fw and cannot also be on the LAN of tunnel box2",
    );
    changed(
        "name = \"fw-a\"",
        "name = \"fw-a\"\naddresses = [\"10.0.0.1\"]",
        "port fw-a is already a leg of function fw and cannot also be on the LAN of port fw-a",
    );
}
