//! `kc-forwarder capture`: carries the stream of a capture to a file or a pipe, and says at the
//! end what was in it.

use crate::args::CaptureArgs;
use anyhow::{Context, bail};
use kc_forwarder::capture::Scan;
use kc_forwarder::control::Client;
use nix::sys::signal::{SigSet, Signal};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::process::ExitCode;

/// Captures until a limit is reached, the reader of our output has gone, or a signal comes.
pub(crate) fn follow(client: Client, args: &CaptureArgs) -> anyhow::Result<ExitCode> {
    let to_file = args.write.as_deref().filter(|path| *path != Path::new("-"));
    if to_file.is_none() && io::stdout().is_terminal() {
        eprintln!(
            "kc-forwarder: a capture is no text; use -w FILE, or pipe it: \
             kc-forwarder capture | wireshark -k -i -"
        );
        return Ok(ExitCode::from(2));
    }
    // Before the file is emptied and before any other thread starts.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block().context("catch signals")?;
    let mut stream = client.capture(args.request())?;
    let mut output: Box<dyn Write> = match to_file {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("{}", path.display()))?;
            Box::new(file)
        }
        None => Box::new(io::stdout()),
    };
    let socket = stream.get_ref().try_clone()?;
    std::thread::spawn(move || {
        // The first signal ends the capture, with its statistics; a second one ends us.
        let _ = signals.wait();
        let _ = socket.shutdown(Shutdown::Write);
        let _ = signals.wait();
        std::process::exit(130);
    });
    eprintln!("capturing; Ctrl-C ends it");
    let mut scan = Scan::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("read from the forwarder"),
        };
        let octets = buffer.get(..count).unwrap_or_default();
        match output.write_all(octets).and_then(|()| output.flush()) {
            Ok(()) => scan.feed(octets),
            // Whoever read has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(error).context("write the capture"),
        }
    }
    eprintln!(
        "{} packets captured\n{} packets dropped: no room left for a slow reader",
        scan.packets, scan.dropped
    );
    if scan.packets > 0 && !scan.complete && to_file.is_some() {
        bail!("the forwarder went away before the capture had ended");
    }
    Ok(ExitCode::SUCCESS)
}
