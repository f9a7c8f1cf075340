//! Functions that die, stand still, or send what they should not: their own path suffers as little
//! as it must, the path beside it, through the same forwarders and the same tunnel, not at all.

use crate::nft;
use crate::odd;
use crate::site::{Ends, Function, Site};
use crate::suricata::Suricata;
use kc_forwarder_api::{Counters, PortCounters, PortState};
use kc_tests::lab::{PATIENCE, Tcp, unexpected_drops};
use std::thread;
use std::time::{Duration, Instant};

/// A chain through `function` on the first of two boxes, and another through a bridge there.
struct Pair {
    site: Site,
    function: Function,
    /// Ends of the chain through `function`: service paths 10 and 11.
    ends: Ends,
    /// Ends of the chain beside it.
    beside: Ends,
    _bridge: Function,
}

impl Pair {
    fn build() -> Option<Self> {
        let mut site = Site::build(&[1500, 1500])?;
        let function = site.two_leg(0, "fn");
        let bridge = site.two_leg(0, "br");
        nft::bridge(&bridge.namespace);
        let ends = site.chain(&[&function]);
        let beside = site.chain(&[&bridge]);
        ends.neighbours();
        beside.neighbours();
        site.start();
        beside.ping("10.0.0.2");
        Some(Self {
            site,
            function,
            ends,
            beside,
            _bridge: bridge,
        })
    }

    /// The chain beside it serves as if nothing had happened.
    fn beside_serves(&self) -> String {
        let _server = Tcp::serve(&self.beside.server, "10.0.0.2");
        Tcp::exchange(&self.beside.client, "10.0.0.2", 4 << 20);
        Tcp::requests(&self.beside.client, "10.0.0.2", 200)
    }

    /// Runs a transfer through the function, and `fault` when the transfer is under way; the
    /// transfer must come to its end with every octet right.
    fn outlives(&self, fault: impl FnOnce()) {
        let _server = Tcp::serve(&self.ends.server, "10.0.0.2");
        thread::scope(|scope| {
            let before = self.through_the_function();
            let transfer = || Tcp::exchange(&self.ends.client, "10.0.0.2", 16 << 20);
            let transfer = scope.spawn(transfer);
            self.wait("a transfer under way", || {
                self.through_the_function() > before + 1_000
            });
            fault();
            println!("the transfer: {}", transfer.join().unwrap());
        });
    }

    fn through_the_function(&self) -> u64 {
        crate::site::on_path(&self.site.forwarder(0).counters(), Site::spi(0))
    }

    fn wait(&self, what: &str, reached: impl Fn() -> bool) {
        let begin = Instant::now();
        while !reached() {
            assert!(begin.elapsed() < PATIENCE, "{what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn drops_nothing_but(&self, expected: &[&str]) {
        for counters in self.site.counters() {
            let drops = unexpected_drops(&counters, expected);
            assert!(drops.is_empty(), "{drops:?}");
        }
    }

    /// Frames dropped by the first box.
    fn drops_here(&self) -> u64 {
        self.site.forwarder(0).counters().drops.values().sum()
    }

    fn leg(&self, number: usize, state: PortState) {
        let name = ["fn-i", "fn-o"][number];
        let reached = |client: &mut kc_forwarder::control::Client| {
            let ports = client.status().unwrap().ports;
            let port = ports.iter().find(|port| port.name.as_str() == name);
            port.unwrap().state == state
        };
        self.site.forwarder(0).wait(reached, name);
    }
}

#[test]
fn a_function_that_is_killed_and_comes_back_keeps_its_connections() {
    let Some(pair) = Pair::build() else { return };
    let start = || Suricata::start(&pair.site.lab, &pair.function.namespace);
    let mut suricata = Some(start());
    pair.ends.ping("10.0.0.2");
    pair.outlives(|| {
        // SIGKILL.
        drop(suricata.take());
        println!("beside: {}", pair.beside_serves());
        suricata = Some(start());
    });
    pair.drops_nothing_but(&[]);
}

#[test]
fn a_function_that_stands_still_for_two_seconds_delays_only_its_own_path() {
    let Some(pair) = Pair::build() else { return };
    let suricata = Suricata::start(&pair.site.lab, &pair.function.namespace);
    pair.ends.ping("10.0.0.2");
    pair.outlives(|| {
        suricata.process.signal("STOP");
        let begin = Instant::now();
        println!("beside: {}", pair.beside_serves());
        thread::sleep(Duration::from_secs(2).saturating_sub(begin.elapsed()));
        suricata.process.signal("CONT");
    });
    pair.drops_nothing_but(&[]);
}

#[test]
fn a_function_whose_legs_vanish_is_served_again_when_they_are_back() {
    let Some(mut pair) = Pair::build() else {
        return;
    };
    nft::bridge(&pair.function.namespace);
    pair.ends.ping("10.0.0.2");
    pair.site.unplug(&mut pair.function);
    for leg in [0, 1] {
        pair.leg(leg, PortState::Absent);
    }
    let lost = pair.ends.client.output("ping -n -c 1 -W 1 10.0.0.2");
    assert!(!lost.status.success(), "answered without its function");
    let named = |counters: &Counters| !unexpected_drops(counters, &[]).is_empty();
    assert!(named(&pair.site.forwarder(0).counters()));
    println!("beside: {}", pair.beside_serves());
    pair.site.plug(&pair.function);
    nft::bridge(&pair.function.namespace);
    for leg in [0, 1] {
        pair.leg(leg, PortState::Up);
    }
    pair.ends.ping("10.0.0.2");
    pair.drops_nothing_but(&["port-down"]);
}

#[test]
fn frames_that_come_twice_or_in_another_order_are_carried_like_others() {
    for how in [odd::duplicating, odd::reordering] {
        let Some(pair) = Pair::build() else { return };
        let _function = how(&pair.function.namespace);
        pair.ends.ping("10.0.0.2");
        let _server = Tcp::serve(&pair.ends.server, "10.0.0.2");
        println!("{}", Tcp::exchange(&pair.ends.client, "10.0.0.2", 4 << 20));
        println!("{}", Tcp::requests(&pair.ends.client, "10.0.0.2", 200));
        println!("beside: {}", pair.beside_serves());
        pair.drops_nothing_but(&[]);
    }
}

/// What the first box has to account for: frames that came out of functions, and frames that were
/// sent out of it or dropped.
fn account(counters: &Counters) -> [u64; 2] {
    let ports = |names: [&str; 2], packets: fn(&PortCounters) -> u64| -> u64 {
        let ports = counters.ports.iter();
        let ports = ports.filter(|port| names.contains(&port.name.as_str()));
        ports.map(packets).sum()
    };
    // What the bridge beside it lets through may be cut before it goes on: the paths behind it
    // count the pieces.
    let beside = counters.paths.iter().filter(|path| path.si.get() == 254);
    let beside = beside.filter(|path| matches!(path.spi.get(), 20 | 21));
    let sent = counters.tunnels.iter().map(|tunnel| tunnel.tx_packets);
    [
        ports(["fn-i", "fn-o"], |port| port.rx_packets)
            + beside.map(|path| path.packets).sum::<u64>(),
        ports(["c0", "c1"], |port| port.tx_packets)
            + sent.sum::<u64>()
            + counters.drops.values().sum::<u64>(),
    ]
}

#[test]
fn noise_out_of_both_legs_is_counted_to_the_last_frame_and_harms_nobody() {
    let Some(pair) = Pair::build() else { return };
    thread::scope(|scope| {
        let noise = scope.spawn(|| odd::noise(&pair.function.namespace, 500));
        println!("beside: {}", pair.beside_serves());
        println!("{} frames of noise", noise.join().unwrap());
    });
    pair.wait("every frame of noise is accounted for", || {
        let [came, ended] = account(&pair.site.forwarder(0).counters());
        came > 1_000 && came == ended
    });
    // Too long for the tunnel and nothing that could be cut, NSH on its way out of a port, or a
    // piece of a datagram that nobody began.
    let known = ["mtu-exceeded", "nsh-outside", "fragment-orphan"];
    for counters in pair.site.counters() {
        assert_eq!(unexpected_drops(&counters, &known), [""; 0]);
        assert!(!counters.drops.is_empty(), "{:?}", counters.drops);
    }
    nft::bridge(&pair.function.namespace);
    pair.ends.ping("10.0.0.2");
}

#[test]
fn frames_for_a_leg_whose_other_end_is_down_are_counted_by_name() {
    let Some(pair) = Pair::build() else { return };
    nft::bridge(&pair.function.namespace);
    pair.ends.ping("10.0.0.2");
    let function = &pair.function.namespace;
    for inner in ["i0", "o0"] {
        let before = pair.drops_here();
        function.run(&format!("ip link set {inner} down"));
        let lost = pair.ends.client.output("ping -n -c 2 -i 0.1 -W 1 10.0.0.2");
        assert!(!lost.status.success(), "answered without its function");
        // Out of i0 nobody answers the client's questions; nothing comes to o0 from the server.
        assert!(inner == "o0" || pair.drops_here() > before);
        function.run(&format!("ip link set {inner} up"));
        pair.ends.ping("10.0.0.2");
    }
    pair.drops_nothing_but(&["tx-full"]);
    println!("beside: {}", pair.beside_serves());
}
