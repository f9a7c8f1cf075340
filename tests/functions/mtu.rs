//! Underlays of 1500, 9000 and both: what fits passes whole, what does not is told or cut, and TCP
//! never notices.

use crate::nft;
use crate::site::{Ends, Function, Site};
use kc_forwarder_api::Counters;
use kc_tests::lab::Tcp;

/// Boxes with these underlays and a bridge as function on box `at`; everything that is joined
/// to a box takes packets of `leg` octets.
struct Row {
    site: Site,
    ends: Ends,
    _function: Function,
}

impl Row {
    fn build(mtus: &[u16], leg: u16, at: usize, told: bool) -> Option<Self> {
        let mut site = Site::build(mtus)?;
        site.leg_mtu(leg);
        if !told {
            site.keep_mtu_untold();
        }
        let function = site.two_leg(at, "fn");
        nft::bridge(&function.namespace);
        let ends = site.chain(&[&function]);
        ends.neighbours();
        site.start();
        ends.ping("10.0.0.2");
        ends.ping("fd00::2");
        Some(Self {
            site,
            ends,
            _function: function,
        })
    }

    /// What the ends learned about the path is forgotten.
    fn forget(&self) {
        for end in [&self.ends.client, &self.ends.server] {
            end.run("ip route flush cache");
            end.run("ip -6 route flush cache");
        }
    }

    /// A packet of one octet more than `limit` is answered with the limit, a packet of as many passes,
    /// both ways and in both families.
    fn tells(&self, limit: u16) {
        self.forget();
        let Ends { client, server, .. } = &self.ends;
        let (v4, v6) = (limit - 28, limit - 48);
        for (end, v4_peer, v6_peer) in [
            (client, "10.0.0.2", "fd00::2"),
            (server, "10.0.0.1", "fd00::1"),
        ] {
            let once = "ping -n -c 1 -W 5 -M do -s";
            let more = end.output(&format!("{once} {} {v4_peer}", v4 + 1));
            let text = String::from_utf8_lossy(&more.stdout);
            let wanted = format!("Frag needed and DF set (mtu = {limit})");
            assert!(text.contains(&wanted), "{text}");
            let more = end.output(&format!("{once} {} {v6_peer}", v6 + 1));
            let text = String::from_utf8_lossy(&more.stdout);
            let wanted = format!("Packet too big: mtu={limit}");
            assert!(text.contains(&wanted), "{text}");
            for (size, peer) in [
                (v4, v4_peer),
                (v4 - 1, v4_peer),
                (v6, v6_peer),
                (v6 - 1, v6_peer),
            ] {
                end.run(&format!("{once} {size} {peer}"));
            }
        }
    }

    /// Datagrams of all lengths around `limit` pass, whoever has to cut them: at first nobody
    /// here knows the path's MTU, then the sender's kernel does.
    fn datagrams_pass(&self, limit: u16) {
        self.forget();
        let _server = self.ends.server.python_server(
            "import socket\n\
             s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('10.0.0.2', 5001))\n\
             print('ready', flush=True)\n\
             while True:\n\
             \x20   d, a = s.recvfrom(65536); s.sendto(d, a)\n",
        );
        let program = format!(
            "import socket, random\n\
             r = random.Random(1)\n\
             s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)\n\
             s.connect(('10.0.0.2', 5001))\n\
             for n in [*range({limit} - 30, {limit} - 25), {limit}, {limit} + 46, 4000, 30000]:\n\
             \x20   for attempt in range(8):\n\
             \x20       d = r.randbytes(n)\n\
             \x20       try:\n\
             \x20           s.send(d); got = s.recv(65536)\n\
             \x20       except TimeoutError: continue\n\
             \x20       except OSError as error:\n\
             \x20           assert error.errno == 90, error\n\
             \x20           continue\n\
             \x20       if got == d: break\n\
             \x20   else: raise SystemExit(f'{{n}} octets do not pass')\n"
        );
        self.ends.client.python(&program);
    }

    /// TCP in both families, every octet checked.
    fn tcp_passes(&self, what: &str) {
        for address in ["10.0.0.2", "fd00::2"] {
            let _server = Tcp::serve(&self.ends.server, address);
            let rate = Tcp::exchange(&self.ends.client, address, 8 << 20);
            println!("{what}, {address}: {rate}");
            Tcp::requests(&self.ends.client, address, 50);
        }
    }

    fn mtu_exceeded(&self) -> Vec<u64> {
        self.site.counters().iter().map(mtu_exceeded).collect()
    }
}

fn mtu_exceeded(counters: &Counters) -> u64 {
    let mut drops = counters.drops.iter();
    let found = drops.find(|(reason, _)| reason.as_str() == "mtu-exceeded");
    found.map_or(0, |(_, count)| *count)
}

#[test]
fn hosts_with_1500_work_over_an_underlay_with_1500() {
    for told in [true, false] {
        let Some(row) = Row::build(&[1500; 3], 1500, 1, told) else {
            return;
        };
        row.tcp_passes("underlay 1500");
        assert_eq!(row.mtu_exceeded(), [0; 3], "TCP was clamped");
        row.datagrams_pass(1426);
        row.tells(1426);
        // Cut by the forwarder, and put together again by the host.
        row.ends.ping("-M dont -s 1472 10.0.0.2");
        row.ends.ping("-M dont -s 4000 10.0.0.2");
        let told = row.mtu_exceeded();
        assert!(told[0] > 0 && told[1] == 0 && told[2] > 0, "{told:?}");
    }
}

#[test]
fn a_limit_behind_the_first_function_is_told_through_it() {
    let Some(row) = Row::build(&[1500; 3], 1500, 0, false) else {
        return;
    };
    row.tcp_passes("underlay 1500, untold");
    row.tells(1426);
    row.datagrams_pass(1426);
}

#[test]
fn a_limit_behind_a_nat_is_told_in_terms_of_the_connection_before_it() {
    let Some(mut site) = Site::build(&[1500; 2]) else {
        return;
    };
    site.keep_mtu_untold();
    let router = site.two_leg(0, "nat");
    nft::masquerading_router(&router.namespace, ["i0", "o0"]);
    let ends = site.chain(&[&router]);
    ends.behind_a_router();
    site.start();
    ends.ping("10.2.0.2");
    let output = ends
        .client
        .output("ping -n -c 1 -W 5 -M do -s 1399 10.2.0.2");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("Frag needed and DF set (mtu = 1426)"),
        "{text}"
    );
    let _server = Tcp::serve(&ends.server, "10.2.0.2");
    println!("{}", Tcp::exchange(&ends.client, "10.2.0.2", 8 << 20));
}

#[test]
fn a_limit_on_another_box_than_the_nat_is_told_in_terms_of_the_connection_before_it() {
    let Some(mut site) = Site::build(&[1600; 3]) else {
        return;
    };
    site.keep_mtu_untold();
    let router = site.two_leg(0, "nat");
    nft::masquerading_router(&router.namespace, ["i0", "o0"]);
    // The packet reaches box 1 by tunnel and does not fit into its function.
    site.leg_mtu(1300);
    let narrow = site.two_leg(1, "narrow");
    nft::bridge(&narrow.namespace);
    narrow.namespace.run("ip link set br0 mtu 1300");
    site.leg_mtu(1500);
    let ends = site.chain(&[&router, &narrow]);
    ends.behind_a_router();
    site.start();
    ends.ping("10.2.0.2");
    let once = "ping -n -c 1 -W 5 -M do -s";
    let output = ends.client.output(&format!("{once} 1273 10.2.0.2"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("Frag needed and DF set (mtu = 1300)"),
        "{text}"
    );
    ends.client.run(&format!("{once} 1272 10.2.0.2"));
    ends.client.run("ip route flush cache");
    let _server = Tcp::serve(&ends.server, "10.2.0.2");
    println!("{}", Tcp::exchange(&ends.client, "10.2.0.2", 8 << 20));
    let route = ends.client.run("ip route get 10.2.0.2");
    assert!(route.contains("mtu 1300"), "{route}");
    let told: Vec<_> = site.counters().iter().map(mtu_exceeded).collect();
    assert!(told[0] == 0 && told[1] > 1 && told[2] == 0, "{told:?}");
}

#[test]
fn hosts_with_1500_fit_whole_into_an_underlay_with_9000() {
    let Some(row) = Row::build(&[9000; 3], 1500, 1, true) else {
        return;
    };
    row.tcp_passes("underlay 9000");
    row.ends.ping("-M do -s 1472 10.0.0.2");
    row.ends.ping("-M do -s 1452 fd00::2");
    row.datagrams_pass(1500);
    assert_eq!(row.mtu_exceeded(), [0; 3]);
}

#[test]
fn hosts_with_9000_work_over_an_underlay_with_9000() {
    let Some(row) = Row::build(&[9000; 3], 9000, 1, true) else {
        return;
    };
    row.tcp_passes("all 9000");
    assert_eq!(row.mtu_exceeded(), [0; 3], "TCP was clamped");
    row.datagrams_pass(8926);
    row.tells(8926);
}

#[test]
fn the_smallest_underlay_on_a_path_counts_wherever_it_is() {
    for mtus in [[9000, 1500, 9000], [1500, 9000, 9000], [9000, 9000, 1500]] {
        let Some(row) = Row::build(&mtus, 9000, 1, true) else {
            return;
        };
        row.tcp_passes(&format!("underlays {mtus:?}"));
        assert_eq!(row.mtu_exceeded(), [0; 3], "TCP was clamped");
        row.tells(1426);
        row.datagrams_pass(1426);
    }
}
