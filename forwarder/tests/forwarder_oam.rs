//! Three real forwarders with a function each on one LAN: traces that name them, a cut that a
//! trace names, liveness within its promise, and what tshark makes of it all.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program")]

use kc_forwarder_api::{
    Echo, EchoCode, HealthEvent, HealthState, Request, Response, Spi, Trace, TraceFault, Ttl,
};
use kc_tests::lab::{Forwarder, Lab, Namespace, PATIENCE, Process, unexpected_drops};
use kc_tests::programs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

const INTERVAL: u64 = 50;
const MULTIPLIER: u64 = 4;

/// box 1, 2, 3 on a switch; a bridge as a function hangs on each.
struct Net {
    forwarders: Vec<Forwarder>,
    boxes: Vec<Namespace>,
    functions: Vec<Namespace>,
    _switch: Namespace,
    lab: Lab,
}

impl Net {
    fn build(reverse: bool) -> Option<Self> {
        let lab = Lab::open()?;
        let switch = lab.namespace();
        switch.run("ip link add sw type bridge");
        switch.run("ip link set sw up");
        let (mut boxes, mut functions) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            let (host, function) = (lab.namespace(), lab.namespace());
            let plug = format!("p{number}");
            host.join("u0", &switch, &plug);
            switch.run(&format!("ip link set {plug} master sw"));
            host.address("u0", &format!("192.168.50.{number}/24"));
            function.join("inside", &host, "in");
            function.join("outside", &host, "out");
            function.run("ip link add br0 type bridge");
            for leg in ["inside", "outside"] {
                function.run(&format!("ip link set {leg} master br0"));
            }
            function.run("ip link set br0 up");
            boxes.push(host);
            functions.push(function);
        }
        boxes[0].join("end", &functions[0], "there");
        boxes[2].join("end", &functions[2], "there");
        let start = |number: usize| {
            let (host, name) = (&boxes[number - 1], format!("box{number}"));
            Forwarder::start(&lab, host, &name, &tables(number, reverse))
        };
        let forwarders = (1..=3).map(start).collect();
        Some(Self {
            forwarders,
            boxes,
            functions,
            _switch: switch,
            lab,
        })
    }

    fn trace(&self) -> Trace {
        let mut client = self.forwarders[0].client();
        let mut trace = Trace::new(spi(100));
        while let Some(ttl) = trace.next() {
            let reply = client.echo(Echo {
                ttl: Some(ttl),
                timeout_ms: 500,
                ..echo()
            });
            trace.hear(reply.unwrap());
        }
        trace
    }

    /// The command line, as a user has it.
    fn run(&self, arguments: &str) -> (i32, String) {
        let output = Command::new(programs::find("kc-forwarder").unwrap())
            .args(arguments.split_whitespace())
            .arg("--socket")
            .arg(&self.forwarders[0].socket)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code().unwrap(), text)
    }

    /// Waits until all that box 1 asks has answered.
    fn settle(&self) {
        for forwarder in &self.forwarders {
            forwarder.wait(
                |client| {
                    let status = client.status().unwrap();
                    let tunnels = status.tunnels.iter().map(|tunnel| tunnel.state);
                    let functions = status.functions.iter().map(|function| function.state);
                    tunnels
                        .chain(functions)
                        .all(|state| state == HealthState::Alive)
                },
                "all alive",
            );
        }
    }
}

fn spi(number: u32) -> Spi {
    Spi::new(number).unwrap()
}

fn echo() -> Echo {
    Echo {
        spi: spi(100),
        si: None,
        ttl: None,
        timeout_ms: 2000,
        size: 0,
    }
}

fn tables(number: usize, reverse: bool) -> String {
    let liveness = format!("liveness = {{ interval-ms = {INTERVAL}, multiplier = {MULTIPLIER} }}");
    let function = |si: u8, back: bool| {
        let direction = if back {
            ", direction = \"reverse\""
        } else {
            ""
        };
        format!("{{ si = {si}, to = {{ function = {{ name = \"f{number}\"{direction} }} }} }}")
    };
    let tunnel =
        |si: u8, to: usize| format!("{{ si = {si}, to = {{ tunnel = {{ name = \"b{to}\" }} }} }}");
    let end = |si: u8| format!("{{ si = {si}, to = {{ egress = {{ port = \"end\" }} }} }}");
    let (there, back) = match number {
        1 => (
            [function(255, false), tunnel(254, 2)],
            [function(253, true), end(252)],
        ),
        2 => (
            [function(254, false), tunnel(253, 3)],
            [function(254, true), tunnel(253, 1)],
        ),
        _ => (
            [function(253, false), end(252)],
            [function(255, true), tunnel(254, 2)],
        ),
    };
    let neighbours: &[usize] = match number {
        2 => &[1, 3],
        _ => &[2],
    };
    let tunnels: String = neighbours
        .iter()
        .map(|other| {
            format!(
                "[[tunnels]]\nname = \"b{other}\"\n\
                 transport = {{ vxlan-gpe = {{ remote = \"192.168.50.{other}\", vni = 7 }} }}\n\
                 {liveness}\n"
            )
        })
        .collect();
    let end_port = if number == 2 {
        ""
    } else {
        ", { name = \"end\" }"
    };
    let (pair, back) = if reverse {
        let back = back.join(", ");
        (
            "reverse = 101",
            format!("[[paths]]\nspi = 101\nhops = [{back}]"),
        )
    } else {
        ("", String::new())
    };
    let there = there.join(", ");
    format!(
        r#"
        name = "box-{number}"
        ports = [{{ name = "in" }}, {{ name = "out" }}{end_port}]
        [underlay]
        address = "192.168.50.{number}"
        {tunnels}
        [[functions]]
        name = "f{number}"
        attachment = {{ two-leg = {{ inside = "in", outside = "out" }} }}
        {liveness}
        [[paths]]
        spi = 100
        {pair}
        hops = [{there}]
        {back}
        "#
    )
}

/// Somebody who watches a forwarder's health.
struct Watcher(BufReader<UnixStream>);

impl Watcher {
    fn start(forwarder: &Forwarder) -> Self {
        let mut stream = UnixStream::connect(&forwarder.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = serde_json::to_string(&Request::Watch).unwrap();
        stream.write_all(format!("{request}\n").as_bytes()).unwrap();
        let mut watcher = Self(BufReader::new(stream));
        let Response::Watching { .. } = watcher.line() else {
            panic!("the present health comes first")
        };
        watcher
    }

    fn line(&mut self) -> Response {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Waits for `subject` to become `state`, and tells what else was told before.
    fn until(&mut self, subject: &str, state: HealthState) -> Vec<HealthEvent> {
        let mut before = Vec::new();
        loop {
            let Response::Health { event } = self.line() else {
                panic!("nothing but changes follows")
            };
            if event.subject.to_string() == subject && event.state == state {
                return before;
            }
            before.push(event);
        }
    }
}

#[test]
fn a_trace_names_every_box_and_function_with_and_without_a_reverse_path() {
    for reverse in [true, false] {
        let Some(net) = Net::build(reverse) else {
            return;
        };
        net.settle();
        let trace = net.trace();
        assert!(trace.reached, "{trace:?}");
        for (number, hop) in (1..).zip(&trace.hops) {
            assert_eq!(
                hop.from.as_ref().unwrap().to_string(),
                format!("box-{number}")
            );
            assert_eq!(hop.functions[0].name.as_str(), format!("f{number}"));
            assert_eq!(hop.functions[0].state, HealthState::Alive);
            assert!(hop.functions[0].rtt_us.unwrap() > 0);
            assert!(number == 1 || (1..500_000).contains(&hop.rtt_us), "{hop:?}");
        }
        let mtus: Vec<_> = trace.hops.iter().map(|hop| hop.mtu.unwrap()).collect();
        assert_eq!(mtus, [1426, 1426, 1500]);

        let (code, text) = net.run("trace 100");
        println!("{text}");
        assert_eq!(code, 0, "{text}");
        assert!(text.ends_with("the end was reached\n"), "{text}");
        let (code, text) = net.run("ping 100 -c 3 -i 1 -o json");
        assert_eq!(code, 0, "{text}");
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["reached"], 3, "{text}");
        let (code, _) = net.run("ping 77");
        assert_eq!(code, 3, "refused");
        for forwarder in &net.forwarders {
            // The functions' own kernels say a word now and then.
            let drops = unexpected_drops(&forwarder.counters(), &["no-return", "no-match"]);
            assert!(drops.is_empty(), "{drops:?}");
        }
    }
}

#[test]
fn a_cut_link_is_named_and_its_tunnel_is_dead_in_time_and_back_again() {
    let Some(net) = Net::build(true) else { return };
    net.settle();
    let mut watcher = Watcher::start(&net.forwarders[1]);
    let cut = Instant::now();
    net.boxes[2].run("ip link set u0 down");
    let others = watcher.until("tunnel b3", HealthState::Dead);
    let took = cut.elapsed();
    println!(
        "dead {took:?} after the cut, promised {} ms",
        INTERVAL * MULTIPLIER
    );
    assert!(others.is_empty(), "{others:?}");
    // The command itself takes its time, and so does a busy machine.
    assert!(
        took < Duration::from_millis(INTERVAL * MULTIPLIER + 250),
        "{took:?}"
    );
    let trace = net.trace();
    let after = trace.hops[1].from.clone();
    assert_eq!(after.as_ref().unwrap().to_string(), "box-2");
    assert_eq!(trace.fault, Some(TraceFault::Silence { after, hop: 1 }));
    let (code, text) = net.run("trace 100 --timeout 200");
    assert_eq!(code, 1);
    assert!(
        text.ends_with("broken: silence behind hop 1, box-2\n"),
        "{text}"
    );

    let healed = Instant::now();
    net.boxes[2].run("ip link set u0 up");
    watcher.until("tunnel b3", HealthState::Alive);
    println!("alive {:?} after the link", healed.elapsed());
    net.settle();
    assert!(net.trace().reached);
}

#[test]
fn a_function_that_lets_nothing_through_is_dead_and_named() {
    let Some(net) = Net::build(true) else { return };
    net.settle();
    let mut watcher = Watcher::start(&net.forwarders[1]);
    let cut = Instant::now();
    net.functions[1].run("ip link set br0 down");
    watcher.until("function f2", HealthState::Dead);
    let took = cut.elapsed();
    assert!(
        took < Duration::from_millis(INTERVAL * MULTIPLIER + 250),
        "{took:?}"
    );
    let (code, text) = net.run("trace 100");
    assert_eq!(code, 1, "{text}");
    assert!(
        text.ends_with("broken: function f2 at box-2 is dead\n"),
        "{text}"
    );
    net.functions[1].run("ip link set br0 up");
    watcher.until("function f2", HealthState::Alive);
}

#[test]
fn echoes_wait_for_each_other_on_no_connection() {
    let Some(net) = Net::build(true) else { return };
    net.settle();
    net.boxes[2].run("ip link set u0 down");
    let forwarder = &net.forwarders[0];
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let mut client = forwarder.client();
            std::thread::spawn(move || {
                let begin = Instant::now();
                (client.echo(echo()).unwrap(), begin.elapsed())
            })
        })
        .collect();
    let begin = Instant::now();
    let near = forwarder.client().echo(Echo {
        ttl: Some(Ttl::new(1).unwrap()),
        ..echo()
    });
    assert_eq!(near.unwrap().unwrap().code, EchoCode::TtlExceeded);
    assert!(begin.elapsed() < Duration::from_millis(1900));
    for thread in waiting {
        let (reply, took) = thread.join().unwrap();
        assert_eq!(reply, None);
        // The forwarder's clock counts whole milliseconds.
        assert!(took >= Duration::from_millis(1999), "{took:?}");
    }
}

#[test]
fn tshark_finds_nothing_wrong_with_oam_packets() {
    let Some(net) = Net::build(true) else { return };
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("skipped: no tshark here");
        return;
    }
    net.settle();
    let file = net.lab.folder().join("oam.pcap");
    let mut capture = net.boxes[1].command("tshark");
    capture
        .args([
            "-q",
            "-l",
            "-i",
            "u0",
            "-f",
            "udp port 4790",
            "-c",
            "60",
            "-P",
            "-w",
        ])
        .arg(&file);
    let mut capture = Process::start_capture(capture);
    let begin = Instant::now();
    assert!(net.trace().reached);
    while !capture.ended() {
        // As fast as it goes: beyond a rate nobody answers.
        net.trace();
        assert!(begin.elapsed() < PATIENCE, "nothing captured");
    }
    let read = |filter: &str, fields: &[&str]| {
        let mut command = Command::new("tshark");
        command
            .arg("-r")
            .arg(&file)
            .args(["-Y", filter, "-T", "fields"]);
        for field in fields {
            command.args(["-e", field]);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let oam = read("nsh.Obit == 1", &["nsh.nextproto", "nsh.mdtype", "nsh.spi"]);
    // What hosts say of their own accord travels along the path too.
    assert!(oam.lines().count() >= 40, "{oam}");
    for line in oam.lines() {
        assert!(line.starts_with("0x07") || line.starts_with('7'), "{line}");
    }
    assert!(oam.contains("100") || oam.contains("0x000064"), "{oam}");
    let wrong = "_ws.malformed || _ws.expert.severity >= 0x600000";
    assert_eq!(read(wrong, &["frame.number", "_ws.expert.message"]), "");
}
