//! One foreign function at a time: bulk and small requests through it, every octet checked.

use crate::haproxy;
use crate::nft::{self, count};
use crate::site::Site;
use crate::suricata::{FORBIDDEN, Suricata};
use crate::traffic::everything_passes;

#[test]
fn nftables_as_bridge_firewall_passes_what_it_allows() {
    let Some(mut site) = Site::build(&[1500, 1500]) else {
        return;
    };
    let firewall = site.two_leg(0, "fw");
    nft::bridge_firewall(&firewall.namespace);
    let ends = site.chain(&[&firewall]);
    ends.neighbours();
    site.start();
    ends.ping("10.0.0.2");
    everything_passes(&site, &ends, "nftables bridge", "10.0.0.2", "10.0.0.2");
}

#[test]
fn nftables_as_masquerading_router_shows_its_own_address() {
    let Some(mut site) = Site::build(&[1500, 1500]) else {
        return;
    };
    let router = site.two_leg(1, "nat");
    nft::masquerading_router(&router.namespace, ["i0", "o0"]);
    let ends = site.chain(&[&router]);
    ends.behind_a_router();
    site.start();
    ends.ping("10.2.0.2");
    everything_passes(&site, &ends, "nftables router", "10.2.0.2", "10.2.0.2");
}

#[test]
fn nftables_as_masquerading_router_needs_one_leg_only() {
    let Some(mut site) = Site::build(&[1500, 1500]) else {
        return;
    };
    let router = site.one_leg(0, "nat");
    nft::masquerading_router(&router.namespace, ["e0", "e0"]);
    let ends = site.chain(&[&router]);
    ends.behind_a_router();
    site.start();
    ends.ping("10.2.0.2");
    everything_passes(&site, &ends, "router on one leg", "10.2.0.2", "10.2.0.2");
}

/// Echoes on two ports, in both families.
const ECHO: &str = r#"
import socket, threading
def serve(s):
    while True:
        c, _ = s.accept()
        threading.Thread(target=echo, args=(c,), daemon=True).start()
def echo(c):
    while b := c.recv(65536): c.sendall(b)
sockets = [socket.create_server(('::', port), family=socket.AF_INET6, dualstack_ipv6=True) for port in (5998, 5999)]
print('ready', flush=True)
threads = [threading.Thread(target=serve, args=(s,)) for s in sockets]
for t in threads: t.start()
"#;

/// Is refused at one port, and cut off in the middle of a connection to the other.
const RESET: &str = r#"
import socket
for address in ('10.0.0.2', 'fd00::2'):
    try:
        socket.create_connection((address, 5999), timeout=10)
        raise SystemExit('the firewall let a connection through')
    except ConnectionRefusedError: pass
    c = socket.create_connection((address, 5998), timeout=10)
    c.sendall(b'allowed')
    assert c.recv(100) == b'allowed'
    c.sendall(b'forbidden')
    try:
        raise SystemExit(f'the firewall let data through: {c.recv(100)}')
    except ConnectionResetError: pass
"#;

#[test]
fn a_reset_from_the_middle_reaches_the_client_with_the_first_segment() {
    let Some(mut site) = Site::build(&[1500, 1500, 1500]) else {
        return;
    };
    let firewall = site.two_leg(1, "fw");
    nft::bridge_firewall(&firewall.namespace);
    let ends = site.chain(&[&firewall]);
    ends.neighbours();
    site.start();
    ends.ping("10.0.0.2");
    ends.ping("fd00::2");
    let _server = ends.server.python_server(ECHO);
    ends.client.python(RESET);
    // One each for each family: the first reset arrived, or the client would have tried again.
    for name in ["refused", "cut"] {
        assert_eq!(
            count(&firewall.namespace, "netdev guard", name),
            2,
            "{name}"
        );
    }
}

#[test]
fn haproxy_on_one_leg_ends_connections_and_opens_its_own() {
    let Some(mut site) = Site::build(&[1500, 1500]) else {
        return;
    };
    let proxy = site.one_leg(1, "proxy");
    let _proxy = haproxy::proxy(&site.lab, &proxy.namespace);
    let ends = site.chain(&[&proxy]);
    ends.neighbours();
    site.start();
    ends.ping("10.0.0.100");
    everything_passes(&site, &ends, "haproxy", "10.0.0.100", "10.0.0.2");
}

#[test]
fn haproxy_that_nobody_sees_ends_connections_all_the_same() {
    let Some(mut site) = Site::build(&[1500, 1500]) else {
        return;
    };
    let proxy = site.two_leg(0, "proxy");
    let _proxy = haproxy::transparent_proxy(&site.lab, &proxy.namespace);
    let ends = site.chain(&[&proxy]);
    ends.behind_a_router();
    ends.server.run("ip route add default via 10.2.0.254");
    site.start();
    ends.ping("10.2.0.2");
    everything_passes(&site, &ends, "transparent haproxy", "10.2.0.2", "10.2.0.2");
}

#[test]
fn suricata_inline_passes_what_it_does_not_forbid() {
    let Some(mut site) = Site::build(&[1500, 1500]) else {
        return;
    };
    let ips = site.two_leg(0, "ips");
    let suricata = Suricata::start(&site.lab, &ips.namespace);
    let ends = site.chain(&[&ips]);
    ends.neighbours();
    site.start();
    ends.ping("10.0.0.2");
    everything_passes(&site, &ends, "Suricata", "10.0.0.2", "10.0.0.2");

    assert_eq!(suricata.alerts(), 0);
    let _server = ends.server.python_server(ECHO);
    ends.client.python(&format!(
        "import socket\n\
         c = socket.create_connection(('10.0.0.2', 5998), timeout=10)\n\
         c.sendall(b'harmless'); assert c.recv(100) == b'harmless'\n\
         c.settimeout(1); c.sendall(b'{FORBIDDEN}')\n\
         try: raise SystemExit(f'it let through {{c.recv(100)}}')\n\
         except TimeoutError: pass\n"
    ));
    assert!(suricata.alerts() > 0);
}
