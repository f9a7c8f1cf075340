//! `kc-forwarder trace`: names every SFF and function of a service path, and what is broken.

use crate::args::{Output, TraceArgs};
use crate::show::columns;
use crate::{connect, say};
use anyhow::Context;
use kc_forwarder_api::{Echo, EchoFunction, EchoReply, Trace};

/// Traces; says whether the path is whole.
pub(crate) fn run(args: &TraceArgs) -> anyhow::Result<bool> {
    let mut client = connect(&args.socket.socket)?;
    let mut trace = Trace::new(args.spi);
    while let Some(ttl) = trace.next() {
        let echo = Echo {
            spi: args.spi,
            si: args.si,
            ttl: Some(ttl),
            timeout_ms: args.timeout,
            size: 0,
        };
        let mut reply = None;
        for _ in 0..args.tries.max(1) {
            reply = client.echo(echo.clone())?;
            if reply.is_some() {
                break;
            }
        }
        trace.hear(reply);
    }
    match args.output {
        Output::Json => {
            let text = serde_json::to_string_pretty(&trace).context("write the trace")?;
            say(&format!("{text}\n"))?;
        }
        Output::Table => say(&table(&trace))?,
    }
    Ok(trace.reached)
}

fn table(trace: &Trace) -> String {
    let rows: Vec<_> = trace.hops.iter().enumerate().map(row).collect();
    let headings = ["HOP", "SFF", "ROUND-TRIP", "MTU", "FUNCTIONS", "SAYS"];
    let mut text = columns(headings, &rows);
    match &trace.fault {
        Some(fault) => text.push_str(&format!("broken: {fault}\n")),
        None => text.push_str("the end was reached\n"),
    }
    text
}

fn row((number, hop): (usize, &EchoReply)) -> [String; 6] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let functions: Vec<_> = hop.functions.iter().map(function).collect();
    [
        number.to_string(),
        or_dash(hop.from.as_ref().map(ToString::to_string)),
        // The first hop is the forwarder that was asked.
        or_dash((number > 0).then(|| format!("{} us", hop.rtt_us))),
        or_dash(hop.mtu.map(|mtu| mtu.to_string())),
        or_dash((!functions.is_empty()).then(|| functions.join(", "))),
        hop.code.to_string(),
    ]
}

fn function(function: &EchoFunction) -> String {
    match function.rtt_us {
        Some(rtt) => format!("{} ({}, {rtt} us)", function.name, function.state),
        None => format!("{} ({})", function.name, function.state),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_forwarder_api::{EchoCode, HealthState, SfName, Spi, Ttl};

    #[test]
    fn every_hop_is_a_line_and_the_fault_is_the_last() {
        let mut trace = Trace::new(Spi::MIN);
        let functions = vec![EchoFunction {
            name: SfName::new("fw-1").unwrap(),
            state: HealthState::Alive,
            rtt_us: Some(80),
        }];
        trace.hear(Some(EchoReply {
            from: "192.0.2.1"
                .parse()
                .ok()
                .map(kc_forwarder_api::Responder::Address),
            code: EchoCode::TtlExceeded,
            rtt_us: 0,
            spi: Spi::MIN,
            si: None,
            ttl: Ttl::MIN,
            mtu: Some(1450),
            functions,
        }));
        trace.hear(None);
        assert_eq!(
            table(&trace),
            "HOP  SFF        ROUND-TRIP  MTU   FUNCTIONS            SAYS\n\
             0    192.0.2.1  -           1450  fw-1 (alive, 80 us)  TTL exceeded\n\
             broken: silence behind hop 0, 192.0.2.1\n"
        );
    }
}
