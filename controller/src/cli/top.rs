//! `kc top`: load, busiest first.

use super::args::{Format, TopArgs, TopKind};
use super::client::Client;
use super::failure::Failure;
use super::human;
use super::print;
use super::table::{Column, Table};
use crate::views::{InstanceView, NodeView, TopView};

const NODES: [Column; 6] = [
    Column::new("NAME"),
    Column::new("CPU"),
    Column::new("MEMORY"),
    Column::new("MEMORY%"),
    Column::new("DISK%"),
    Column::new("TEMP"),
];

const CONTAINERS: [Column; 7] = [
    Column::new("NAME"),
    Column::new("NODE"),
    Column::new("CPU"),
    Column::new("MEMORY"),
    Column::new("LIMIT"),
    Column::new("RX-PACKETS"),
    Column::new("TX-PACKETS"),
];

/// Prints load.
pub(super) async fn top(client: &Client, args: &TopArgs) -> Result<(), Failure> {
    let top: TopView = client.get("/api/v1/top").await?;
    match (args.what, args.output) {
        (TopKind::Nodes, Some(format @ (Format::Json | Format::Yaml))) => {
            print::value(&top.nodes, format)
        }
        (TopKind::Containers, Some(format @ (Format::Json | Format::Yaml))) => {
            print::value(&top.containers, format)
        }
        (TopKind::Nodes, _) => table(&NODES, top.nodes.iter().map(node).collect()),
        (TopKind::Containers, _) => {
            table(&CONTAINERS, top.containers.iter().map(container).collect())
        }
    }
}

fn table(columns: &[Column], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let mut table = Table::new(columns, true, print::colours());
    let heading = table.heading(&rows);
    print::line(&heading)?;
    for row in &rows {
        print::line(&table.line(row))?;
    }
    Ok(())
}

fn text<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(String::new, show)
}

fn share(used: Option<u64>, total: Option<u64>) -> String {
    match (used, total) {
        (Some(used), Some(total)) if total > 0 => {
            let percent = u128::from(used) * 100 / u128::from(total);
            format!("{percent}%")
        }
        _ => String::new(),
    }
}

fn node(node: &NodeView) -> Vec<String> {
    vec![
        node.name.clone(),
        text(node.cpu_percent, human::percent),
        text(node.memory_used_bytes, human::bytes),
        share(node.memory_used_bytes, node.memory_total_bytes),
        share(node.disk_used_bytes, node.disk_total_bytes),
        text(node.temperature_c, |degrees| format!("{degrees:.0}C")),
    ]
}

fn container(instance: &InstanceView) -> Vec<String> {
    vec![
        instance.name.clone(),
        instance.node.clone().unwrap_or_default(),
        text(instance.cpu_percent, human::percent),
        text(instance.memory_bytes, human::bytes),
        text(instance.memory_limit_bytes, human::bytes),
        text(instance.rx_packets, |count| count.to_string()),
        text(instance.tx_packets, |count| count.to_string()),
    ]
}
