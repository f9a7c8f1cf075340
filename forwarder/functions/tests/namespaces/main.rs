//! Real traffic through each function, over veth pairs between network namespaces. Needs root;
//! says so and passes where there is none.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod lab;

use lab::{Lab, Room};
use serde_json::Value;

/// Whether namespaces can be made here.
fn rooted() -> bool {
    let rooted = nix::unistd::geteuid().is_root();
    if !rooted {
        eprintln!("not root: network namespaces are not tested");
    }
    rooted
}

fn number(value: &Value, path: &str) -> u64 {
    value
        .pointer(path)
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("{path} in {value}"))
}

/// Everything that came in is accounted for.
fn assert_balanced(counters: &Value) {
    let dropped = counters["dropped"].as_object().unwrap();
    let dropped: u64 = dropped.values().map(|tally| number(tally, "/frames")).sum();
    let [received, passed, consumed] = ["/received/frames", "/passed/frames", "/consumed/frames"]
        .map(|path| number(counters, path));
    assert_eq!(received, passed + consumed + dropped, "{counters}");
    assert_eq!(counters["lost"].as_object().unwrap().len(), 0, "{counters}");
}

const TWO_LEGS: [&str; 4] = ["--inside", "in", "--outside", "out"];

#[test]
fn the_firewall_passes_what_its_rules_allow() {
    if !rooted() {
        return;
    }
    let lab = Lab::new();
    let rules = [
        "--rule",
        "allow icmp from any to any",
        "--rule",
        "allow tcp from 10.0.0.0/24 to any port 80",
        "--rule",
        "reject tcp from any to any",
    ];
    // The function is there before its legs are.
    let mut firewall = lab.start(
        Room::Function,
        &[&["firewall"], &TWO_LEGS[..], &rules[..]].concat(),
    );
    firewall.await_log("waiting for it");
    lab.connect();
    firewall.await_log("ready");
    let mut server = lab.start(Room::Server, &["serve"]);
    server.await_log("listening");

    let (report, passed) = lab.probe("http://10.0.0.2/", 20);
    assert!(passed, "{report}");
    assert_eq!(report["clients"][0], "10.0.0.1");
    assert!(
        lab.output(Room::Client, &["ping", "-c1", "-W2", "10.0.0.2"])
            .status
            .success()
    );
    let (report, passed) = lab.probe("http://10.0.0.2:81/", 2);
    assert!(!passed);
    assert_eq!(report["errors"]["connection refused"], 2, "{report}");

    assert_eq!(
        number(&firewall.counters(), "/dropped/rule-reject/frames"),
        2
    );
    let counters = firewall.end();
    assert_balanced(&counters);
    assert_eq!(number(&counters, "/answered/frames"), 2);
    assert_eq!(number(&counters, "/details/rules/1/hits"), 20);
}

#[test]
fn the_nat_shows_one_address_and_lets_a_long_download_through() {
    if !rooted() {
        return;
    }
    let lab = Lab::new();
    lab.connect();
    let mut nat = lab.start(
        Room::Function,
        &[&["nat", "--address", "10.0.0.100"], &TWO_LEGS[..]].concat(),
    );
    nat.await_log("ready");
    let mut server = lab.start(Room::Server, &["serve"]);
    server.await_log("listening");

    let (report, passed) = lab.probe("http://10.0.0.2/", 20);
    assert!(passed, "{report}");
    assert_eq!(report["clients"], serde_json::json!(["10.0.0.100"]));
    // The ends' offloads are on: super-frames and open checksums come in.
    let (report, passed) = lab.probe("http://10.0.0.2/bytes/20000000", 1);
    assert!(passed, "{report}");
    assert!(
        lab.output(Room::Client, &["ping", "-c1", "-W2", "10.0.0.2"])
            .status
            .success()
    );
    // Nobody listens there: the error has to find its way back.
    let script = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(5)\ns.connect(('10.0.0.2', 9))\ns.send(b'x')\ntry:\n  s.recv(9)\nexcept ConnectionRefusedError:\n  print('refused')";
    let output = lab.output(Room::Client, &["/usr/bin/python3", "-c", script]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "refused\n");

    let counters = nat.end();
    assert_balanced(&counters);
    assert_eq!(number(&counters, "/details/translated/icmp-errors"), 1);
}

#[test]
fn the_inspector_names_hosts_and_resets_blocked_ones() {
    if !rooted() {
        return;
    }
    let lab = Lab::new();
    lab.connect();
    let mut dpi = lab.start(
        Room::Function,
        &[&["dpi", "--block", "blocked.example"], &TWO_LEGS[..]].concat(),
    );
    dpi.await_log("ready");
    let mut server = lab.start(Room::Server, &["serve"]);
    server.await_log("listening");

    let curl = |host: &str| {
        let header = format!("Host: {host}");
        let output = lab.output(
            Room::Client,
            &["curl", "-s", "-m", "5", "-H", &header, "http://10.0.0.2/"],
        );
        output.status.code()
    };
    assert_eq!(curl("fine.example"), Some(0));
    // "Failure in receiving network data": reset.
    assert_eq!(curl("www.blocked.example"), Some(56));

    let counters = dpi.end();
    assert_balanced(&counters);
    assert_eq!(number(&counters, "/details/blocked/blocked.example"), 1);
    assert_eq!(number(&counters, "/details/names/by-name/fine.example"), 1);
    assert_eq!(number(&counters, "/details/protocols/http/flows"), 2);
    assert!(number(&counters, "/answered/frames") >= 2);
}

#[test]
fn the_reflector_answers_for_a_host_that_does_not_exist() {
    if !rooted() {
        return;
    }
    let lab = Lab::new();
    lab.connect();
    let mut echo = lab.start(
        Room::Function,
        &["echo", "--port", "in", "--address", "10.0.0.7"],
    );
    echo.await_log("ready");
    assert!(
        lab.output(Room::Client, &["ping", "-c2", "-i0.2", "-W2", "10.0.0.7"])
            .status
            .success()
    );
    let counters = echo.end();
    assert_balanced(&counters);
    // The client's IPv6 says a word, too.
    assert!(number(&counters, "/details/reflected") >= 2);
}

#[test]
fn the_balancer_spreads_requests_and_leaves_out_a_dead_backend() {
    if !rooted() {
        return;
    }
    let lab = Lab::new();
    lab.connect();
    lab.ip(Room::Server, "addr add 10.0.0.3/24 dev eth0");
    let arguments = [
        "--vip",
        "10.0.0.50:80",
        "--backend",
        "10.0.0.2:80",
        "--backend",
        "10.0.0.3:8080",
        "--health-interval",
        "50ms",
    ];
    let mut first = lab.start(Room::Server, &["serve", "--listen", "10.0.0.2:80"]);
    first.await_log("listening");
    let mut second = lab.start(Room::Server, &["serve", "--listen", "10.0.0.3:8080"]);
    second.await_log("listening");
    let mut balancer = lab.start(
        Room::Function,
        &[&["loadbalancer"], &arguments[..], &TWO_LEGS[..]].concat(),
    );
    balancer.await_log("ready");

    let (report, passed) = lab.probe("http://10.0.0.50/", 40);
    assert!(passed, "{report}");
    assert_eq!(report["clients"], serde_json::json!(["10.0.0.1"]));
    let counters = balancer.counters();
    assert!(number(&second.end(), "/served") > 5, "{counters}");
    while balancer.counters()["details"]["backends"][1]["health"] != "down" {}
    let (report, passed) = lab.probe("http://10.0.0.50/", 20);
    assert!(passed, "{report}");
    assert!(number(&first.end(), "/served") > 25);
    assert_balanced(&balancer.end());
}

#[test]
fn a_function_that_knows_nsh_sends_frames_back_on_their_path() {
    if !rooted() {
        return;
    }
    let lab = Lab::new();
    let mut peer = lab.peer();
    let mut firewall = lab.start(
        Room::Function,
        &[
            "firewall",
            "--rule",
            "allow udp from any to any port 53",
            "--port",
            "leg",
            "--nsh",
        ],
    );
    firewall.await_log("ready");
    let nsh = |si: u8, port: u8| {
        let mut frame = b"\xff\xff\xff\xff\xff\xffssssss\x89\x4f".to_vec();
        frame[..6].copy_from_slice(&lab::LEG_MAC);
        frame.extend([0x0f, 0xc6, 1, 3, 0, 0, 42, si]);
        frame.extend(b"sixteen octets..");
        frame.extend(b"ddddddssssss\x08\x00");
        // An IPv4 header with its checksum, and UDP without one.
        frame.extend([
            0x45, 0, 0, 29, 0, 0, 0x40, 0, 64, 17, 0x26, 0xce, 10, 0, 0, 1, 10, 0, 0, 2,
        ]);
        frame.extend([0x10, 0, 0, port, 0, 9, 0, 0, b'x']);
        frame
    };
    peer.send(&nsh(255, 80));
    peer.send(&nsh(255, 53));
    let back = peer.receive();
    let mut expected = nsh(254, 53);
    expected[..6].copy_from_slice(b"ssssss");
    expected[6..12].copy_from_slice(&lab::LEG_MAC);
    assert_eq!(back, expected);
    let counters = firewall.end();
    assert_balanced(&counters);
    assert_eq!(number(&counters, "/dropped/rule-deny/frames"), 1);
}

#[test]
fn a_leg_that_goes_away_is_waited_for() {
    if !rooted() {
        return;
    }
    let lab = Lab::new();
    lab.connect();
    let mut firewall = lab.start(
        Room::Function,
        &[&["firewall", "--rule", "default allow"], &TWO_LEGS[..]].concat(),
    );
    firewall.await_log("ready");
    lab.ip(Room::Function, "link set in down");
    firewall
        .await_log("a leg went away")
        .await_log("waiting for it");
    lab.ip(Room::Function, "link set in up");
    firewall.await_log("ready");
    assert!(
        lab.output(Room::Client, &["ping", "-c1", "-W2", "10.0.0.2"])
            .status
            .success()
    );
    assert_balanced(&firewall.end());
}
