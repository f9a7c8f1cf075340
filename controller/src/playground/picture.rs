//! What the playground looks like, for people: the path with what every hop counted, why it was
//! chosen, and what to try next. Pure.

use super::layout::{CLIENT, CLIENT_ADDRESS, LAN, SERVER, SERVER_ADDRESS, Site};
use super::trace::Step;
use super::traffic::{Counted, Round};
use std::fmt::Write;

/// The path from client to server, a line a hop.
pub(super) fn path(round: &Round) -> String {
    let mut text = format!("  client {CLIENT_ADDRESS} ({CLIENT})\n    │\n");
    let mut at = "";
    for counted in &round.forward {
        let hop = &counted.hop;
        if at != hop.node {
            at = &hop.node;
            let _ = writeln!(text, "  {at}");
        }
        let (spi, si) = (hop.spi, hop.si);
        match &hop.to {
            Step::Function { name, .. } => {
                let back = returned(&round.back, name);
                let _ = writeln!(
                    text,
                    "    ├─ {name:<14} path {spi} index {si:<3}  {:>5} packets out, {back:>5} back",
                    counted.packets
                );
            }
            Step::Tunnel { node, remote } => {
                let _ = writeln!(
                    text,
                    "    ┆  to {node} ({remote})   index {si:<3}  {:>5} packets, NSH in VXLAN-GPE",
                    counted.packets
                );
            }
            Step::Egress { port } => {
                let _ = writeln!(
                    text,
                    "    │  out of {port}   index {si:<3}  {:>5} packets",
                    counted.packets
                );
            }
        }
    }
    let seen: Vec<_> = round.report.clients.iter().map(String::as_str).collect();
    let _ = writeln!(
        text,
        "    ▼\n  server {SERVER_ADDRESS} ({SERVER}), which saw requests from {}",
        seen.join(", ")
    );
    text
}

fn returned(back: &[Counted], wanted: &str) -> u64 {
    let through = back
        .iter()
        .filter(|counted| matches!(&counted.hop.to, Step::Function { name, .. } if name == wanted));
    through.map(|counted| counted.packets).sum()
}

/// How the requests went.
pub(super) fn requests(round: &Round) -> String {
    let report = &round.report;
    let time = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
    format!(
        "{} of {} requests passed, median {}, 99th percentile {}",
        report.ok,
        report.sent,
        time(report.p50_ms),
        time(report.p99_ms)
    )
}

/// Commands worth a try; `kc` is how the program was called.
pub(super) fn next(kc: &str, round: &Round, sites: &[Site]) -> String {
    let first = round
        .forward
        .iter()
        .find_map(|counted| match &counted.hop.to {
            Step::Function { name, .. } => Some((name, &counted.hop.node)),
            _ => None,
        });
    let kill = first.and_then(|(name, node)| {
        let site = sites.iter().find(|site| site.name == *node)?;
        Some(format!("docker -H {} kill kc-{name}", site.docker_host()))
    });
    let mut lines = vec![
        (
            "the same requests again, judged".to_owned(),
            format!("{kc} playground check"),
        ),
        (
            "why this path".to_owned(),
            format!("{kc} explain chain web"),
        ),
        (
            "NSH on the wire: path constant, index falling".to_owned(),
            format!(
                "nsenter --net=/run/netns/{LAN} tshark -l -i br0 -f 'udp port 4790' -T fields -E occurrence=f -e ip.src -e ip.dst -e nsh.spi -e nsh.si"
            ),
        ),
        (
            "one request".to_owned(),
            format!("nsenter --net=/run/netns/{CLIENT} curl http://{SERVER_ADDRESS}/"),
        ),
    ];
    if let Some(kill) = kill {
        lines.push((
            "kill the first function, then look at the path and the events".to_owned(),
            kill,
        ));
    }
    lines.push(("what happened".to_owned(), format!("{kc} events --watch")));
    lines.push((
        "take all of it away".to_owned(),
        format!("{kc} playground down"),
    ));
    lines
        .iter()
        .fold(String::new(), |mut text, (what, command)| {
            let _ = writeln!(text, "  # {what}\n  {command}");
            text
        })
}
