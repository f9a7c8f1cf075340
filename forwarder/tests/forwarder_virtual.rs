//! A virtual address over two boxes, with real kernels behind it: connections that go on and thousands
//! of short ones, while members join, drain and go.

#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder_api::{MacAddr, Tables};
use kc_tests::lab::{Forwarder, Lab, Namespace, Process, Tcp, unexpected_drops};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const ADDRESS: &str = "10.128.0.1";
/// The box of each member; a client and the box itself ask on box 1.
const BOXES: [usize; 3] = [1, 2, 2];
/// Connections that go on all the time.
const FLOWS: usize = 24;
/// Long enough on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Net {
    client: Namespace,
    members: Vec<Namespace>,
    boxes: Vec<Namespace>,
    forwarders: Vec<Forwarder>,
    _lab: Lab,
}

/// What a member is to the tables.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Away,
    Serves,
    Drains,
}

fn mac(member: usize) -> String {
    format!("02:6b:00:00:01:0{member}")
}

fn tables(number: usize, parts: &[Part]) -> Tables {
    let there = |member: usize| BOXES[member] == number;
    let own = (0..BOXES.len()).filter(|member| there(*member));
    let mut ports: Vec<_> = own.map(|member| format!("m{member}")).collect();
    if number == 1 {
        ports.extend(["c".to_owned(), "kcsvc-p".to_owned()]);
    }
    let entries = (0..BOXES.len()).map(|member| {
        let place = if there(member) {
            format!("port = \"m{member}\"")
        } else {
            format!("peer = \"192.168.50.{}\"", BOXES[member])
        };
        format!("{{ mac = \"{}\", {place} }}", mac(member))
    });
    let members = parts
        .iter()
        .enumerate()
        .filter(|(_, part)| **part != Part::Away);
    let members = members.map(|(member, part)| {
        let draining = *part == Part::Drains;
        format!("{{ mac = \"{}\", draining = {draining} }}", mac(member))
    });
    let listed = ports.iter().map(|name| format!("{{ name = \"{name}\" }}"));
    let text = format!(
        "ports = [{}]\nunderlay = {{ address = \"192.168.50.{number}\" }}\n\
         [[segments]]\nvni = 1\nports = {ports:?}\npeers = [\"192.168.50.{}\"]\nentries = [{}]\n\
         virtuals = [{{ address = \"{ADDRESS}\", mac = \"02:6b:00:00:01:fe\", members = [{}] }}]\n",
        listed.collect::<Vec<_>>().join(", "),
        3 - number,
        entries.collect::<Vec<_>>().join(", "),
        members.collect::<Vec<_>>().join(", "),
    );
    toml::from_str(&text).unwrap()
}

impl Net {
    fn new(parts: &[Part]) -> Option<Self> {
        let lab = Lab::open()?;
        let boxes: Vec<_> = (0..2).map(|_| lab.namespace()).collect();
        boxes[0].join("u0", &boxes[1], "u0");
        for (number, one) in boxes.iter().enumerate() {
            one.run("ip link set u0 mtu 1500");
            one.address("u0", &format!("192.168.50.{}/24", number + 1));
        }
        let leg = |on: usize, port: &str, address: &str| {
            let station = lab.namespace();
            station.join("e0", &boxes[on - 1], port);
            // Only the forwarder shall answer for the box.
            boxes[on - 1].run(&format!("ip link set {port} arp off"));
            station.run("ip link set e0 mtu 1450");
            station.address("e0", address);
            station
        };
        let client = leg(1, "c", "10.128.1.9/16");
        let members: Vec<_> = (0..BOXES.len())
            .map(|member| {
                let on = BOXES[member];
                let station = leg(
                    on,
                    &format!("m{member}"),
                    &format!("10.128.{on}.{}/16", member + 20),
                );
                station.run(&format!("ip link set e0 address {}", mac(member)));
                // As an agent wires a replica.
                station.run(&format!("ip address add {ADDRESS}/32 dev lo"));
                station.run("sysctl -qw net.ipv4.conf.e0.arp_ignore=1");
                station.run("sysctl -qw net.ipv4.conf.e0.arp_announce=2");
                station
            })
            .collect();
        boxes[0].run("ip link add kcsvc type veth peer name kcsvc-p");
        boxes[0].run("ip link set kcsvc mtu 1450 up");
        boxes[0].run("ip link set kcsvc-p arp off up");
        boxes[0].address("kcsvc", "10.128.1.1/16");
        let forwarders = (1..=2)
            .map(|number| {
                let text = toml::to_string(&tables(number, parts)).unwrap();
                Forwarder::start(&lab, &boxes[number - 1], &format!("box{number}"), &text)
            })
            .collect();
        Some(Self {
            client,
            members,
            boxes,
            forwarders,
            _lab: lab,
        })
    }

    fn install(&self, parts: &[Part]) {
        for (number, forwarder) in (1..).zip(&self.forwarders) {
            let mut tables = tables(number, parts);
            tables.generation = forwarder.client().status().unwrap().generation + 1;
            forwarder.client().apply(tables).unwrap();
        }
    }

    /// Waits until box 1, where all clients are, has no flow with a member any more.
    fn drained(&self, member: usize) {
        let mac: MacAddr = mac(member).parse().unwrap();
        let begin = Instant::now();
        loop {
            let counters = self.forwarders[0].counters();
            let mut all = counters.virtuals.iter().flat_map(|known| &known.members);
            if all.any(|known| known.mac == mac && known.draining && known.flows == 0) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{:?}", counters.virtuals);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Serves requests and tells in each answer who it is.
fn serve(net: &Net, member: usize) -> Process {
    let program = r#"
import socketserver
class One(socketserver.BaseRequestHandler):
    def handle(self):
        while True:
            got = self.request.recv(4096)
            if not got: return
            self.request.sendall(b'NAME' + got)
class All(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 128
server = All(('10.128.0.1', 7000), One)
print('ready', flush=True)
server.serve_forever()
"#;
    net.members[member].python_server(&program.replace("NAME", &member.to_string()))
}

/// A client that goes on until it is told to end, and then says how it was.
struct Client {
    child: Child,
}

impl Client {
    fn start(namespace: &Namespace, program: &str) -> Self {
        let mut command = namespace.command("python3");
        command.args(["-u", "-c", program]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Self {
            child: child.unwrap(),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.child.stdout.as_mut().unwrap();
        BufReader::with_capacity(1, stdout)
            .read_line(&mut line)
            .unwrap();
        line.trim().to_owned()
    }

    fn end(mut self) -> String {
        self.child
            .stdin
            .take()
            .unwrap()
            .write_all(b"end\n")
            .unwrap();
        let line = self.line();
        self.child.wait().unwrap();
        line
    }
}

const LONG: &str = r#"
import socket, sys, threading, time
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
flows = [socket.create_connection(('10.128.0.1', 7000), timeout=20) for _ in range(FLOWS)]
members = [None] * FLOWS
lost, rounds = set(), 0
while not over.is_set():
    for number, flow in enumerate(flows):
        if number in lost: continue
        try:
            flow.sendall(b'x')
            got = flow.recv(16)
            if len(got) != 2 or members[number] not in (None, got[:1]): lost.add(number)
            members[number] = got[:1]
        except OSError:
            lost.add(number)
    rounds += 1
    if rounds == 1: print(len({m for m in members}), flush=True)
    time.sleep(0.01)
print(f'{len(lost)} lost', flush=True)
"#;

const SHORT: &str = r#"
import socket, sys, threading
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
done, failed, members = 0, [], set()
while not over.is_set():
    try:
        with socket.create_connection(('10.128.0.1', 7000), timeout=20) as c:
            c.sendall(b'y')
            got = c.recv(16)
            if len(got) != 2: failed.append(repr(got))
            members.add(got[:1])
    except OSError as error:
        failed.append(str(error))
    done += 1
    if done == 1: print('begun', flush=True)
print(done, len(failed), len(members), failed[:3], flush=True)
"#;

#[test]
fn no_connection_and_no_request_fails_while_members_join_drain_and_go() {
    use Part::{Away, Drains, Serves};
    let Some(net) = Net::new(&[Serves, Serves, Away]) else {
        return;
    };
    let mut servers: Vec<_> = (0..BOXES.len())
        .map(|member| Some(serve(&net, member)))
        .collect();
    let mut long = Client::start(&net.client, &LONG.replace("FLOWS", &FLOWS.to_string()));
    assert_eq!(
        long.line(),
        "2",
        "members that the long connections are with"
    );
    let mut short: Vec<_> = [&net.client, &net.boxes[0]]
        .map(|place| Client::start(place, SHORT))
        .into();
    for client in &mut short {
        assert_eq!(client.line(), "begun");
    }
    // Member 2 comes and goes, others drain beside it and come back; whoever has no flows is killed.
    for _ in 0..2 {
        net.install(&[Serves, Serves, Serves]);
        net.install(&[Drains, Serves, Serves]);
        net.install(&[Drains, Drains, Serves]);
        net.install(&[Serves, Drains, Serves]);
        net.install(&[Serves, Serves, Drains]);
        net.drained(2);
        drop(servers[2].take().map(|mut server| server.child.kill()));
        net.install(&[Serves, Serves, Away]);
        servers[2] = Some(serve(&net, 2));
    }
    let told: Vec<_> = short.into_iter().map(Client::end).collect();
    for told in &told {
        let words: Vec<_> = told.split(' ').collect();
        assert_eq!((words[1], words[2]), ("0", "3"), "{told}");
        assert!(words[0].parse::<u32>().unwrap() > 1_000, "{told}");
    }
    assert_eq!(long.end(), "0 lost");
    println!("short ones: {told:?}");
    for forwarder in &net.forwarders {
        let drops = unexpected_drops(&forwarder.counters(), &[]);
        assert!(drops.is_empty(), "{drops:?}");
    }
}

#[test]
fn bulk_echoes_fragments_and_a_member_as_its_own_client_find_the_address() {
    let Some(net) = Net::new(&[Part::Serves, Part::Serves, Part::Serves]) else {
        return;
    };
    for place in [&net.client, &net.boxes[0], &net.members[0]] {
        place.run(&format!("ping -n -c 3 -i 0.05 -w 10 {ADDRESS}"));
        // In fragments.
        place.run(&format!("ping -n -c 3 -i 0.05 -w 10 -s 4000 {ADDRESS}"));
    }
    let _servers: Vec<_> = net
        .members
        .iter()
        .map(|member| Tcp::serve(member, ADDRESS))
        .collect();
    for place in [&net.client, &net.boxes[0], &net.members[1]] {
        println!("{}", Tcp::exchange(place, ADDRESS, 4 << 20));
    }
    // These close their half first, and are answered afterwards.
    println!("{}", Tcp::requests(&net.client, ADDRESS, 500));
    for forwarder in &net.forwarders {
        let drops = unexpected_drops(&forwarder.counters(), &[]);
        assert!(drops.is_empty(), "{drops:?}");
    }
}
