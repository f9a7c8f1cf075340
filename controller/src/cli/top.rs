//! `kc top`: load, busiest first.

use super::args::{Format, TopArgs, TopKind, TopOrder};
use super::client::Client;
use super::failure::Failure;
use super::get::missing;
use super::human;
use super::kind::Kind;
use super::print;
use super::table::{Column, Table};
use crate::views::{InstanceView, NodeView, TopView};
use anyhow::Context as _;
use serde::Serialize;
use std::io::IsTerminal as _;
use std::time::Duration;

/// From one look to the next: boxes report no faster.
const PERIOD: Duration = Duration::from_secs(1);

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

/// Something that has load.
trait Loaded: Serialize {
    const KIND: Kind;
    const COLUMNS: &'static [Column];
    fn name(&self) -> &str;
    fn cpu(&self) -> Option<f32>;
    fn memory(&self) -> Option<u64>;
    fn row(&self) -> Vec<String>;
}

/// Prints load, once or for ever.
pub(super) async fn top(client: &Client, args: &TopArgs) -> Result<(), Failure> {
    match args.what {
        TopKind::Nodes => show(client, args, |top| top.nodes).await,
        TopKind::Containers => show(client, args, |top| top.containers).await,
    }
}

async fn show<T: Loaded>(
    client: &Client,
    args: &TopArgs,
    of: impl Fn(TopView) -> Vec<T>,
) -> Result<(), Failure> {
    let redraw = args.watch && args.output.is_none() && std::io::stdout().is_terminal();
    let mut table = Table::new(T::COLUMNS, true, print::colours());
    let mut heading = !args.no_headers;
    loop {
        let all = of(client.get("/api/v1/top").await?);
        let wanted = chosen(all, &args.names, args.sort_by)?;
        match args.output {
            // One value a line, so that whoever reads along knows where it ends.
            Some(Format::Json) if args.watch => {
                let text = serde_json::to_string(&wanted).context("cannot write JSON")?;
                print::line(&text)?;
            }
            Some(format @ (Format::Json | Format::Yaml)) => print::value(&wanted, format)?,
            _ => {
                let rows: Vec<_> = wanted.iter().map(Loaded::row).collect();
                let mut text = String::new();
                if redraw {
                    text.push_str("\x1b[H\x1b[J");
                    heading = !args.no_headers;
                }
                let words = table.heading(&rows);
                if std::mem::take(&mut heading) {
                    text.push_str(&words);
                    text.push('\n');
                }
                for row in &rows {
                    text.push_str(&table.line(row));
                    text.push('\n');
                }
                print::raw(&text)?;
            }
        }
        if !args.watch {
            return Ok(());
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Those that were named, in the order that was asked for.
fn chosen<T: Loaded>(
    mut all: Vec<T>,
    names: &[String],
    order: TopOrder,
) -> Result<Vec<T>, Failure> {
    let known: Vec<String> = all.iter().map(|one| one.name().to_owned()).collect();
    if let Some(wrong) = names.iter().find(|name| !known.contains(name)) {
        return Err(missing(T::KIND, wrong, &known));
    }
    all.retain(|one| names.is_empty() || names.iter().any(|name| name == one.name()));
    // Equals stay by name, so that nothing jumps about.
    all.sort_by(|a, b| a.name().cmp(b.name()));
    match order {
        TopOrder::Cpu => all.sort_by(|a, b| {
            let of = |one: &T| one.cpu().unwrap_or(-1.0);
            of(b).total_cmp(&of(a))
        }),
        TopOrder::Memory => all.sort_by_key(|one| std::cmp::Reverse(one.memory())),
        TopOrder::Name => {}
    }
    Ok(all)
}

impl Loaded for NodeView {
    const KIND: Kind = Kind::Nodes;
    const COLUMNS: &'static [Column] = &NODES;

    fn name(&self) -> &str {
        &self.name
    }

    fn cpu(&self) -> Option<f32> {
        self.cpu_percent
    }

    fn memory(&self) -> Option<u64> {
        self.memory_used_bytes
    }

    fn row(&self) -> Vec<String> {
        node(self)
    }
}

impl Loaded for InstanceView {
    const KIND: Kind = Kind::Instances;
    const COLUMNS: &'static [Column] = &CONTAINERS;

    fn name(&self) -> &str {
        &self.name
    }

    fn cpu(&self) -> Option<f32> {
        self.cpu_percent
    }

    fn memory(&self) -> Option<u64> {
        self.memory_bytes
    }

    fn row(&self) -> Vec<String> {
        container(self)
    }
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
