//! Counters and status for people: aligned columns, one record a line, stable for scripts.

use kc_forwarder_api::{Counters, FastPathStatus, HealthState, NeighbourStatus, Status};
use std::fmt::Write;

/// Rows under headings, columns as wide as their widest cell.
pub(crate) fn columns<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let mut out = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            // Writing to a string cannot fail.
            let _ = write!(out, "{cell:<width$}  ");
        }
        text.push_str(out.trim_end());
        text.push('\n');
    };
    line(headings);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
    text
}

/// All counters, an empty line between the kinds.
pub(crate) fn counters(counters: &Counters) -> String {
    let mut sections = Vec::new();
    let ports: Vec<_> = counters
        .ports
        .iter()
        .map(|port| {
            [
                port.name.to_string(),
                port.rx_packets.to_string(),
                port.rx_bytes.to_string(),
                port.tx_packets.to_string(),
                port.tx_bytes.to_string(),
                port.rx_dropped.to_string(),
            ]
        })
        .collect();
    let headings = [
        "PORT",
        "RX-PACKETS",
        "RX-BYTES",
        "TX-PACKETS",
        "TX-BYTES",
        "RX-DROPPED",
    ];
    sections.push(columns(headings, &ports));
    let rules: Vec<_> = counters
        .rules
        .iter()
        .map(|rule| {
            [
                rule.name.clone(),
                rule.packets.to_string(),
                rule.bytes.to_string(),
            ]
        })
        .collect();
    if !rules.is_empty() {
        sections.push(columns(["RULE", "PACKETS", "BYTES"], &rules));
    }
    let paths: Vec<_> = counters
        .paths
        .iter()
        .map(|path| {
            [
                path.spi.to_string(),
                path.si.to_string(),
                path.packets.to_string(),
                path.bytes.to_string(),
            ]
        })
        .collect();
    if !paths.is_empty() {
        sections.push(columns(["SPI", "SI", "PACKETS", "BYTES"], &paths));
    }
    let tunnels: Vec<_> = counters
        .tunnels
        .iter()
        .map(|tunnel| {
            [
                tunnel.remote.to_string(),
                tunnel
                    .vni
                    .map_or_else(|| "-".to_owned(), |vni| vni.to_string()),
                tunnel.encapsulation.to_string(),
                tunnel.rx_packets.to_string(),
                tunnel.rx_bytes.to_string(),
                tunnel.tx_packets.to_string(),
                tunnel.tx_bytes.to_string(),
            ]
        })
        .collect();
    if !tunnels.is_empty() {
        let headings = [
            "REMOTE",
            "VNI",
            "KIND",
            "RX-PACKETS",
            "RX-BYTES",
            "TX-PACKETS",
            "TX-BYTES",
        ];
        sections.push(columns(headings, &tunnels));
    }
    if counters.underlay.rx_dropped > 0 {
        let dropped = counters.underlay.rx_dropped.to_string();
        sections.push(columns(["UNDERLAY-RX-DROPPED"], &[[dropped]]));
    }
    let drops: Vec<_> = counters
        .drops
        .iter()
        .map(|(reason, count)| [reason.to_string(), count.to_string()])
        .collect();
    if !drops.is_empty() {
        sections.push(columns(["DROPPED", "PACKETS"], &drops));
    }
    sections.join("\n")
}

/// State of the forwarder, then of each port.
pub(crate) fn status(status: &Status) -> String {
    let general = columns(
        ["VERSION", "PID", "GENERATION", "UPTIME", "THREADS"],
        &[[
            status.version.clone(),
            status.pid.to_string(),
            status.generation.to_string(),
            duration(status.uptime_ms),
            status.threads.to_string(),
        ]],
    );
    let ports: Vec<_> = status
        .ports
        .iter()
        .map(|port| {
            [
                port.name.to_string(),
                port.interface.to_string(),
                port.backend.to_string(),
                port.state.to_string(),
                port.mtu.to_string(),
                port.reason.clone(),
            ]
        })
        .collect();
    let mut sections = vec![general];
    if let Some(underlay) = &status.underlay {
        let row = [underlay.backend.to_string(), underlay.reason.clone()];
        sections.push(columns(["UNDERLAY", "REASON"], &[row]));
    }
    if !ports.is_empty() {
        let headings = ["PORT", "INTERFACE", "BACKEND", "STATE", "MTU", "REASON"];
        sections.push(columns(headings, &ports));
    }
    let health = |name: String, state: HealthState, since_ms, rtt_us: Option<u32>| {
        let rtt = rtt_us.map_or_else(|| "-".to_owned(), |rtt| format!("{rtt} us"));
        [name, state.to_string(), duration(since_ms), rtt]
    };
    let tunnels = status.tunnels.iter();
    let tunnels: Vec<_> = tunnels
        .map(|it| health(it.name.to_string(), it.state, it.since_ms, it.rtt_us))
        .collect();
    if !tunnels.is_empty() {
        sections.push(columns(["TUNNEL", "STATE", "FOR", "ROUND-TRIP"], &tunnels));
    }
    let functions = status.functions.iter();
    let functions: Vec<_> = functions
        .map(|it| health(it.name.to_string(), it.state, it.since_ms, it.rtt_us))
        .collect();
    if !functions.is_empty() {
        let headings = ["FUNCTION", "STATE", "FOR", "ROUND-TRIP"];
        sections.push(columns(headings, &functions));
    }
    let neighbours: Vec<_> = status.neighbours.iter().map(neighbour).collect();
    if !neighbours.is_empty() {
        let headings = ["NEIGHBOUR", "PORT", "VLAN", "MAC", "STATE"];
        sections.push(columns(headings, &neighbours));
    }
    if let Some(fast) = &status.fast_path {
        sections.extend(fast_path(fast));
    }
    sections.join("\n")
}

/// The fast path: its state, its interfaces, and what is left to user space.
fn fast_path(fast: &FastPathStatus) -> Vec<String> {
    let state = [
        fast.state.to_string(),
        fast.hops.to_string(),
        fast.reason.clone(),
    ];
    let mut sections = vec![columns(["FAST-PATH", "HOPS", "REASON"], &[state])];
    let interfaces: Vec<_> = fast
        .interfaces
        .iter()
        .map(|it| [it.interface.clone(), it.mode.to_string(), it.reason.clone()])
        .collect();
    if !interfaces.is_empty() {
        sections.push(columns(["FAST-ON", "MODE", "REASON"], &interfaces));
    }
    let left = fast.left.iter();
    let left: Vec<_> = left
        .map(|it| [it.hops.to_string(), it.reason.clone()])
        .collect();
    if !left.is_empty() {
        sections.push(columns(["HOPS-LEFT", "REASON"], &left));
    }
    sections
}

fn neighbour(neighbour: &NeighbourStatus) -> [String; 5] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        neighbour.address.to_string(),
        neighbour.port.to_string(),
        or_dash(neighbour.vlan.map(|vlan| vlan.to_string())),
        or_dash(neighbour.mac.map(|mac| mac.to_string())),
        neighbour.state.to_string(),
    ]
}

/// The two largest units of a duration.
fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d{}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h{}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = columns(
            ["A", "B"],
            &[["long".into(), "x".into()], ["y".into(), "z".into()]],
        );
        assert_eq!(text, "A     B\nlong  x\ny     z\n");
    }

    #[test]
    fn durations_name_two_units() {
        assert_eq!(duration(999), "0s");
        assert_eq!(duration(61_000), "1m1s");
        assert_eq!(duration(3_600_000), "1h0m");
        assert_eq!(duration(90_000_000), "1d1h");
    }
}
