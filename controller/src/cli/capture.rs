//! `kc capture`: what a chain's boxes see, as one pcapng.

use super::args::CaptureArgs;
use super::client::Client;
use super::describe::find;
use super::failure::Failure;
use super::get::escape;
use super::kind::Kind;
use crate::views::ChainView;
use anyhow::Context as _;
use std::fs::File;
use std::io::{IsTerminal as _, Write};

/// Captures along a chain into a file or a pipe.
pub(super) async fn capture(client: &Client, args: &CaptureArgs) -> Result<(), Failure> {
    if args.kind != Kind::Chains {
        return Err(Failure::Usage(format!(
            "only chains can be captured: kc capture chain {}",
            args.name
        )));
    }
    let stdout = std::io::stdout();
    if args.write.is_none() && stdout.is_terminal() {
        return Err(Failure::Usage(format!(
            "pcapng is not for terminals: name a file with -w, or pipe it: \
             kc capture chain {} | tshark -r -",
            args.name
        )));
    }
    let _: ChainView = find(client, &args.name).await?;
    let mut query = Vec::new();
    if !args.at.is_empty() {
        query.push(format!("at={}", escape(&args.at.join(","))));
    }
    if let Some(count) = args.count {
        query.push(format!("packets={count}"));
    }
    if let Some(seconds) = args.seconds {
        query.push(format!("seconds={seconds}"));
    }
    if let Some(snaplen) = args.snaplen {
        query.push(format!("snaplen={snaplen}"));
    }
    let path = format!(
        "/api/v1/chains/{}/capture?{}",
        escape(&args.name),
        query.join("&")
    );
    let mut octets = client.octets(&path).await?;
    let mut out: Box<dyn Write> = match &args.write {
        Some(file) if file.as_os_str() != "-" => {
            let opened = File::create(file);
            Box::new(opened.with_context(|| format!("cannot write {}", file.display()))?)
        }
        _ => Box::new(stdout.lock()),
    };
    eprintln!("capturing; Ctrl-C ends it");
    while let Some(piece) = octets.next().await? {
        out.write_all(&piece)?;
        // Whoever reads along shall see it now.
        out.flush()?;
    }
    Ok(())
}
