//! What captures see, and that nobody else sees anything of them. tshark judges the files.

use crate::frames::{WEB, gpe, nsh};
use crate::path::BOX1;
use crate::random::Subject;
use crate::world::{World, only};
use fastrand::Rng;
use kc_forwarder::capture::{self, Printer, Progress, Scan};
use kc_forwarder_api::{Capture, CapturePoint, DropReason};
use std::path::Path;
use std::process::{Command, Stdio};

fn file(printer: &mut Printer) -> Vec<u8> {
    let mut out = Vec::new();
    printer.begin(&mut out);
    printer.end();
    assert_eq!(printer.print(&mut out, usize::MAX, 9), Progress::Done);
    out
}

/// The fields of every packet of `file`, one line each; `None` where there is no tshark.
pub(crate) fn dissect(file: &[u8], fields: &[&str]) -> Option<Vec<Vec<String>>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.pcapng");
    std::fs::write(&path, file).unwrap();
    dissect_file(&path, fields)
}

fn dissect_file(path: &Path, fields: &[&str]) -> Option<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path).args(["-n", "-T", "fields"]);
    fields.iter().for_each(|field| {
        command.args(["-e", field]);
    });
    let Ok(output) = command.stderr(Stdio::piped()).output() else {
        eprintln!("skipped: no tshark here");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    for sign in ["cut short", "damaged", "corrupt", "isn't a capture"] {
        assert!(!errors.contains(sign), "{errors}");
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let words = |line: &str| line.split('\t').map(str::to_owned).collect();
    Some(text.lines().map(words).collect())
}

fn begin(world: &mut World, json: &str) -> Printer {
    let (tap, printer) = capture::begin(&serde_json::from_str(json).unwrap(), 5);
    world.pipeline.tap(tap);
    printer
}

#[test]
fn every_point_of_a_path_is_shown_with_port_path_and_verdict() {
    let mut world = World::new(BOX1);
    world.pipeline.set_sources([vec![50_000], Vec::new()]);
    world.pipeline.set_capture_time(1_700_000_000_123_456_789);
    let mut printer = begin(&mut world, "{}");
    let request = WEB.tcp(0x18, &[], b"GET / HTTP/1.0\r\n\r\n");
    let inside = only(world.port("client", &request), "fw-a");
    let sent = only(world.port("fw-b", &inside), "gpe 192.168.50.2");
    // What box 2 would send back, at this box's index of the return path; and where it has none.
    let answer = WEB.back().tcp(0x18, &[], b"HTTP/1.0 200 OK\r\n\r\n");
    let back = gpe(100, &nsh(11, 254, 62, [0; 16], &answer));
    let outside = only(world.gpe("192.168.50.2", &back), "fw-b");
    only(world.port("fw-a", &outside), "client");
    let lost = gpe(100, &nsh(11, 9, 62, [0; 16], &answer));
    assert!(world.gpe("192.168.50.2", &lost).is_empty());
    assert!(
        world
            .port("fw-b", &WEB.back().tcp(2, &[], b"")[..9])
            .is_empty()
    );
    assert_eq!(world.drops(DropReason::NoPath), 1);

    let file = file(&mut printer);
    let fields = [
        "frame.comment",
        "frame.interface_name",
        "frame.packet_flags_direction",
        "frame.time_epoch",
        "frame.len",
        "nsh.spi",
        "nsh.si",
        "ip.dst",
        "udp.srcport",
    ];
    let Some(packets) = dissect(&file, &fields) else {
        return;
    };
    let length = |bytes: &[u8], more: usize| (bytes.len() + more).to_string();
    let wanted = [
        (
            "ingress port=client rule=out spi=10 si=255 verdict=path",
            "client",
            length(&request, 0),
        ),
        (
            "function function=fw port=fw-a spi=10 si=255",
            "fw-a",
            length(&inside, 0),
        ),
        (
            "function function=fw port=fw-b spi=10 si=254",
            "fw-b",
            length(&inside, 0),
        ),
        (
            "tunnel tunnel=box2 remote=192.168.50.2 vni=100 spi=10 si=254",
            "box2",
            length(&sent, 42),
        ),
        (
            "tunnel tunnel=box2 remote=192.168.50.2 vni=100 spi=11 si=254",
            "box2",
            length(&back, 42),
        ),
        (
            "function function=fw port=fw-b spi=11 si=254",
            "fw-b",
            length(&answer, 0),
        ),
        (
            "function function=fw port=fw-a spi=11 si=253",
            "fw-a",
            length(&answer, 0),
        ),
        (
            "egress port=client spi=11 si=253",
            "client",
            length(&answer, 0),
        ),
        (
            "tunnel tunnel=box2 remote=192.168.50.2 vni=100 spi=11 si=9",
            "box2",
            length(&lost, 42),
        ),
        (
            "drop reason=no-path tunnel=box2 spi=11 si=9",
            "box2",
            length(&lost, 14 - 8),
        ),
        (
            "drop reason=truncated function=fw port=fw-b",
            "fw-b",
            "9".into(),
        ),
    ];
    assert_eq!(packets.len(), wanted.len(), "{packets:#?}");
    for (packet, (comment, interface, length)) in packets.iter().zip(&wanted) {
        assert_eq!(
            (packet[0].as_str(), packet[1].as_str(), &packet[4]),
            (*comment, *interface, length)
        );
        assert!(packet[3].starts_with("1700000000.123456789"), "{packet:?}");
    }
    let (into, out) = (Some("0x00000001"), Some("0x00000002"));
    let ways = [into, out, into, out, into, out, into, out, into, None, None];
    for (packet, way) in packets.iter().zip(ways) {
        assert_eq!(packet[2], way.unwrap_or_default(), "{packet:?}");
    }
    // Outer headers that Wireshark follows down to the NSH and the packet inside.
    let outer = ["10", "254", "192.168.50.2,10.0.0.2", "50000"];
    assert_eq!(packets[3][5..], outer);
    // A frame that was dropped on a path has its NSH in front.
    assert_eq!(packets[9][5..7], ["11", "9"]);
}

#[test]
fn limits_and_filters_hold() {
    let request = WEB.tcp(0x18, &[], b"GET / HTTP/1.0\r\n\r\n");
    let count = |json: &str| {
        let mut world = World::new(BOX1);
        let mut printer = begin(&mut world, json);
        for _ in 0..3 {
            let inside = only(world.port("client", &request), "fw-a");
            only(world.port("fw-b", &inside), "gpe 192.168.50.2");
        }
        let mut scan = Scan::default();
        let file = file(&mut printer);
        scan.feed(&file);
        (scan.packets, file.len())
    };
    assert_eq!(count("{}").0, 12);
    assert_eq!(count(r#"{"packets":5}"#).0, 5);
    assert_eq!(count(r#"{"points":["function","tunnel"]}"#).0, 9);
    assert_eq!(count(r#"{"functions":["fw"]}"#).0, 6);
    assert_eq!(count(r#"{"spis":[11]}"#).0, 0);
    assert_eq!(count(r#"{"spis":[10],"ports":["client"]}"#).0, 3);
    let (whole, cut) = (count("{}"), count(r#"{"snaplen":20}"#));
    assert!(cut.0 == whole.0 && cut.1 < whole.1);
}

#[test]
fn a_capture_follows_names_through_a_change_of_tables() {
    let mut world = World::new(BOX1);
    let mut printer = begin(&mut world, r#"{"ports":["client"],"points":["ingress"]}"#);
    let request = WEB.tcp(0x18, &[], b"x");
    world.port("client", &request);
    // Every port has another number now.
    let moved = BOX1.replacen("[[ports]]", "[[ports]]\nname = \"first\"\n[[ports]]", 1);
    world.install(&moved.replace("generation = 1", "generation = 2"));
    world.port("first", &request);
    world.port("client", &request);
    let file = file(&mut printer);
    let Some(packets) = dissect(&file, &["frame.interface_name"]) else {
        return;
    };
    assert_eq!(packets, [["client"], ["client"]]);
}

#[test]
fn a_reader_that_takes_nothing_loses_packets_and_is_told_how_many() {
    let mut world = World::new(BOX1);
    let mut printer = begin(&mut world, r#"{"points":["ingress"]}"#);
    let request = WEB.tcp(0x18, &[], &[7; 1300]);
    const FRAMES: u64 = 10_000;
    // It waits, is called once, and does not come.
    assert_eq!(printer.print(&mut Vec::new(), 1, 6), Progress::Wait);
    for frame in 0..FRAMES {
        world.port("client", &request);
        assert_eq!(world.pipeline.wakes_reader(), frame == 0);
    }
    let mut scan = Scan::default();
    scan.feed(&file(&mut printer));
    assert!(scan.dropped > 0 && scan.packets > 1_000, "{scan:?}");
    assert_eq!(scan.packets + scan.dropped, FRAMES);
    // Nobody reads any more: the next look finds nobody to show frames to.
    drop(printer);
    assert!(world.pipeline.is_captured());
    world.pipeline.expire(world.now_ms);
    assert!(!world.pipeline.is_captured());
}

#[test]
fn any_frame_at_any_point_makes_a_file_that_tshark_reads() {
    let mut out = Vec::new();
    let mut scan = Scan::default();
    let rng = &mut Rng::with_seed(11);
    let mut subject = Subject::new(11, rng);
    let wanted = Capture {
        snaplen: 700,
        ..Capture::default()
    };
    let (tap, mut printer) = capture::begin(&wanted, 1);
    subject.pipeline.tap(tap);
    printer.begin(&mut out);
    for seed in 12..40 {
        for step in 0..100 {
            subject.step(seed * 1_000 + step, rng);
        }
        printer.print(&mut out, usize::MAX, 1);
        subject.install(seed, rng);
    }
    printer.end();
    assert_eq!(printer.print(&mut out, usize::MAX, 2), Progress::Done);
    scan.feed(&out);
    assert_eq!(scan.dropped, 0);
    let fields = ["frame.comment", "frame.cap_len"];
    let Some(packets) = dissect(&out, &fields) else {
        return;
    };
    assert_eq!(packets.len() as u64, scan.packets);
    assert!(packets.len() > 3_000, "{}", packets.len());
    for point in CapturePoint::ALL {
        let shown = |packet: &&Vec<String>| packet[0].starts_with(point.as_str());
        assert!(packets.iter().any(|packet| shown(&packet)), "no {point}");
    }
    assert!(
        packets
            .iter()
            .all(|packet| packet[1].parse::<u32>().unwrap() <= 700)
    );
}

#[test]
fn what_becomes_of_frames_is_the_same_whether_anybody_captures_or_not() {
    for seed in 0..40 {
        let [watched, alone] = [true, false].map(|watched| {
            let rng = &mut Rng::with_seed(seed);
            let mut subject = Subject::new(seed, rng);
            let (tap, _printer) = capture::begin(&Capture::default(), 1);
            if watched {
                subject.pipeline.tap(tap);
            }
            for step in 0..100 {
                subject.step(1_000 + step, rng);
                if step == 50 {
                    subject.install(seed + 1, rng);
                }
            }
            (subject.pipeline.counters(), subject.pipeline.balance())
        });
        assert!(alone.1.holds());
        assert_eq!(watched, alone);
    }
}
