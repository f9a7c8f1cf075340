//! What is on the wire between the boxes, judged by tshark.

use anyhow::{Context, Result, ensure};
use kc_tests::capture::{Capture, NshPacket};
use kc_tests::story::Story;
use kc_tests::{kc, traffic};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) fn steps(story: &mut Story, scratch: &Path) -> Result<()> {
    story.step(
        "tshark sees one path each way, its index falling by one a function",
        || {
            let requests = || {
                let report = traffic::requests("kcpg-client", traffic::SERVER, 10)?;
                traffic::all_passed(&report)
            };
            judge(&Capture::start(scratch, 300)?.decode(requests)?)
        },
    )
}

/// Every link of the path carries exactly the path and index that the functions before it leave.
fn judge(packets: &[NshPacket]) -> Result<String> {
    ensure!(!packets.is_empty(), "tshark decoded no NSH");
    let chain = kc::chain("web")?;
    let path = kc::path("web")?;
    let number = |name: &str| chain[name].as_u64().with_context(|| format!("no {name}"));
    let (spi, back) = (number("spi")?, number("returnSpi")?);
    let boxes: Vec<&str> = path.iter().map(|(_, node)| node.as_str()).collect();
    let mut expected = links(spi, &boxes, "box1", "box3");
    let reversed: Vec<&str> = boxes.iter().rev().copied().collect();
    expected.extend(links(back, &reversed, "box3", "box1"));

    let mut seen: BTreeMap<(u64, u8, String, String), usize> = BTreeMap::new();
    for packet in packets {
        let key = (
            u64::from(packet.spi),
            packet.si,
            packet.from.clone(),
            packet.to.clone(),
        );
        *seen.entry(key).or_default() += 1;
        // RFC 8300 section 2.2: 63 is the default; each SFF takes one off.
        ensure!((50..=63).contains(&packet.ttl), "TTL {}", packet.ttl);
    }
    let seen_links: Vec<_> = seen.keys().cloned().collect();
    let mut wanted = expected.clone();
    wanted.sort();
    ensure!(
        seen_links == wanted,
        "seen {seen_links:#?}\nwanted {wanted:#?}\npath {path:?}"
    );
    let lines = seen.iter().map(|((spi, si, from, to), count)| {
        format!("{count} packets {from} -> {to} path {spi} index {si}")
    });
    Ok(lines.collect::<Vec<_>>().join("; "))
}

/// The links that a path uses: (SPI, SI, from, to).
fn links(spi: u64, functions: &[&str], first: &str, last: &str) -> Vec<(u64, u8, String, String)> {
    let address = |node: &str| format!("192.168.50.{}", &node[3..]);
    let mut at = first;
    let mut si = 255;
    let mut found = Vec::new();
    for next in functions.iter().copied().map(Some).chain([None]) {
        let to = next.unwrap_or(last);
        if to != at {
            found.push((spi, si, address(at), address(to)));
            at = to;
        }
        si -= 1;
    }
    found
}
