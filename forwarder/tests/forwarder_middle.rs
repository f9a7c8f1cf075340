//! A path whose narrowest link is in its middle, where no classifier sees it: four forwarders in a
//! row, and hosts that have to find out what it takes.

#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_tests::lab::{Forwarder, Lab, Namespace, Tcp, unexpected_drops};

/// client - c0 [box 1] - [box 2] l0 - l0 [box 3] - [box 4] s0 - server. NSH goes in VXLAN-GPE over
/// links of 1600 octets but between the boxes 2 and 3, where it goes in Ethernet.
struct Row {
    client: Namespace,
    server: Namespace,
    /// Held while the forwarders run.
    _boxes: [Namespace; 4],
    forwarders: [Forwarder; 4],
    _lab: Lab,
}

/// What a link of 1338 octets leaves for IP behind NSH with MD type 1 and inner Ethernet.
const LIMIT: u16 = 1300;

/// Where box `number` sends packets of both paths.
fn tables(number: u8) -> String {
    let gpe = |address: &str, remote: &str| {
        format!(
            "underlay = {{ address = \"{address}\", mtu = 1600 }}\n\
             [[tunnels]]\nname = \"outer\"\n\
             transport = {{ vxlan-gpe = {{ remote = \"{remote}\", vni = 100 }} }}\n"
        )
    };
    let lan = |own: u8, other: u8| {
        format!(
            "[[ports]]\nname = \"l0\"\naddresses = [\"192.168.60.{own}\"]\n\
             [[tunnels]]\nname = \"narrow\"\n\
             transport = {{ ethernet = {{ port = \"l0\", next-hop = \"192.168.60.{other}\" }} }}\n"
        )
    };
    let access = |port: &str, spi: u8| {
        format!(
            "[[ports]]\nname = \"{port}\"\n\
             [[rules]]\nname = \"all\"\nmatch = {{ port = \"{port}\" }}\n\
             action = {{ path = {{ spi = {spi}, si = 255 }} }}\n"
        )
    };
    let tunnel = |name: &str| format!("tunnel = {{ name = \"{name}\" }}");
    let egress = |port: &str| format!("egress = {{ port = \"{port}\" }}");
    let (links, there, back) = match number {
        1 => (
            gpe("192.168.50.1", "192.168.50.2") + &access("c0", 10),
            tunnel("outer"),
            egress("c0"),
        ),
        2 => (
            gpe("192.168.50.2", "192.168.50.1") + &lan(2, 3),
            tunnel("narrow"),
            tunnel("outer"),
        ),
        3 => (
            gpe("192.168.51.3", "192.168.51.4") + &lan(3, 2),
            tunnel("outer"),
            tunnel("narrow"),
        ),
        _ => (
            gpe("192.168.51.4", "192.168.51.3") + &access("s0", 11),
            egress("s0"),
            tunnel("outer"),
        ),
    };
    format!(
        "{links}\
         [[paths]]\nspi = 10\nreverse = 11\nhops = [{{ si = 255, to = {{ {there} }} }}]\n\
         [[paths]]\nspi = 11\nreverse = 10\nhops = [{{ si = 255, to = {{ {back} }} }}]\n"
    )
}

impl Row {
    fn build() -> Option<Self> {
        let lab = Lab::open()?;
        let [client, server] = std::array::from_fn(|_| lab.namespace());
        let boxes: [Namespace; 4] = std::array::from_fn(|_| lab.namespace());
        let [one, two, three, four] = &boxes;
        for node in [two, three] {
            // Their kernels have nothing to say there.
            node.run("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
        }
        client.join("e0", one, "c0");
        server.join("e0", four, "s0");
        one.join("u0", two, "u0");
        two.join("l0", three, "l0");
        three.join("u0", four, "u0");
        for (node, address) in [
            (one, "192.168.50.1"),
            (two, "192.168.50.2"),
            (three, "192.168.51.3"),
            (four, "192.168.51.4"),
        ] {
            node.run("ip link set u0 mtu 1600");
            node.address("u0", &format!("{address}/24"));
        }
        for node in [two, three] {
            node.run("ip link set l0 mtu 1338");
        }
        for (end, host) in [(&client, 1), (&server, 2)] {
            end.address("e0", &format!("192.168.2.{host}/24"));
            end.address("e0", &format!("fd00::{host}/64"));
        }
        let mut numbers = 1..;
        let forwarders = [one, two, three, four].map(|node| {
            let number = numbers.next().unwrap();
            Forwarder::start(&lab, node, &format!("box{number}"), &tables(number))
        });
        let row = Self {
            client,
            server,
            _boxes: boxes,
            forwarders,
            _lab: lab,
        };
        for address in ["192.168.2.2", "fd00::2"] {
            let line = format!("ping -n -c 3 -i 0.05 -w 10 {address}");
            row.client.run(&line);
        }
        Some(row)
    }

    /// What the kernels of the ends have learned is forgotten.
    fn forget(&self) {
        for end in [&self.client, &self.server] {
            end.run("ip route flush cache");
            end.run("ip -6 route flush cache");
        }
    }

    /// Packets that were too long, by box.
    fn too_long(&self) -> [u64; 4] {
        self.forwarders.each_ref().map(|forwarder| {
            let counters = forwarder.counters();
            let mut drops = counters.drops.iter();
            let found = drops.find(|(reason, _)| reason.as_str() == "mtu-exceeded");
            found.map_or(0, |(_, count)| *count)
        })
    }

    fn ends(&self) -> [(&Namespace, [&'static str; 2]); 2] {
        [
            (&self.client, ["192.168.2.2", "fd00::2"]),
            (&self.server, ["192.168.2.1", "fd00::1"]),
        ]
    }
}

#[test]
fn echoes_too_long_for_the_middle_are_answered_with_what_fits_there() {
    let Some(row) = Row::build() else { return };
    for (end, [v4, v6]) in row.ends() {
        let once = |size: u16, peer: &str| format!("ping -n -c 1 -W 5 -M do -s {size} {peer}");
        let text = end.output(&once(LIMIT - 28 + 1, v4)).stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        let wanted = format!("Frag needed and DF set (mtu = {LIMIT})");
        assert!(text.contains(&wanted), "{text}");
        let text = end.output(&once(LIMIT - 48 + 1, v6)).stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(
            text.contains(&format!("Packet too big: mtu={LIMIT}")),
            "{text}"
        );
        end.run(&once(LIMIT - 28, v4));
        end.run(&once(LIMIT - 48, v6));
    }
    assert_eq!(row.too_long(), [0, 2, 2, 0]);
}

#[test]
fn tcp_finds_the_narrow_link_that_no_classifier_sees() {
    let Some(row) = Row::build() else { return };
    for (address, back, family) in [
        ("192.168.2.2", "192.168.2.1", "-4"),
        ("fd00::2", "fd00::1", "-6"),
    ] {
        row.forget();
        let before = row.too_long();
        let _server = Tcp::serve(&row.server, address);
        let rate = Tcp::exchange(&row.client, address, 4 << 20);
        println!("past a narrow link, {address}: {rate}");
        for (end, peer) in [(&row.client, address), (&row.server, back)] {
            let route = end.run(&format!("ip {family} route get {peer}"));
            assert!(route.contains(&format!("mtu {LIMIT}")), "{route}");
        }
        let after = row.too_long();
        assert!(after[1] > before[1] && after[2] > before[2], "{after:?}");
        assert_eq!((after[0], after[3]), (0, 0), "nothing is wrong at the ends");
    }
    for forwarder in &row.forwarders {
        // SFFs tell the LAN where they are, and have no rule for what they hear.
        let drops = unexpected_drops(&forwarder.counters(), &["mtu-exceeded", "no-match"]);
        assert!(drops.is_empty(), "{drops:?}");
    }
}

#[test]
fn a_program_that_asks_for_the_mtu_of_its_path_is_told() {
    let Some(row) = Row::build() else { return };
    let _server = row.server.python_server(
        "import socket\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('192.168.2.2', 5001))\n\
         print('ready', flush=True)\n\
         while True:\n\
         \x20   d, a = s.recvfrom(65536); s.sendto(d, a)\n",
    );
    // IP_MTU_DISCOVER with IP_PMTUDISC_DO, IP_MTU.
    row.client.python(&format!(
        "import socket, select\n\
         s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)\n\
         s.setsockopt(socket.IPPROTO_IP, 10, 2)\n\
         s.connect(('192.168.2.2', 5001))\n\
         s.send(bytes(1472))\n\
         try: s.recv(2000); raise SystemExit('1500 octets pass')\n\
         except OSError as error: assert error.errno == 90, error\n\
         mtu = s.getsockopt(socket.IPPROTO_IP, 14)\n\
         assert mtu == {LIMIT}, mtu\n\
         s.send(bytes(mtu - 28)); assert len(s.recv(2000)) == mtu - 28\n"
    ));
    assert_eq!(row.too_long(), [0, 1, 0, 0]);
}
