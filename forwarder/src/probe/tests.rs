//! A probing endpoint and an ordinary host, back to back through a pipeline.

use super::{Plan, Queues, Session};
use crate::frame::Frame;
use crate::pipeline::{Egress, Ingress, Outputs, Pipeline, PortInfo};
use crate::tables::{Compiled, PortIndex};
use kc_forwarder_api::{Probe, ProbeError, ProbeReport};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};
use std::sync::Arc;

const TABLES: &str = r#"
    generation = 1
    [[ports]]
    name = "client0"
    [[ports]]
    name = "server0"
    [[rules]]
    name = "there"
    match = { port = "client0" }
    action = { path = { spi = 2, si = 255 } }
    [[rules]]
    name = "back"
    match = { port = "server0" }
    action = { path = { spi = 3, si = 255 } }
    [[paths]]
    spi = 2
    hops = [{ si = 255, to = { egress = { port = "server0" } } }]
    [[paths]]
    spi = 3
    hops = [{ si = 255, to = { egress = { port = "client0" } } }]
"#;

const CLIENT: PortIndex = PortIndex(0);
const SERVER: PortIndex = PortIndex(1);

/// A host that answers: TCP port 80 and UDP port 7 echo, all else is refused.
struct Host {
    interface: Interface,
    queues: Queues,
    sockets: SocketSet<'static>,
    web: Vec<SocketHandle>,
    echo: SocketHandle,
    /// Answers to echo requests, which smoltcp leaves to us.
    replies: Vec<Frame>,
}

impl Host {
    fn new() -> Self {
        let mut queues = Queues::new(1500);
        let mac = EthernetAddress([2, 0, 0, 0, 0, 2]);
        let mut interface = Interface::new(
            Config::new(mac.into()),
            &mut queues,
            Instant::from_micros(0),
        );
        interface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(IpAddress::v4(10, 0, 0, 2), 24))
                .unwrap();
            let v6 = "fd00::2".parse::<std::net::Ipv6Addr>().unwrap();
            addresses.push(IpCidr::new(v6.into(), 64)).unwrap();
        });
        let mut sockets = SocketSet::new(Vec::new());
        let slots = || vec![udp::PacketMetadata::EMPTY; 8];
        let buffer = || udp::PacketBuffer::new(slots(), vec![0; 8192]);
        let mut echo = udp::Socket::new(buffer(), buffer());
        echo.bind(7).unwrap();
        let echo = sockets.add(echo);
        Self {
            interface,
            queues,
            sockets,
            web: Vec::new(),
            echo,
            replies: Vec::new(),
        }
    }

    fn feed(&mut self, frame: &[u8]) {
        match echo_reply(frame) {
            Some(reply) => self.replies.push(reply),
            None => self.queues.feed(frame),
        }
    }

    fn poll(&mut self, now_us: u64) -> Vec<Frame> {
        let now = Instant::from_micros(i64::try_from(now_us).unwrap());
        if !self
            .web
            .iter()
            .any(|&web| self.sockets.get::<tcp::Socket<'_>>(web).is_listening())
        {
            let buffer = || tcp::SocketBuffer::new(vec![0; 8192]);
            let mut socket = tcp::Socket::new(buffer(), buffer());
            socket.listen(80).unwrap();
            self.web.push(self.sockets.add(socket));
        }
        for _ in 0..3 {
            self.interface
                .poll(now, &mut self.queues, &mut self.sockets);
            let echo = self.sockets.get_mut::<udp::Socket<'_>>(self.echo);
            while let Ok((payload, from)) = echo.recv().map(|(p, from)| (p.to_vec(), from)) {
                echo.send_slice(&payload, from).unwrap();
            }
            for &web in &self.web {
                let web = self.sockets.get_mut::<tcp::Socket<'_>>(web);
                let mut octets = [0; 4096];
                if web.can_recv() && web.can_send() {
                    let count = web.recv_slice(&mut octets).unwrap();
                    web.send_slice(&octets[..count]).unwrap();
                } else if web.state() == tcp::State::CloseWait {
                    web.close();
                }
            }
        }
        let mut frames = std::mem::take(&mut self.replies);
        frames.append(&mut self.queues.outgoing);
        frames
    }
}

/// The answer to an echo request, made of it: ends swapped, type and checksum changed.
fn echo_reply(request: &[u8]) -> Option<Frame> {
    let mut reply = request.to_vec();
    let (addresses, icmp, more) = match (&request[12..14], request.get(54)) {
        ([0x08, 0x00], _) if request[23] == 1 && request[34] == 8 => (26..34, 34, 0x0800),
        ([0x86, 0xdd], Some(128)) if request[20] == 58 => (22..54, 54, !0x0100),
        _ => return None,
    };
    reply[..12].rotate_left(6);
    let half = addresses.len() / 2;
    reply[addresses].rotate_left(half);
    reply[icmp] = if icmp == 34 { 0 } else { 129 };
    let sum = u16::from_be_bytes([reply[icmp + 2], reply[icmp + 3]]);
    let (sum, carry) = sum.overflowing_add(more);
    reply[icmp + 2..icmp + 4].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    Some(Frame::copy_of(&reply))
}

fn plan(target: &str, change: impl FnOnce(&mut Probe)) -> Plan {
    let v6 = target.contains("fd00");
    let source = if v6 { "fd00::250/64" } else { "10.0.0.250/24" };
    let mut probe = Probe {
        port: "client0".parse().unwrap(),
        source: source.parse().unwrap(),
        gateway: None,
        target: target.parse().unwrap(),
        count: 5,
        interval_ms: 10,
        timeout_ms: 1500,
        size: 0,
    };
    change(&mut probe);
    Plan::new(probe, 1500).unwrap()
}

/// Everything between the two, and the clock.
struct World {
    pipeline: Pipeline,
    out: Outputs,
    host: Host,
    now_us: u64,
}

impl World {
    fn new() -> Self {
        let tables = Compiled::new(toml::from_str(TABLES).unwrap()).unwrap();
        let mut pipeline = Pipeline::new(Arc::new(tables));
        let mac = [2, 0xff, 0, 0, 0, 0];
        for port in [CLIENT, SERVER] {
            let (up, mtu) = (true, 1500);
            pipeline.set_port(port, PortInfo { up, mtu, mac });
        }
        Self {
            pipeline,
            out: Outputs::default(),
            host: Host::new(),
            now_us: 7,
        }
    }

    /// Frames into the pipeline; what leaves by the server's port passes `wire` and each step of
    /// the way takes 100 microseconds.
    fn carry(
        &mut self,
        ingress: Ingress,
        mut batch: Vec<Frame>,
        wire: &mut impl FnMut(&Frame) -> bool,
    ) {
        self.pipeline
            .process(self.now_us / 1000, ingress, &mut batch, &mut self.out);
        assert!(self.pipeline.balance().holds());
        for (egress, frame) in self.out.frames.drain(..) {
            match egress {
                Egress::Port(SERVER) if wire(&frame) => self.host.feed(frame.bytes()),
                _ => {}
            }
            self.out.pool.give(frame);
        }
    }

    fn run(&mut self, plan: Plan, mut wire: impl FnMut(&Frame) -> bool) -> ProbeReport {
        let mut session = Session::new(plan, 0x1234_5678_9abc_def0);
        assert!(self.pipeline.admit(session.port(), session.mac()));
        for _ in 0..100_000 {
            let mut batch = Vec::new();
            let now_us = self.now_us;
            self.pipeline
                .feed_guest(&mut self.out, |frame| session.accept(now_us, frame));
            session.poll(now_us, &mut batch);
            if let Some(report) = session.report() {
                self.pipeline.dismiss();
                return report;
            }
            let quiet = batch.is_empty();
            self.carry(Ingress::Guest, batch, &mut wire);
            let answers = self.host.poll(self.now_us);
            let idle = quiet && answers.is_empty();
            self.carry(Ingress::Port(SERVER), answers, &mut wire);
            let due = session.due_us(self.now_us);
            self.now_us = if idle {
                due.max(self.now_us + 100)
            } else {
                self.now_us + 100
            };
        }
        panic!("the session does not end");
    }
}

fn all_pass(target: &str, change: impl FnOnce(&mut Probe)) -> ProbeReport {
    let mut world = World::new();
    let report = world.run(plan(target, change), |_| true);
    let (sent, lost) = (report.sent, report.lost);
    assert_eq!(
        (sent, report.received, lost),
        (5, 5, 0),
        "{target}: {report}"
    );
    let rtt = report.rtt_us.unwrap();
    assert!(rtt.min >= 100 && rtt.max <= 10_000, "{target}: {report}");
    let balance = world.pipeline.balance();
    assert!(balance.generated > 5 && balance.consumed > 5, "{balance:?}");
    report
}

#[test]
fn an_echo_request_comes_back_over_either_family() {
    all_pass("icmp://10.0.0.2", |probe| probe.size = 1472);
    all_pass("icmp://fd00::2", |probe| probe.size = 56);
}

#[test]
fn a_datagram_is_echoed_over_either_family() {
    all_pass("udp://10.0.0.2:7", |_| ());
    all_pass("udp://[fd00::2]:7", |probe| probe.size = 1452);
}

#[test]
fn a_connection_is_made_and_octets_come_back() {
    let report = all_pass("tcp://10.0.0.2:80", |_| ());
    assert_eq!(report.connected, 5);
    let report = all_pass("tcp://[fd00::2]:80", |probe| probe.size = 10_000);
    assert_eq!((report.connected, report.retransmitted), (5, 0));
}

#[test]
fn a_closed_port_refuses_and_says_so() {
    for target in ["tcp://10.0.0.2:81", "udp://10.0.0.2:9", "udp://[fd00::2]:9"] {
        let report = World::new().run(plan(target, |_| ()), |_| true);
        assert_eq!(
            report.errors.get(&ProbeError::Refused),
            Some(&5),
            "{target}"
        );
        assert_eq!((report.lost, report.connected), (5, 0), "{target}");
    }
}

#[test]
fn a_black_hole_loses_all_and_an_absent_host_is_named() {
    for target in ["icmp://10.0.0.2", "udp://10.0.0.2:7", "tcp://10.0.0.2:80"] {
        let arp_only = |frame: &Frame| frame.bytes()[12..14] == [0x08, 0x06];
        let report = World::new().run(plan(target, |_| ()), arp_only);
        assert_eq!(
            report.errors.get(&ProbeError::Silence),
            Some(&5),
            "{target}"
        );
        assert_eq!(report.loss_basis_points(), 10_000);
        let report = World::new().run(plan(target, |_| ()), |_| false);
        assert_eq!(
            report.errors.get(&ProbeError::NoNeighbour),
            Some(&5),
            "{target}"
        );
    }
}

#[test]
fn each_lost_packet_counts_once() {
    let mut number = 0;
    let every_third = |frame: &Frame| {
        let is_ip = frame.bytes()[12..14] == [0x08, 0x00];
        number += u32::from(is_ip);
        !is_ip || number % 3 != 0
    };
    let plan = plan("icmp://10.0.0.2", |probe| probe.count = 30);
    let report = World::new().run(plan, every_third);
    assert_eq!((report.sent, report.received, report.lost), (30, 20, 10));
    assert!(report.jitter_us.is_some());
}

#[test]
fn a_lost_connection_request_is_sent_again_and_told() {
    let mut lost = false;
    let first_request = |frame: &Frame| {
        let is_request = frame
            .bytes()
            .get(47)
            .is_some_and(|flags| flags & 0x12 == 0x02);
        let lose = is_request && frame.bytes()[23] == 6 && !lost;
        lost |= lose;
        !lose
    };
    let report = World::new().run(plan("tcp://10.0.0.2:80", |_| ()), first_request);
    assert_eq!((report.received, report.retransmitted), (5, 1), "{report}");
}

#[test]
fn nobody_else_gets_what_is_for_the_guest_and_all_get_what_is_for_all() {
    let mut world = World::new();
    let mac = [2, 1, 2, 3, 4, 5];
    let client = "client0".parse().unwrap();
    assert!(world.pipeline.admit(&client, mac));
    let frame = |destination: [u8; 6]| {
        let mut bytes = [0; 60];
        bytes[..6].copy_from_slice(&destination);
        bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
        bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
        Frame::copy_of(&bytes)
    };
    let mut batch = vec![frame(mac), frame([0xff; 6]), frame([2, 0, 0, 0, 0, 1])];
    let (pipeline, out) = (&mut world.pipeline, &mut world.out);
    pipeline.process(1, Ingress::Port(SERVER), &mut batch, out);
    assert_eq!(out.frames.drain(..).count(), 2);
    let mut came = 0;
    pipeline.feed_guest(out, |_| came += 1);
    assert_eq!(came, 2);
    assert!(pipeline.balance().holds());
    assert!(!pipeline.admit(&"client1".parse().unwrap(), mac));
    assert!(!pipeline.has_guest());
}

#[test]
fn a_guest_keeps_its_port_through_a_change_and_loses_it_with_the_port() {
    let mut world = World::new();
    assert!(
        world
            .pipeline
            .admit(&"client0".parse().unwrap(), [2, 1, 2, 3, 4, 5])
    );
    let renumbered = TABLES.replacen("name = \"client0\"", "name = \"other0\"", 1)
        + "[[ports]]\nname = \"client0\"\n";
    let compiled = |text: &str| Arc::new(Compiled::new(toml::from_str(text).unwrap()).unwrap());
    world.pipeline.install(compiled(&renumbered));
    assert!(world.pipeline.has_guest());
    world
        .pipeline
        .install(compiled("[[ports]]\nname = \"server0\"\n"));
    assert!(!world.pipeline.has_guest());
}
