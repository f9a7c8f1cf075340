//! `kc get` and `kc events`: lists, and lists that go on.

use super::args::{EventsArgs, Format, GetArgs};
use super::client::{Client, Lines};
use super::failure::Failure;
use super::human;
use super::kind::{Kind, nearest};
use super::print;
use super::rows::Listed;
use super::table::Table;
use crate::alarm::AlarmReport;
use crate::store::StoredEvent;
use crate::views::{
    ChainView, FunctionView, InstanceView, NodeView, PathView, SecretView, ServiceView, StackView,
    WatchMark,
};
use anyhow::Context as _;
use std::collections::BTreeMap;

/// Lists one kind.
pub(super) async fn get(client: &Client, args: &GetArgs) -> Result<(), Failure> {
    match args.kind {
        Kind::Nodes => show::<NodeView>(client, args).await,
        Kind::Functions => show::<FunctionView>(client, args).await,
        Kind::Chains => show::<ChainView>(client, args).await,
        Kind::Services => show::<ServiceView>(client, args).await,
        Kind::Instances => show::<InstanceView>(client, args).await,
        Kind::Paths => show::<PathView>(client, args).await,
        Kind::Secrets => show::<SecretView>(client, args).await,
        Kind::Stacks => show::<StackView>(client, args).await,
        Kind::Alarms => show::<AlarmReport>(client, args).await,
        Kind::Events => {
            let events = EventsArgs {
                about: args.name.clone(),
                watch: args.watch,
                tail: 100,
                output: args.output,
            };
            self::events(client, &events, !args.no_headers).await
        }
    }
}

async fn show<T: Listed>(client: &Client, args: &GetArgs) -> Result<(), Failure> {
    let items = wanted::<T>(client, args).await?;
    if args.watch {
        return watch(client, args, items).await;
    }
    match (&args.name, args.output, items.first()) {
        // One thing asked for by name is one value, not a list of one.
        (Some(_), Some(format @ (Format::Json | Format::Yaml)), Some(item)) => {
            print::value(item, format)
        }
        _ => {
            if items.is_empty() && args.name.is_none() && args.output.is_none() {
                eprintln!("no {} yet", T::KIND);
            }
            print::list(&items, args.output, !args.no_headers)
        }
    }
}

/// All, or the one that was named.
async fn wanted<T: Listed>(client: &Client, args: &GetArgs) -> Result<Vec<T>, Failure> {
    let mut items: Vec<T> = client.get(&format!("/api/v1/{}", T::KIND)).await?;
    if let Some(name) = &args.name {
        let names: Vec<String> = items.iter().map(Listed::name).collect();
        items.retain(|item| item.name() == *name);
        if items.is_empty() && !args.ignore_not_found {
            return Err(missing(T::KIND, name, &names));
        }
    }
    Ok(items)
}

/// There is no such thing; perhaps another one was meant.
pub(super) fn missing(kind: Kind, name: &str, names: &[String]) -> Failure {
    let hint = nearest(name, names.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!(": did you mean {near}?"));
    Failure::NotFound(format!("there is no {} {name:?}{hint}", kind.singular()))
}

async fn watch<T: Listed>(
    client: &Client,
    args: &GetArgs,
    mut items: Vec<T>,
) -> Result<(), Failure> {
    let mut marks = client.lines("/api/v1/watch").await?;
    let wide = args.output == Some(Format::Wide);
    let mut table = Table::new(T::COLUMNS, wide, print::colours());
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let now = human::now_ms();
    let rows: Vec<_> = items.iter().map(|item| item.row(now)).collect();
    let heading = table.heading(&rows);
    if matches!(args.output, None | Some(Format::Wide)) && !args.no_headers {
        print::line(&heading)?;
    }
    loop {
        let now = human::now_ms();
        let mut gone: Vec<String> = shown.keys().cloned().collect();
        for item in &items {
            let (name, row) = (item.name(), item.row(now));
            let steady = table.steady(&row);
            gone.retain(|other| *other != name);
            if shown.get(&name) == Some(&steady) {
                continue;
            }
            shown.insert(name, steady);
            record(item, &row, &table, args.output)?;
        }
        for name in gone {
            shown.remove(&name);
            if matches!(args.output, None | Some(Format::Wide)) {
                print::line(&format!("{name}  deleted"))?;
            }
        }
        if marks.next::<WatchMark>().await?.is_none() {
            return Err(anyhow::anyhow!("the controller has ended the watch").into());
        }
        items = match wanted::<T>(client, args).await {
            Err(Failure::NotFound(_)) => Vec::new(),
            other => other?,
        };
    }
}

/// One record of a watch, always one line but for YAML.
fn record<T: Listed>(
    item: &T,
    row: &[String],
    table: &Table,
    format: Option<Format>,
) -> Result<(), Failure> {
    match format {
        None | Some(Format::Wide) => print::line(&table.line(row)),
        Some(Format::Name) => print::line(&print::reference(item)),
        Some(Format::Json) => {
            print::line(&serde_json::to_string(item).context("cannot write JSON")?)
        }
        Some(Format::Yaml) => {
            print::line("---")?;
            print::value(item, Format::Yaml)
        }
    }
}

/// Prints history, and goes on when asked to.
pub(super) async fn events(
    client: &Client,
    args: &EventsArgs,
    headers: bool,
) -> Result<(), Failure> {
    let about = args
        .about
        .as_ref()
        .map_or_else(String::new, |about| format!("&about={}", escape(about)));
    let path = format!("/api/v1/events?limit={}{about}", args.tail);
    let items: Vec<StoredEvent> = client.get(&path).await?;
    if !args.watch {
        return print::list(&items, args.output, headers);
    }
    let last = items.last().map_or(0, |event| event.id);
    let mut table = Table::new(
        StoredEvent::COLUMNS,
        args.output == Some(Format::Wide),
        print::colours(),
    );
    let rows: Vec<_> = items.iter().map(|item| item.row(0)).collect();
    let heading = table.heading(&rows);
    if headers && matches!(args.output, None | Some(Format::Wide)) {
        print::line(&heading)?;
    }
    for (item, row) in items.iter().zip(&rows) {
        record(item, row, &table, args.output)?;
    }
    let mut lines: Lines = client
        .lines(&format!("/api/v1/events?watch=true&since={last}{about}"))
        .await?;
    while let Some(event) = lines.next::<StoredEvent>().await? {
        record(&event, &event.row(0), &table, args.output)?;
    }
    Err(anyhow::anyhow!("the controller has ended the watch").into())
}

/// A word as part of a path or a query.
pub(super) fn escape(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    for byte in word.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_cannot_break_out_of_a_path() {
        assert_eq!(escape("a b/../ü?"), "a%20b%2F..%2F%C3%BC%3F");
    }

    #[test]
    fn a_missing_name_is_answered_with_the_nearest_one() {
        let names = ["firewall-1".to_owned(), "nat-1".to_owned()];
        let failure = missing(Kind::Instances, "firewal-1", &names);
        assert_eq!(
            failure.to_string(),
            "there is no instance \"firewal-1\": did you mean firewall-1?"
        );
        assert_eq!(failure.code(), 3);
    }
}
