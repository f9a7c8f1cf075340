//! nftables as a bump in the wire and as a router.

use kc_tests::lab::Namespace;

/// Loads a ruleset.
pub(crate) fn load(namespace: &Namespace, ruleset: &str) {
    let output = namespace.command("nft").arg(ruleset).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The kernel's own bridge between the legs.
pub(crate) fn bridge(namespace: &Namespace) {
    namespace.run("ip link add br0 type bridge stp_state 0 mcast_snooping 0");
    for leg in ["i0", "o0"] {
        namespace.run(&format!("ip link set {leg} master br0 up"));
    }
    namespace.run("ip link set br0 mtu 9000 up");
}

/// A firewall between the legs: connections to some ports and echoes pass from inside to outside,
/// and their answers the other way; neither is let in from outside. Port 5999 is answered with a
/// reset, and so is a segment to port 5998 that begins with `forbidden`, whose connection was let
/// through.
///
/// Stateless, and resets by an ingress hook, because not every kernel tracks connections on
/// bridges or rejects there.
pub(crate) fn bridge_firewall(namespace: &Namespace) {
    bridge(namespace);
    load(
        namespace,
        r#"
        table netdev guard {
            counter refused { }
            counter cut { }
            chain inside {
                type filter hook ingress device i0 priority 0; policy accept;
                tcp dport 5999 counter name refused reject with tcp reset
                tcp dport 5998 @ih,0,72 0x666f7262696464656e counter name cut reject with tcp reset
            }
        }
        table bridge filter {
            counter out { }
            counter back { }
            counter stopped { }
            chain forward {
                type filter hook forward priority 0; policy drop;
                ether type arp accept
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                iifname "i0" tcp dport { 5000, 5001, 5998 } counter name out accept
                iifname "o0" tcp sport { 5000, 5001, 5998 } tcp flags & (syn | ack) != syn counter name back accept
                iifname "i0" icmp type echo-request accept
                iifname "o0" icmp type { echo-reply, destination-unreachable } accept
                iifname "i0" icmpv6 type echo-request accept
                iifname "o0" icmpv6 type { echo-reply, packet-too-big } accept
                counter name stopped
            }
        }
        "#,
    );
}

/// A router 10.1.0.254 - 10.2.0.254 by these interfaces, which may be the same.
pub(crate) fn router(namespace: &Namespace, [inside, outside]: [&str; 2]) {
    namespace.address(inside, "10.1.0.254/24");
    namespace.address(outside, "10.2.0.254/24");
    namespace.run("sysctl -q -w net.ipv4.ip_forward=1");
    // On one leg, hosts would be told to do without the router.
    for scope in ["all", inside] {
        namespace.run(&format!(
            "sysctl -q -w net.ipv4.conf.{scope}.send_redirects=0"
        ));
    }
}

/// Such a router that shows everything from inside under its own address, and lets nothing in from
/// outside that does not belong to it.
pub(crate) fn masquerading_router(namespace: &Namespace, legs: [&str; 2]) {
    router(namespace, legs);
    load(
        namespace,
        r#"
        table ip nat {
            counter connections { }
            chain after {
                type nat hook postrouting priority srcnat;
                ip saddr 10.1.0.0/24 counter name connections masquerade
            }
        }
        table ip filter {
            chain forward {
                type filter hook forward priority filter; policy drop;
                ct state established,related counter accept
                ip saddr 10.1.0.0/24 ct state new counter accept
            }
        }
        "#,
    );
}

/// Packets that a named counter of a table, such as `bridge filter`, saw.
pub(crate) fn count(namespace: &Namespace, table: &str, name: &str) -> u64 {
    let text = namespace.run(&format!("nft list counter {table} {name}"));
    let mut words = text
        .split_whitespace()
        .skip_while(|word| *word != "packets");
    words.nth(1).unwrap().parse().unwrap()
}
