//! The fast path: a forwarder whose kernel forwards by itself does the same as one that does not,
//! octet by octet and counter by counter.
#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder_api::{Counters, DropReason, FastMode, FastPathStatus, FastState};
use kc_tests::lab::{Forwarder, Lab, Namespace};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// Makes frames and takes them; see there.
const FRAMES: &str = include_str!("fast/frames.py");

/// Neighbours of the box: two VTEPs, a LAN, a function that knows NSH.
const AROUND: [(&str, &str); 4] = [("a0", "in0"), ("b0", "out0"), ("l0", "lan0"), ("f0", "fn0")];

/// A box with everything that the fast path forwards to, and its neighbours.
struct Site {
    lab: Lab,
    boxed: Namespace,
    around: Vec<Namespace>,
}

impl Site {
    fn build() -> Option<Self> {
        let lab = Lab::open()?;
        let boxed = lab.namespace();
        let around: Vec<_> = AROUND.iter().map(|_| lab.namespace()).collect();
        for quiet in [&around[2], &around[3]] {
            quiet.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
        }
        for ((there, here), other) in AROUND.iter().zip(&around) {
            other.join(there, &boxed, here);
            // Frames are to come in whole, and what is redirected to be taken.
            for (side, interface) in [(other, there), (&boxed, here)] {
                side.run(&format!(
                    "ethtool -K {interface} tx off tso off gso off gro on txvlan off rxvlan off"
                ));
                side.run(&format!("ip link set {interface} mtu 1700"));
            }
            other.run(&format!("ip link set {there} address 02:00:00:00:00:e0"));
            boxed.run(&format!("ip link set {here} address 02:00:00:00:00:d0"));
        }
        for (own, other, net) in [("in0", "a0", 1), ("out0", "b0", 2)] {
            boxed.address(own, &format!("10.{net}.0.99/24"));
            boxed.address(own, &format!("fd0{net}::99/64"));
            around[net - 1].address(other, &format!("10.{net}.0.{net}/24"));
            around[net - 1].address(other, &format!("fd0{net}::{net}/64"));
        }
        boxed.address("lo", "10.9.0.1/32");
        boxed.address("lo", "fd09::1/128");
        around[2].address("l0", "10.3.0.2/24");
        std::fs::write(lab.folder().join("frames.py"), FRAMES).unwrap();
        Some(Self { lab, boxed, around })
    }

    fn tables(fast_path: &str) -> String {
        let path = |spi: u32, to: &str| {
            format!("[[paths]]\nspi = {spi}\nhops = [{{ si = 255, to = {{ {to} }} }}]\n")
        };
        let tunnels = ["b4", "b6", "lan", "lan7"];
        let tunnels = (1..).zip(tunnels);
        let paths: String = tunnels
            .map(|(spi, name)| path(spi, &format!("tunnel = {{ name = \"{name}\" }}")))
            .collect();
        format!(
            r#"
            generation = 1
            fast-path = "{fast_path}"
            [underlay]
            backend = "udp"
            address = ["10.9.0.1", "fd09::1"]
            [[ports]]
            name = "lan"
            interface = "lan0"
            mtu = 1500
            addresses = ["10.3.0.1"]
            [[ports]]
            name = "leg"
            interface = "fn0"
            mtu = 1500
            [[tunnels]]
            name = "a4"
            transport = {{ vxlan-gpe = {{ remote = "10.1.0.1", vni = 100 }} }}
            [[tunnels]]
            name = "a6"
            transport = {{ vxlan-gpe = {{ remote = "fd01::1", vni = 100 }} }}
            [[tunnels]]
            name = "b4"
            transport = {{ vxlan-gpe = {{ remote = "10.2.0.2", vni = 200 }} }}
            [[tunnels]]
            name = "b6"
            transport = {{ vxlan-gpe = {{ remote = "fd02::2", vni = 200 }} }}
            [[tunnels]]
            name = "lan"
            transport = {{ ethernet = {{ port = "lan", next-hop = "10.3.0.2" }} }}
            [[tunnels]]
            name = "lan7"
            transport = {{ ethernet = {{ port = "lan", next-hop = "02:00:00:00:00:e0", vlan = 7 }} }}
            [[functions]]
            name = "sf"
            attachment = {{ nsh-aware = {{ port = "leg", mac = "02:00:00:00:00:e0" }} }}
            {paths}
            {}
            {}
            "#,
            path(5, "function = { name = \"sf\" }"),
            path(6, "tunnel = { name = \"a4\" }"),
        )
    }

    fn python(&self, namespace: &Namespace) -> Command {
        let mut command = namespace.command("python3");
        command.arg(self.lab.folder().join("frames.py"));
        command
    }

    /// Sends all frames that come in by `entry`, at neighbour `place`, and says how many.
    fn send(&self, place: usize, entry: &str) -> u64 {
        let mut command = self.python(&self.around[place]);
        let output = command
            .args(["send", AROUND[place].0, entry])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    /// Lets every kind of frame in by every way there is.
    fn traffic(&self, fast_path: &str) -> Outcome {
        let name = format!("box-{fast_path}");
        let forwarder = Forwarder::start(&self.lab, &self.boxed, &name, &Self::tables(fast_path));
        // The kernel and the forwarder know their neighbours before anything is counted.
        for remote in ["10.1.0.1", "fd01::1", "10.2.0.2", "fd02::2"] {
            self.boxed.run(&format!("ping -n -c 1 -w 5 {remote}"));
        }
        self.send(3, "warm");
        forwarder.wait(
            |client| {
                let counters = client.counters().unwrap();
                counters.paths.iter().any(|path| path.packets > 0)
                    && counters.tunnels.iter().map(|it| it.tx_packets).sum::<u64>() > 0
            },
            "the neighbour on the LAN is known",
        );
        if fast_path == "xdp" {
            forwarder.wait(
                |client| {
                    let status = client.status().unwrap().fast_path.unwrap();
                    let native = |it: &kc_forwarder_api::FastInterface| it.mode == FastMode::Native;
                    status.state == FastState::Forwarding
                        && status.interfaces.len() == AROUND.len()
                        && status.interfaces.iter().all(native)
                },
                "the fast path forwards on all interfaces",
            );
        }
        let before = forwarder.counters();
        let takers: Vec<_> = (0..AROUND.len())
            .map(|place| Taker::start(self, place))
            .collect();
        let entries = [(0, "gpe4"), (0, "gpe6"), (2, "lan"), (3, "leg")];
        for (place, entry) in entries {
            self.send(place, entry);
        }
        let mut counters = Counters::default();
        forwarder.wait(
            |client| {
                let now = client.counters().unwrap();
                let quiet = now == counters;
                counters = now;
                quiet && counters.paths.iter().any(|path| path.packets > 0)
            },
            "all is counted",
        );
        let sent = |names: &[&str], counters: &Counters| -> u64 {
            let tunnels = counters.tunnels.iter();
            let tunnels = tunnels.filter(|it| names.contains(&it.remote.to_string().as_str()));
            let ports = counters.ports.iter();
            let ports = ports.filter(|it| names.contains(&it.name.as_str()));
            tunnels
                .map(|it| it.tx_packets)
                .chain(ports.map(|it| it.tx_packets))
                .sum()
        };
        let ways: [&[&str]; 4] = [
            &["10.1.0.1", "fd01::1"],
            &["10.2.0.2", "fd02::2"],
            // By the tunnels: questions of our own are no packets of a path.
            &["10.3.0.2", "02:00:00:00:00:e0"],
            &["leg"],
        ];
        let wanted = ways.map(|names| sent(names, &counters) - sent(names, &before));
        let frames = takers.into_iter().zip(wanted);
        let frames = frames.map(|(taker, wanted)| taker.finish(wanted)).collect();
        let status = forwarder.client().status().unwrap().fast_path;
        Outcome {
            frames,
            counters,
            status,
        }
    }
}

/// What became of the traffic.
struct Outcome {
    /// By neighbour, sorted.
    frames: Vec<Vec<String>>,
    counters: Counters,
    status: Option<FastPathStatus>,
}

/// Takes frames at a neighbour.
struct Taker {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Taker {
    fn start(site: &Site, place: usize) -> Self {
        let mut child = site
            .python(&site.around[place])
            .args(["take", AROUND[place].0])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self { child, output }
    }

    fn finish(mut self, wanted: u64) -> Vec<String> {
        writeln!(self.child.stdin.take().unwrap(), "{wanted}").unwrap();
        let frames = (&mut self.output).lines().map(Result::unwrap).collect();
        assert!(self.child.wait().unwrap().success());
        frames
    }
}

#[test]
fn the_kernel_forwards_the_same_frames_and_counts_them_the_same() {
    let Some(site) = Site::build() else { return };
    let slow = site.traffic("off");
    let fast = site.traffic("xdp");
    assert!(slow.status.is_none());
    for ((slow, fast), (name, _)) in slow.frames.iter().zip(&fast.frames).zip(AROUND) {
        let counted = |frames: &[String]| {
            let mut counted: BTreeMap<String, i64> = BTreeMap::new();
            frames
                .iter()
                .for_each(|frame| *counted.entry(frame.clone()).or_default() += 1);
            counted
        };
        let (slow, fast) = (counted(slow), counted(fast));
        for (frame, count) in &slow {
            assert_eq!(fast.get(frame), Some(count), "at {name}: {frame}");
        }
        for (frame, count) in &fast {
            assert_eq!(
                slow.get(frame),
                Some(count),
                "only fast, at {name}: {frame}"
            );
        }
    }
    assert_eq!(without_noise(slow.counters), without_noise(fast.counters));
}

#[test]
fn stations_that_were_noted_by_hand_stay_so_however_long_packets_go_there() {
    let Some(site) = Site::build() else { return };
    let noted = |remote: &str, interface: &str| {
        let set = format!("{remote} lladdr 02:00:00:00:00:e0 dev {interface} nud permanent");
        site.boxed.run(&format!("ip neighbour replace {set}"));
    };
    noted("10.2.0.2", "out0");
    noted("fd02::2", "out0");
    let forwarder = Forwarder::start(&site.lab, &site.boxed, "box", &Site::tables("xdp"));
    let sent = |counters: &Counters| -> u64 {
        let way = |it: &&kc_forwarder_api::TunnelCounters| it.remote.to_string() == "10.2.0.2";
        counters
            .tunnels
            .iter()
            .filter(way)
            .map(|it| it.tx_packets)
            .sum()
    };
    // What is used is looked after once a second.
    let (mut busy, mut seconds) = (0, 0);
    while busy < 3 {
        let before = sent(&forwarder.counters());
        site.send(0, "gpe4");
        let now = forwarder.client().status().unwrap().uptime_ms / 1000;
        if sent(&forwarder.counters()) > before && now > seconds {
            (busy, seconds) = (busy + 1, now);
        }
    }
    let known = site.boxed.run("ip neighbour show dev out0");
    assert_eq!(known.matches("PERMANENT").count(), 2, "{known}");
}

/// Kernels on the links announce themselves when they please; nobody forwards that.
fn without_noise(mut counters: Counters) -> Counters {
    for port in &mut counters.ports {
        (port.rx_packets, port.rx_bytes) = (0, 0);
    }
    counters.drops.remove(&DropReason::NoMatch);
    counters.drops.remove(&DropReason::NotNsh);
    counters
}
