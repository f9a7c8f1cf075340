//! What is on a wire, as tshark reads it.

use kc_tests::lab::{Lab, Namespace, PATIENCE, Process};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A capture of some packets on one interface.
pub(crate) struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts to capture `packets` packets that meet `filter`.
    pub(crate) fn start(
        lab: &Lab,
        namespace: &Namespace,
        interface: &str,
        filter: &str,
        packets: u32,
    ) -> Self {
        let file = lab.folder().join(format!("{interface}-{packets}.pcapng"));
        let mut command = namespace.command("tshark");
        command
            .args(["-q", "-l", "-i", interface, "-f", filter, "-w"])
            .arg(&file);
        command.args(["-c", &packets.to_string()]);
        Self {
            process: Process::start_capture(command),
            file,
        }
    }

    /// Makes traffic until there is enough, and hands over the file.
    pub(crate) fn fill(mut self, mut traffic: impl FnMut()) -> Frames {
        let begin = Instant::now();
        while !self.process.ended() {
            traffic();
            assert!(begin.elapsed() < PATIENCE, "not enough to capture");
        }
        Frames {
            file: self.file,
            decode: Vec::new(),
        }
    }
}

/// Captured frames.
pub(crate) struct Frames {
    /// Where they are.
    pub(crate) file: PathBuf,
    /// What tshark cannot know of itself, as its `-d` takes it.
    decode: Vec<String>,
}

impl Frames {
    /// The same frames, where tshark is told what a port carries.
    pub(crate) fn decode_as(mut self, rule: &str) -> Self {
        self.decode.push(rule.to_owned());
        self
    }

    /// A line of `fields` for each packet that `filter` wants. A field that a packet has more than
    /// once is given as it is first: the outermost.
    pub(crate) fn fields(&self, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let mut command = self.tshark(filter);
        command.args(["-T", "fields", "-E", "occurrence=f"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect()
    }

    fn tshark(&self, filter: &str) -> Command {
        let mut command = Command::new("tshark");
        command
            .arg("-r")
            .arg(&self.file)
            .args(["-Y", filter])
            .stdin(Stdio::null());
        for rule in &self.decode {
            command.args(["-d", rule]);
        }
        command
    }
}

/// A number as tshark prints it, in decimal or with 0x.
pub(crate) fn number(text: &str) -> u32 {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// SPI, SI and TTL of every NSH that `filter` wants.
pub(crate) fn service_paths(frames: &Frames, filter: &str) -> Vec<(u32, u32, u32)> {
    let lines = frames.fields(filter, &["nsh.spi", "nsh.si", "nsh.ttl"]);
    lines
        .iter()
        .map(|line| (number(&line[0]), number(&line[1]), number(&line[2])))
        .collect()
}
