//! Captures on the underlay, decoded by tshark: a judge that nobody here wrote.

use crate::namespace;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
    /// Starts on the bridge, to end by itself after `packets` packets; returns once tshark says
    /// it listens, which is some moments before it does.
    ///
    /// # Errors
    /// There is no tshark, or it may not listen.
    pub fn start(directory: &Path, packets: u32) -> Result<Self> {
        let file = directory.join("underlay.pcapng");
        let count = packets.to_string();
        let mut child = namespace::inside("kcpg-lan", || {
            Command::new("tshark")
                .args(["-i", "br0", "-f", "udp port 4790", "-c", &count, "-w"])
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

    /// Makes traffic until tshark has seen enough, and decodes what it saw but for OAM: boxes ask
    /// each other once a second whether they live, on no path and with a TTL of 1.
    ///
    /// # Errors
    /// tshark saw too little or failed, the traffic failed.
    pub fn decode(mut self, mut traffic: impl FnMut() -> Result<()>) -> Result<Vec<NshPacket>> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.child.kill()?;
                self.child.wait()?;
                bail!("tshark has not seen enough NSH in 20 s");
            }
            traffic()?;
        }
        let output = Command::new("tshark")
            .arg("-r")
            .arg(&self.file)
            .args(["-Y", "nsh.Obit == 0", "-T", "fields", "-E", "occurrence=f"])
            .args(["-e", "ip.src", "-e", "ip.dst"])
            .args(["-e", "nsh.spi", "-e", "nsh.si", "-e", "nsh.ttl"])
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
