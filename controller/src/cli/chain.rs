//! `kc chain`: looks into a chain. Echoes and traces are asked of its forwarders, probes are real
//! traffic into its beginning.

use super::args::{ChainCommand, Format, Global, PingArgs, ProbeArgs, TraceArgs};
use super::client::Client;
use super::describe::find;
use super::failure::Failure;
use super::get::escape;
use super::print;
use super::table::{Column, Table};
use crate::views::{ChainView, EchoFunctionView, EchoView, ProbeView, TraceHop, TraceView};
use std::time::Duration;
use tokio::time::Instant;

/// How long an echo may take.
const ECHO: Duration = Duration::from_secs(1);
/// What the controller may take beyond that.
const SLACK: Duration = Duration::from_secs(10);
/// SFFs that a trace passes at most, each asked twice.
const LONGEST_TRACE: u32 = 2 * 64;

/// Does what is asked with a chain.
pub(super) async fn chain(
    client: &Client,
    global: &Global,
    command: &ChainCommand,
) -> Result<(), Failure> {
    let timeout = global.timeout.unwrap_or(ECHO);
    match command {
        ChainCommand::Ping(args) => ping(client, timeout, args).await,
        ChainCommand::Trace(args) => trace(client, timeout, args).await,
        ChainCommand::Probe(args) => probe(client, timeout, args).await,
    }
}

fn milliseconds(time: Duration) -> u128 {
    time.as_millis().max(1)
}

/// `12.345 ms`.
fn told(us: u64) -> String {
    format!("{}.{:03} ms", us / 1000, us % 1000)
}

async fn ping(client: &Client, timeout: Duration, args: &PingArgs) -> Result<(), Failure> {
    // So that a wrong name is answered with the right one.
    let _: ChainView = find(client, &args.name).await?;
    let patient = client.waiting(timeout + SLACK);
    let path = format!(
        "/api/v1/chains/{}/echo?return={}&timeout={}&size={}",
        escape(&args.name),
        args.back,
        milliseconds(timeout),
        args.size
    );
    let quiet = matches!(args.output, Some(Format::Json | Format::Yaml));
    let mut all: Vec<EchoView> = Vec::new();
    let mut next = Instant::now();
    for number in 0..args.count {
        tokio::time::sleep_until(next).await;
        next += args.interval;
        let view: EchoView = patient.post(&path, Vec::new()).await?;
        if !quiet {
            if number == 0 {
                let (chain, way, spi) = (&view.chain, &view.direction, view.spi);
                print::line(&format!(
                    "chain {chain}, {way} path {spi}, to its end on {}",
                    view.expected
                ))?;
            }
            print::line(&answer(&view, timeout))?;
        }
        all.push(view);
    }
    if let Some(format) = args.output.filter(|_| quiet) {
        print::value(&all, format)?;
    }
    let good: Vec<u64> = all.iter().filter_map(round_trip).collect();
    let lost = all.len() - good.len();
    if !quiet {
        print::line(&summary(all.len(), &good))?;
    }
    match lost {
        0 => Ok(()),
        _ => Err(Failure::Broken(format!(
            "{lost} of {} echoes were lost",
            all.len()
        ))),
    }
}

/// The round trip of an echo that reached the end.
fn round_trip(view: &EchoView) -> Option<u64> {
    let answer = view.answer.as_ref().filter(|answer| answer.end);
    answer.map(|answer| answer.rtt_us)
}

fn answer(view: &EchoView, timeout: Duration) -> String {
    match &view.answer {
        Some(answer) => {
            let mtu = answer
                .mtu
                .map_or_else(String::new, |mtu| format!(", MTU {mtu}"));
            format!(
                "{}: {}, {}{mtu}",
                answer.node,
                answer.code,
                told(answer.rtt_us)
            )
        }
        None => format!("no answer within {} s", timeout.as_secs_f32()),
    }
}

fn summary(sent: usize, good: &[u64]) -> String {
    let lost = sent - good.len();
    let counts = format!("{sent} sent, {} reached the end, {lost} lost", good.len());
    let count = u64::try_from(good.len()).unwrap_or(u64::MAX);
    match (
        good.iter().min(),
        good.iter().max(),
        good.iter().sum::<u64>().checked_div(count),
    ) {
        (Some(&min), Some(&max), Some(mean)) => format!(
            "{counts}; round trip min {}, avg {}, max {}",
            told(min),
            told(mean),
            told(max)
        ),
        _ => counts,
    }
}

const COLUMNS: [Column; 6] = [
    Column::new("HOP"),
    Column::new("BOX"),
    Column::new("STATE"),
    Column::new("RTT"),
    Column::new("MTU"),
    Column::new("FUNCTIONS"),
];

async fn trace(client: &Client, timeout: Duration, args: &TraceArgs) -> Result<(), Failure> {
    let _: ChainView = find(client, &args.name).await?;
    let patient = client.waiting(timeout * LONGEST_TRACE + SLACK);
    let path = format!(
        "/api/v1/chains/{}/trace?return={}&timeout={}",
        escape(&args.name),
        args.back,
        milliseconds(timeout)
    );
    let view: TraceView = patient.post(&path, Vec::new()).await?;
    match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => print::value(&view, format)?,
        _ => {
            let mut table = Table::new(&COLUMNS, false, print::colours());
            let rows: Vec<_> = view.hops.iter().map(row).collect();
            print::line(&table.heading(&rows))?;
            for row in &rows {
                print::line(&table.line(row))?;
            }
        }
    }
    match view.broken {
        Some(broken) => Err(Failure::Broken(broken)),
        None if view.complete => Ok(()),
        None => Err(Failure::Broken(
            "the end of the path was not reached".to_owned(),
        )),
    }
}

fn row(hop: &TraceHop) -> Vec<String> {
    let functions: Vec<_> = hop.functions.iter().map(function).collect();
    vec![
        hop.number.to_string(),
        hop.node.clone(),
        hop.state.clone(),
        hop.rtt_us.map_or_else(String::new, told),
        hop.mtu.map_or_else(String::new, |mtu| mtu.to_string()),
        functions.join(", "),
    ]
}

fn function(function: &EchoFunctionView) -> String {
    let rtt = function.rtt_us.map(|us| format!(" {}", told(us.into())));
    let state = match function.state.as_str() {
        // Nothing to say about one that was never asked.
        "unknown" => String::new(),
        state => format!(" ({state}{})", rtt.unwrap_or_default()),
    };
    format!("{}{state}", function.name)
}

async fn probe(client: &Client, timeout: Duration, args: &ProbeArgs) -> Result<(), Failure> {
    let chain: ChainView = find(client, &args.name).await?;
    let total = args.interval * args.count + timeout + SLACK;
    let mut path = format!(
        "/api/v1/chains/{}/probe?target={}&source={}&count={}&interval={}&timeout={}&size={}",
        escape(&args.name),
        escape(&args.target.to_string()),
        escape(&args.source.to_string()),
        args.count,
        args.interval.as_millis(),
        milliseconds(timeout),
        args.size
    );
    if let Some(gateway) = args.gateway {
        path.push_str(&format!("&gateway={}", escape(&gateway.to_string())));
    }
    let view: ProbeView = client.waiting(total).post(&path, Vec::new()).await?;
    match args.output {
        Some(format @ (Format::Json | Format::Yaml)) => print::value(&view, format)?,
        _ => {
            let (chain, port, node) = (&view.chain, &view.port, &view.node);
            print::line(&format!(
                "{} by {port} of {node}, chain {chain}",
                view.target
            ))?;
            print::line(&view.report.to_string())?;
        }
    }
    match view.report.lost {
        0 => Ok(()),
        lost => {
            // What the chain does not take never comes to its end.
            let takes = match chain.matches.join("; ") {
                only if view.report.received == 0 && !only.is_empty() => {
                    format!("; chain {} takes {only}", chain.name)
                }
                _ => String::new(),
            };
            Err(Failure::Broken(format!(
                "{lost} of {} probes were not answered as wanted{takes}",
                view.report.sent
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_silence_has_no_round_trip() {
        assert_eq!(summary(3, &[]), "3 sent, 0 reached the end, 3 lost");
        assert_eq!(
            summary(2, &[1_000, 2_500]),
            "2 sent, 2 reached the end, 0 lost; round trip min 1.000 ms, avg 1.750 ms, max 2.500 ms"
        );
    }

    #[test]
    fn a_function_that_was_never_asked_is_only_named() {
        let view = |state: &str| EchoFunctionView {
            name: "fw-1".to_owned(),
            state: state.to_owned(),
            rtt_us: Some(90),
        };
        assert_eq!(function(&view("unknown")), "fw-1");
        assert_eq!(function(&view("alive")), "fw-1 (alive 0.090 ms)");
    }
}
