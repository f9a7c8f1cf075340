//! A group of three boxes with real connections through it: one box is killed, and only its flows
//! move; it comes back, and they return.

#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_forwarder_api::HealthState;
use kc_tests::lab::{Forwarder, Lab, Namespace, unexpected_drops};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Instant;

/// Connections that there are from the beginning, and as many that come after the death.
const FLOWS: usize = 24;

/// Boxes with a member each.
const MEMBERS: [usize; 3] = [2, 3, 4];

/// client - c0 [box 1] s0 - server; everything between them goes through one of the boxes 2, 3
/// and 4, each with a bridge as function, which remembers who opened or used which connection.
struct Net {
    client: Namespace,
    server: Namespace,
    functions: Vec<Namespace>,
    boxes: Vec<Namespace>,
    /// Box 1 first; `None` while one is dead.
    forwarders: Vec<Option<Forwarder>>,
    _switch: Namespace,
    _lab: Lab,
}

const WATCH: &str = "
    table bridge watch {
        set seen { type inet_service; flags dynamic; size 4096; }
        chain forward {
            type filter hook forward priority 0; policy accept;
            tcp dport 5000 add @seen { tcp sport }
        }
    }
";

fn tables(number: usize) -> String {
    let tunnel = |other: &usize| {
        // Patient enough for a machine that does other things too.
        let liveness = "liveness = { interval-ms = 500, multiplier = 6 }";
        format!(
            "[[tunnels]]\nname = \"box{other}\"\n\
             transport = {{ vxlan-gpe = {{ remote = \"192.168.50.{other}\", vni = 100 }} }}\n\
             {liveness}\n"
        )
    };
    let path = |spi: u8, hops: &str| {
        let reverse = 21 - spi;
        format!("[[paths]]\nspi = {spi}\nreverse = {reverse}\nhops = [{hops}]\n")
    };
    let underlay = format!("underlay = {{ address = \"192.168.50.{number}\", mtu = 1700 }}\n");
    if number > 1 {
        let hops = |direction: &str| {
            format!(
                "{{ si = 255, to = {{ function = {{ name = \"fw\", direction = \"{direction}\" }} }} }}, \
                 {{ si = 254, to = {{ tunnel = {{ name = \"box1\" }} }} }}"
            )
        };
        return underlay
            + "ports = [{ name = \"fa\" }, { name = \"fb\" }]\n\
               [[functions]]\nname = \"fw\"\n\
               attachment = { two-leg = { inside = \"fa\", outside = \"fb\" } }\n"
            + &tunnel(&1)
            + &path(10, &hops("forward"))
            + &path(11, &hops("reverse"));
    }
    let members =
        MEMBERS.map(|member| format!("{{ to = {{ tunnel = {{ name = \"box{member}\" }} }} }}"));
    let hops = |direction: &str, port: &str| {
        format!(
            "{{ si = 255, to = {{ group = {{ name = \"fw\", direction = \"{direction}\" }} }} }}, \
             {{ si = 254, to = {{ egress = {{ port = \"{port}\" }} }} }}"
        )
    };
    let rules = [("c0", 10), ("s0", 11)].map(|(port, spi)| {
        format!(
            "[[rules]]\nname = \"{port}\"\nmatch = {{ port = \"{port}\" }}\n\
             action = {{ path = {{ spi = {spi}, si = 255 }} }}\n"
        )
    });
    underlay
        + "ports = [{ name = \"c0\" }, { name = \"s0\" }]\n"
        + &MEMBERS.iter().map(tunnel).collect::<String>()
        + &format!(
            "[[groups]]\nname = \"fw\"\nmembers = [{}]\n",
            members.join(", ")
        )
        + &rules.concat()
        + &path(10, &hops("forward", "s0"))
        + &path(11, &hops("reverse", "c0"))
}

impl Net {
    fn build() -> Option<Self> {
        let lab = Lab::open()?;
        let [client, server, switch] = std::array::from_fn(|_| lab.namespace());
        switch.run("ip link add sw type bridge");
        switch.run("ip link set sw mtu 1700 up");
        let (mut boxes, mut functions) = (Vec::new(), Vec::new());
        for number in 1..=MEMBERS.len() + 1 {
            let node = lab.namespace();
            let plug = format!("p{number}");
            node.join("u0", &switch, &plug);
            node.run("ip link set u0 mtu 1700");
            switch.run(&format!("ip link set {plug} mtu 1700 master sw"));
            node.address("u0", &format!("192.168.50.{number}/24"));
            if number == 1 {
                client.join("e0", &node, "c0");
                server.join("e0", &node, "s0");
            } else {
                functions.push(Self::function(&lab, &node));
            }
            boxes.push(node);
        }
        client.address("e0", "192.168.2.1/24");
        server.address("e0", "192.168.2.2/24");
        let start = |(place, node)| {
            let number = place + 1;
            Some(Forwarder::start(
                &lab,
                node,
                &format!("box{number}"),
                &tables(number),
            ))
        };
        let forwarders = boxes.iter().enumerate().map(start).collect();
        let net = Self {
            client,
            server,
            functions,
            boxes,
            forwarders,
            _switch: switch,
            _lab: lab,
        };
        net.wait_for(2, HealthState::Alive);
        net.wait_for(3, HealthState::Alive);
        net.wait_for(4, HealthState::Alive);
        Some(net)
    }

    fn function(lab: &Lab, node: &Namespace) -> Namespace {
        let function = lab.namespace();
        function.run("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
        function.join("i0", node, "fa");
        function.join("o0", node, "fb");
        function.run("ip link add br0 type bridge stp_state 0 mcast_snooping 0");
        for leg in ["i0", "o0"] {
            function.run(&format!("ip link set {leg} master br0"));
        }
        function.run("ip link set br0 up");
        let loaded = function.command("nft").arg(WATCH).status().unwrap();
        assert!(loaded.success());
        function
    }

    fn first(&self) -> &Forwarder {
        self.forwarders[0].as_ref().unwrap()
    }

    /// Waits until box 1 finds box `member` in this state.
    fn wait_for(&self, member: usize, state: HealthState) {
        let name = format!("box{member}");
        self.first().wait(
            |client| {
                let tunnels = client.status().unwrap().tunnels;
                let mut tunnels = tunnels.iter();
                tunnels.any(|tunnel| tunnel.name.as_str() == name && tunnel.state == state)
            },
            "a member's health",
        );
    }

    /// The client's ports of connections that went through the function of box `member` since
    /// this was asked last.
    fn seen(&self, member: usize) -> BTreeSet<u16> {
        let function = &self.functions[member - 2];
        let text = function.run("nft list set bridge watch seen");
        function.run("nft flush set bridge watch seen");
        let elements = text.split_once("elements = {").map_or("", |(_, rest)| rest);
        let elements = elements.split('}').next().unwrap().split(',');
        elements
            .filter_map(|port| port.trim().parse().ok())
            .collect()
    }

    /// Which box each connection goes through, by the client's port: one round of all of them.
    fn shares(&self, talk: &mut Talk) -> BTreeMap<u16, usize> {
        MEMBERS.iter().for_each(|&member| drop(self.seen(member)));
        talk.ask("round");
        let mut shares = BTreeMap::new();
        for member in MEMBERS {
            for port in self.seen(member) {
                let other = shares.insert(port, member);
                assert_eq!(other, None, "port {port} at two boxes");
            }
        }
        shares
    }
}

/// A client with many connections to an echo server, which does what it is told.
struct Talk {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Talk {
    const SERVER: &str = r#"
import socket, threading
s = socket.create_server(('192.168.2.2', 5000), backlog=100)
print('ready', flush=True)
def serve(c):
    while True:
        b = c.recv(1 << 16)
        if not b: break
        c.sendall(b)
while True:
    c, _ = s.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
"#;

    /// `open`: FLOWS more connections. `round`: each sends 3,000 octets and takes them back. Says
    /// how many milliseconds that took.
    const CLIENT: &str = r#"
import os, socket, sys, time
flows = []
for line in sys.stdin:
    begin = time.monotonic()
    if line == 'open\n':
        flows += [socket.create_connection(('192.168.2.2', 5000), timeout=60) for _ in range(FLOWS)]
    sent = [os.urandom(3000) for _ in flows]
    for c, data in zip(flows, sent): c.sendall(data)
    for c, data in zip(flows, sent):
        got = b''
        while len(got) < len(data):
            b = c.recv(len(data) - len(got))
            assert b, 'closed'
            got += b
        assert got == data, 'octets changed'
    print(round((time.monotonic() - begin) * 1000), flush=True)
"#;

    fn start(client: &Namespace) -> Self {
        let mut command = client.command("python3");
        command.args(["-c", &Self::CLIENT.replace("FLOWS", &FLOWS.to_string())]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Has something done, and says how many milliseconds it took.
    fn ask(&mut self, what: &str) -> u64 {
        writeln!(self.stdin, "{what}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn of_three_members_one_dies_and_comes_back_and_only_its_flows_move() {
    let Some(mut net) = Net::build() else { return };
    let _server = net.server.python_server(Talk::SERVER);
    let mut talk = Talk::start(&net.client);
    talk.ask("open");
    let before = net.shares(&mut talk);
    assert_eq!(before.len(), FLOWS);
    let count =
        |shares: &BTreeMap<u16, usize>, member| shares.values().filter(|&&at| at == member).count();
    let counts = MEMBERS.map(|member| count(&before, member));
    println!("flows by box: {counts:?}");
    // The ports are the kernel's choice: the box that is killed is one that has flows.
    let (victim, moving) = MEMBERS
        .map(|member| (member, count(&before, member)))
        .into_iter()
        .max_by_key(|&(_, count)| count)
        .unwrap();
    assert!(moving < FLOWS, "all flows at one of three boxes");

    let (file, socket) = net.forwarders[victim - 1].take().unwrap().kill();
    let took = talk.ask("round");
    println!("box {victim} killed: all {FLOWS} connections answer again after {took} ms");
    net.wait_for(victim, HealthState::Dead);
    let without = net.shares(&mut talk);
    assert_eq!(without.len(), FLOWS);
    for (port, member) in &before {
        let now = without[port];
        assert_ne!(now, victim, "port {port}");
        assert!(
            *member == victim || now == *member,
            "port {port} moved from {member} to {now}"
        );
    }
    let took = talk.ask("open");
    println!("{FLOWS} new connections in {took} ms");
    let without = net.shares(&mut talk);
    assert_eq!(without.len(), 2 * FLOWS);

    let begin = Instant::now();
    let back = Forwarder::launch(&net.boxes[victim - 1], file, socket);
    net.forwarders[victim - 1] = Some(back);
    net.wait_for(victim, HealthState::Alive);
    println!(
        "box {victim} is back in the group after {:?}",
        begin.elapsed()
    );
    let after = net.shares(&mut talk);
    assert_eq!(after.len(), 2 * FLOWS);
    for (port, now) in &after {
        // As it was; of the new ones, those that hash to it come too, and no other moves.
        match before.get(port) {
            Some(member) => assert_eq!(now, member, "port {port}"),
            None => assert!(*now == victim || *now == without[port], "port {port}"),
        }
    }
    let new = count(&after, victim) - moving;
    println!("of the new connections, {new} belong to box {victim}");

    let counters = net.first().counters();
    let drops = unexpected_drops(&counters, &[]);
    assert!(drops.is_empty(), "{drops:?}");
}
