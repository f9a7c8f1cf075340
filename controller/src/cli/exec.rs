//! `kc exec`: a command in an instance, as if it ran here.

use super::args::ExecArgs;
use super::client::{Client, ClientError};
use super::failure::Failure;
use super::get::escape;
use super::logs::place;
use super::session::{FrameReader, FrameWriter, SILENCE};
use super::terminal::{self, Raw};
use crate::frame::Frame;
use crate::views::ExecRequest;
use std::io::{Read as _, Write};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Octets read at once.
const READ: usize = 32 << 10;
/// A terminal's size when there is none here.
const SIZE: (u16, u16) = (24, 80);

/// Runs a command; its exit code becomes ours.
pub(super) async fn exec(client: &Client, args: &ExecArgs) -> Result<(), Failure> {
    let interactive = args.stdin && args.tty;
    if interactive && !terminal::is_input() {
        return Err(Failure::Usage(
            "-t wants a terminal, and standard input is none: leave -t out".to_owned(),
        ));
    }
    let node = place(client, &args.instance).await?;
    let instance = escape(&args.instance);
    let path = format!("/api/v1/nodes/{}/exec/{instance}", escape(&node));
    let wanted = ExecRequest {
        command: args.command.clone(),
        stdin: args.stdin,
        tty: args.tty.then(|| terminal::size().unwrap_or(SIZE)),
    };
    let (mut reader, mut writer) = client.session(&path, &wanted).await?;
    let sizes = match args.tty {
        true => Some(signal(SignalKind::window_change())?),
        false => None,
    };
    let raw = match interactive {
        true => Some((Raw::enter()?, Endings::new()?)),
        false => None,
    };
    let input = args.stdin.then(standard_input);
    let done = tokio::select! {
        done = outward(&mut reader) => done,
        done = inward(&mut writer, input, sizes) => done,
        signal = ended(raw.as_ref().map(|(_, endings)| endings)) => {
            Err(Failure::Exit(128 + signal))
        }
    };
    drop(raw);
    done
}

/// Prints what the command says, to its end.
async fn outward(reader: &mut FrameReader) -> Result<(), Failure> {
    loop {
        match reader.next().await? {
            Frame::Octets(octets) => print(std::io::stdout, octets).await?,
            Frame::Errors(octets) => print(std::io::stderr, octets).await?,
            Frame::Exit(None | Some(0)) => return Ok(()),
            Frame::Exit(Some(code)) => {
                // As the kernel has it: the low octet.
                let code = u8::try_from(code.rem_euclid(256)).unwrap_or(u8::MAX);
                return Err(Failure::Exit(code));
            }
            Frame::Failure(text) => return Err(Failure::Other(anyhow::anyhow!(text))),
            _ => {}
        }
    }
}

/// Writes beside the runtime: a pipe that takes nothing must not keep us from hearing signals.
pub(super) async fn print<W: Write>(
    out: impl FnOnce() -> W + Send + 'static,
    octets: Vec<u8>,
) -> Result<(), Failure> {
    let written = tokio::task::spawn_blocking(move || {
        let mut out = out();
        out.write_all(&octets)?;
        out.flush()
    });
    match written.await {
        Ok(written) => Ok(written?),
        Err(error) => Err(Failure::Other(error.into())),
    }
}

/// Sends keystrokes and sizes, and signs of life; has no end of its own.
async fn inward(
    writer: &mut FrameWriter,
    mut input: Option<mpsc::Receiver<Vec<u8>>>,
    mut sizes: Option<Signal>,
) -> Result<(), Failure> {
    loop {
        let next = async {
            tokio::select! {
                octets = typed(&mut input) => match octets {
                    Some(octets) => Frame::Octets(octets),
                    None => Frame::End,
                },
                () = resized(&mut sizes) => {
                    let (rows, columns) = terminal::size().unwrap_or(SIZE);
                    Frame::Resize(rows, columns)
                }
            }
        };
        let frame = timeout(SILENCE, next).await.unwrap_or(Frame::Silence);
        if frame == Frame::End {
            input = None;
        }
        match writer.write(&frame).await {
            Ok(()) => {}
            // Why it ended is told by what can still be read.
            Err(ClientError::BrokenOff { .. }) => return std::future::pending().await,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn typed(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}

async fn resized(sizes: &mut Option<Signal>) {
    match sizes {
        Some(sizes) => drop(sizes.recv().await),
        None => std::future::pending().await,
    }
}

/// Standard input, read by a thread that nobody waits for at the end.
pub(super) fn standard_input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(2);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; READ];
        loop {
            match stdin.read(&mut buffer) {
                Ok(count @ 1..) => {
                    let octets = buffer.get(..count).unwrap_or_default().to_vec();
                    if sender.blocking_send(octets).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
            }
        }
    });
    receiver
}

/// Signals that end us, caught while the terminal is raw so that it is put back first.
struct Endings(std::cell::RefCell<[(u8, Signal); 4]>);

impl Endings {
    fn new() -> std::io::Result<Self> {
        let of = |number, kind| signal(kind).map(|signal| (number, signal));
        Ok(Self(std::cell::RefCell::new([
            of(1, SignalKind::hangup())?,
            of(2, SignalKind::interrupt())?,
            of(3, SignalKind::quit())?,
            of(15, SignalKind::terminate())?,
        ])))
    }
}

/// The number of the first signal that ends us.
async fn ended(endings: Option<&Endings>) -> u8 {
    let Some(endings) = endings else {
        return std::future::pending().await;
    };
    std::future::poll_fn(|context| {
        for (number, signal) in endings.0.borrow_mut().iter_mut() {
            if signal.poll_recv(context).is_ready() {
                return std::task::Poll::Ready(*number);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
