//! The tables that `kc-forwarder` gets for each task, as TOML.

use super::Build;
use crate::work::{Task, Work};
use kc_tests::bench::frames::site as address;
use std::fmt::Write as _;

/// The configuration of one task.
pub(crate) fn tables(build: &Build, task: Task, generation: u64) -> String {
    let mut text = format!("generation = {generation}\n{}\n", build.top);
    let (vni, si) = (address::VNI, address::SI);
    if has_underlay(task.work) {
        let more = build.underlay;
        let _ = writeln!(
            text,
            "[underlay]\naddress = \"10.1.0.2\"\nmtu = 1900\n{more}"
        );
    }
    let mut port = |name: &str| {
        let more = build.port;
        let _ = writeln!(text, "[[ports]]\nname = \"{name}\"\n{more}");
    };
    ports(task.work).iter().for_each(|name| port(name));
    let mut tunnel = |name: &str, transport: &str| {
        let _ = writeln!(
            text,
            "[[tunnels]]\nname = \"{name}\"\ntransport = {{ {transport} }}"
        );
    };
    let gpe = |remote: &str| format!("vxlan-gpe = {{ remote = \"{remote}\", vni = {vni} }}");
    let ethernet = |port: &str, mac: u8| {
        format!("ethernet = {{ port = \"{port}\", next-hop = \"02:00:00:00:00:{mac:02x}\" }}")
    };
    let from_gpe = matches!(task.work, Work::GpeHop | Work::GpeDecap | Work::ProxyHop);
    let from_ethernet = matches!(task.work, Work::EthHop | Work::EthDecap);
    if from_gpe {
        tunnel("from", &gpe("10.1.0.1"));
    } else if from_ethernet {
        tunnel("from", &ethernet("in0", 0x0a));
    }
    let next = match task.work {
        Work::GpeHop | Work::GpeEncap | Work::ProxyHop => {
            tunnel("to", &gpe("10.2.0.2"));
            "tunnel = { name = \"to\" }"
        }
        Work::EthHop | Work::EthEncap => {
            tunnel("to", &ethernet("out0", 0x0e));
            "tunnel = { name = \"to\" }"
        }
        _ => "egress = { port = \"out0\" }",
    };
    match task.work {
        Work::VxlanEncap | Work::VxlanDecap | Work::VxlanHop => {
            let (port, place) = if task.work == Work::VxlanEncap {
                ("in0", "peer = \"10.2.0.2\"")
            } else {
                ("out0", "port = \"out0\"")
            };
            let _ = writeln!(
                text,
                "[[segments]]\nvni = {vni}\nports = [\"{port}\"]\npeers = [\"10.1.0.1\", \"10.2.0.2\"]\n\
                 entries = [{{ mac = \"02:00:00:00:00:0f\", {place} }}]"
            );
            return text;
        }
        Work::ProxyHop => text.push_str(
            "[[functions]]\nname = \"f\"\n\
             attachment = { two-leg = { inside = \"fa\", outside = \"fb\" } }\n",
        ),
        Work::PortHop | Work::GpeEncap | Work::EthEncap => {
            rules(&mut text, task);
            if task.work == Work::PortHop {
                return text;
            }
        }
        _ => {}
    }
    for spi in address::SPI..address::SPI + task.paths {
        let hops = if task.work == Work::ProxyHop {
            format!(
                "{{ si = {si}, to = {{ function = {{ name = \"f\" }} }} }}, \
                 {{ si = {}, to = {{ {next} }} }}",
                si - 1
            )
        } else {
            format!("{{ si = {si}, to = {{ {next} }} }}")
        };
        let _ = writeln!(text, "[[paths]]\nspi = {spi}\nhops = [{hops}]");
    }
    text
}

/// Whether a work has tunnels over UDP.
pub(super) const fn has_underlay(work: Work) -> bool {
    !matches!(
        work,
        Work::PortHop | Work::EthEncap | Work::EthHop | Work::EthDecap
    )
}

/// Ports that a work takes.
pub(super) const fn ports(work: Work) -> &'static [&'static str] {
    match work {
        Work::GpeHop | Work::VxlanHop => &[],
        Work::GpeEncap | Work::VxlanEncap => &["in0"],
        Work::GpeDecap | Work::VxlanDecap => &["out0"],
        Work::PortHop | Work::EthEncap | Work::EthHop | Work::EthDecap => &["in0", "out0"],
        Work::ProxyHop => &["fa", "fb"],
    }
}

/// Rules of four kinds, as people mix them, of which only the last is for our packets.
fn rules(text: &mut String, task: Task) {
    for number in 1..task.rules {
        let prefix = [24, 25, 32, 28][number as usize % 4];
        let [_, high, low, _] = (number << 8).to_be_bytes();
        let ports = if number.is_multiple_of(2) {
            "80"
        } else {
            "\"80-90\""
        };
        let _ = writeln!(
            text,
            "[[rules]]\nname = \"r{number}\"\nmatch = {{ source = \"172.{high}.{low}.0/{prefix}\", \
             protocol = \"udp\", destination-ports = {ports} }}\naction = \"drop\""
        );
    }
    let action = match task.work {
        Work::PortHop => "egress = { port = \"out0\" }".to_owned(),
        _ => format!("path = {{ spi = {}, si = {} }}", address::SPI, address::SI),
    };
    let _ = writeln!(
        text,
        "[[rules]]\nname = \"ours\"\nmatch = {{ port = \"in0\" }}\naction = {{ {action} }}"
    );
}
