//! iperf3 for as long as it takes to see a stall, and transfers beside it whose octets are checked.

use crate::together::Chain;
use kc_tests::lab::{Namespace, Process, Tcp};
use serde_json::Value;
use std::fs::{self, File};

/// How many seconds: ten, or what `KC_TEST_IPERF_SECONDS` says.
fn seconds() -> usize {
    let said = std::env::var("KC_TEST_IPERF_SECONDS");
    said.map_or(10, |text| text.parse().unwrap())
}

/// Starts an iperf3 server for one client.
fn serve(namespace: &Namespace) -> Process {
    let mut command = namespace.command("iperf3");
    command.args(["--server", "--one-off", "--port", "5001", "--forceflush"]);
    Process::start_until(command, "Server listening")
}

/// What one direction came to.
struct Flow {
    name: &'static str,
    /// Octets in each second.
    intervals: Vec<u64>,
    retransmissions: u64,
}

impl Flow {
    fn read(report: &Value, name: &'static str, interval: &str, sum: &str) -> Self {
        let intervals = report["intervals"].as_array().unwrap().iter();
        Self {
            name,
            intervals: intervals
                .map(|each| each[interval]["bytes"].as_u64().unwrap())
                .collect(),
            retransmissions: report["end"][sum]["retransmits"].as_u64().unwrap(),
        }
    }

    fn tell(&self) -> String {
        let rate = |octets: u64| octets * 8 / 1_000_000;
        let all: u64 = self.intervals.iter().sum();
        let count = u64::try_from(self.intervals.len()).unwrap();
        let (least, most) = (self.intervals.iter().min(), self.intervals.iter().max());
        format!(
            "{}: {} Mbit/s on average of {count} s, {} in the slowest second and {} in the fastest, \
             {} segments sent again",
            self.name,
            rate(all / count),
            rate(*least.unwrap()),
            rate(*most.unwrap()),
            self.retransmissions
        )
    }
}

#[test]
fn iperf3_never_stalls_and_nothing_beside_it_is_corrupted() {
    let Some(chain) = Chain::build() else {
        return;
    };
    let _iperf = serve(&chain.ends.server);
    let _server = Tcp::serve(&chain.ends.server, "10.2.0.2");
    let wanted = seconds();
    let mut command = chain.ends.client.command("iperf3");
    command.args([
        "--client", "10.2.0.2", "--port", "5001", "--json", "--bidir",
    ]);
    command.args(["--time", &wanted.to_string()]);
    let file = chain.site.lab.folder().join("iperf3.json");
    let mut client = command
        .stdout(File::create(&file).unwrap())
        .spawn()
        .unwrap();
    let mut transfers = 0;
    let status = loop {
        if let Some(status) = client.try_wait().unwrap() {
            break status;
        }
        Tcp::exchange(&chain.ends.client, "10.2.0.2", 1 << 20);
        transfers += 1;
    };
    let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(status.success(), "{}", report["error"]);
    println!("{transfers} checked transfers of 1 MiB each way beside it");
    assert!(transfers > 0);
    let flows = [
        Flow::read(&report, "there", "sum", "sum_sent"),
        Flow::read(
            &report,
            "back",
            "sum_bidir_reverse",
            "sum_sent_bidir_reverse",
        ),
    ];
    for flow in flows {
        println!("{}", flow.tell());
        assert!(flow.intervals.len() >= wanted);
        // The last one may be a sliver.
        let whole = &flow.intervals[..wanted];
        assert!(whole.iter().all(|&octets| octets > 0), "{whole:?}");
    }
}
