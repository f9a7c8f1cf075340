//! Captures on the underlay, decoded by tshark: a judge that nobody here wrote.

use crate::namespace;
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// tshark at work.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    file: PathBuf,
}

/// One NSH packet on the underlay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NshPacket {
    /// Outer source address.
    pub from: String,
    /// Outer destination address.
    pub to: String,
    /// Service path.
    pub spi: u32,
    /// Service index.
    pub si: u8,
    /// Time to live.
    pub ttl: u8,
}

impl Capture {
    /// Starts on the bridge and returns once tshark listens.
    ///
    /// # Errors
    /// There is no tshark, or it may not listen.
    pub fn start(directory: &Path) -> Result<Self> {
        let file = directory.join("underlay.pcapng");
        let mut child = namespace::inside("kcpg-lan", || {
            Command::new("tshark")
                .args(["-i", "br0", "-f", "udp port 4790", "-w"])
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
        })?
        .context("cannot run tshark")?;
        let stderr = child.stderr.take().context("tshark has no stderr")?;
        let mut lines = BufReader::new(stderr).lines();
        let listens = lines.any(|line| line.is_ok_and(|line| line.contains("Capturing on")));
        if !listens {
            bail!("tshark did not start: {}", child.wait()?);
        }
        // It goes on talking, and must not block on that.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, file })
    }

    /// Stops and decodes.
    ///
    /// # Errors
    /// tshark failed, or found a field we did not expect.
    pub fn decode(mut self) -> Result<Vec<NshPacket>> {
        let pid = i32::try_from(self.child.id())?;
        crate::process::signal(pid, Signal::SIGINT)?;
        self.child.wait()?;
        let output = Command::new("tshark")
            .arg("-r")
            .arg(&self.file)
            .args(["-Y", "nsh", "-T", "fields", "-E", "occurrence=f"])
            .args([
                "-e", "ip.src", "-e", "ip.dst", "-e", "nsh.spi", "-e", "nsh.si", "-e", "nsh.ttl",
            ])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().map(parse).collect()
    }
}

fn parse(line: &str) -> Result<NshPacket> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [from, to, spi, si, ttl] = fields[..] else {
        bail!("tshark says {line:?}");
    };
    Ok(NshPacket {
        from: from.to_owned(),
        to: to.to_owned(),
        spi: number(spi)?.try_into()?,
        si: number(si)?.try_into()?,
        ttl: number(ttl)?.try_into()?,
    })
}

/// A number as tshark prints it, in decimal or with 0x.
fn number(text: &str) -> Result<u64> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.with_context(|| format!("{text:?} is no number"))
}
