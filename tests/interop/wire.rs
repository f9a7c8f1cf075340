//! What is on a wire, as tshark reads it.

use kc_tests::lab::{Lab, Namespace, PATIENCE, Process};
use std::collections::BTreeSet;
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
        Self::start_as(lab, namespace, interface, filter, packets, interface)
    }

    /// The same, into a file of this name.
    pub(crate) fn start_as(
        lab: &Lab,
        namespace: &Namespace,
        interface: &str,
        filter: &str,
        packets: u32,
        name: &str,
    ) -> Self {
        let file = lab.folder().join(format!("{name}-{packets}.pcapng"));
        let mut command = namespace.command("tshark");
        command.args(["-q", "-l", "-i", interface, "-f", filter, "-w"]);
        command.arg(&file).args(["-c", &packets.to_string()]);
        let process = Process::start_capture(command);
        Self { process, file }
    }

    /// Makes traffic until there is enough, and hands over the file.
    pub(crate) fn fill(mut self, mut traffic: impl FnMut()) -> Frames {
        let begin = Instant::now();
        while !self.process.ended() {
            traffic();
            assert!(begin.elapsed() < PATIENCE, "not enough to capture");
        }
        Frames::of(self.file)
    }
}

/// Captured frames.
pub(crate) struct Frames {
    /// Where they are.
    file: PathBuf,
    /// What tshark cannot know of itself, as its `-d` takes it.
    decode: Vec<String>,
}

impl Frames {
    /// The frames in a file.
    pub(crate) fn of(file: PathBuf) -> Self {
        let decode = Vec::new();
        Self { file, decode }
    }

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
        let split = |line: &String| line.split('\t').map(str::to_owned).collect();
        lines(command).iter().map(split).collect()
    }

    /// What tshark finds wrong with any packet, checksums included; a line each.
    pub(crate) fn complaints(&self) -> Vec<String> {
        // From here on a packet is worth a warning. What is said of conversations, such as a
        // request without an answer, is not about how a packet is made.
        let wrong = "(_ws.malformed || _ws.expert.severity >= 0x600000) \
                     && !(icmp.resp_not_found || icmpv6.resp_not_found || tcp.connection.rst)";
        let mut command = self.tshark(wrong);
        for protocol in ["ip", "udp", "tcp"] {
            command.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
        }
        command.args(["-o", "tcp.analyze_sequence_numbers:FALSE"]);
        command.args([
            "-T",
            "fields",
            "-e",
            "frame.number",
            "-e",
            "frame.protocols",
        ]);
        command.args(["-e", "_ws.expert.message", "-e", "_ws.col.Info"]);
        lines(command)
    }

    /// The protocols of each packet, from the outermost on.
    pub(crate) fn protocols(&self) -> BTreeSet<String> {
        let lines = self.fields("frame", &["frame.protocols"]);
        lines.into_iter().map(|mut line| line.remove(0)).collect()
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

/// The lines that tshark prints.
fn lines(mut command: Command) -> Vec<String> {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
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
