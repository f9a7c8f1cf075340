//! Three foreign functions in one chain, each on a box of its own.

use crate::nft::{self, count};
use crate::site::{Ends, Function, Site};
use crate::suricata::Suricata;
use crate::traffic::everything_passes;
use kc_forwarder_api::Backend;

/// client - nftables bridge @1 - Suricata @2 - nftables router with NAT @3 - server.
pub(crate) struct Chain {
    /// The boxes.
    pub(crate) site: Site,
    /// The client 10.1.0.1 and the server 10.2.0.2.
    pub(crate) ends: Ends,
    /// The bridge firewall.
    pub(crate) firewall: Function,
    /// The IPS.
    pub(crate) suricata: Suricata,
    _others: [Function; 2],
}

impl Chain {
    /// Builds all of it; `None`, with the reason printed, where there is no right to.
    pub(crate) fn build() -> Option<Self> {
        Some(Self::on(Site::build(&[1500, 1500, 1500])?))
    }

    /// The same on three boxes that are there.
    fn on(mut site: Site) -> Self {
        let firewall = site.two_leg(0, "fw");
        nft::bridge_firewall(&firewall.namespace);
        let ips = site.two_leg(1, "ips");
        let suricata = Suricata::start(&site.lab, &ips.namespace);
        let router = site.two_leg(2, "nat");
        nft::masquerading_router(&router.namespace, ["i0", "o0"]);
        let ends = site.chain(&[&firewall, &ips, &router]);
        ends.behind_a_router();
        site.start();
        ends.ping("10.2.0.2");
        Self {
            site,
            ends,
            firewall,
            suricata,
            _others: [ips, router],
        }
    }
}

fn serve(site: Site, what: &str) {
    let chain = Chain::on(site);
    everything_passes(&chain.site, &chain.ends, what, "10.2.0.2", "10.2.0.2");
    assert_eq!(chain.suricata.alerts(), 0);
    // Connections were opened from inside, answered from outside, and nobody else came.
    let seen = |name| count(&chain.firewall.namespace, "bridge filter", name);
    assert!(seen("out") > 10_000 && seen("back") > 10_000);
}

#[test]
fn nftables_suricata_and_nat_on_three_boxes_make_one_chain() {
    let Some(mut site) = Site::build(&[1500; 3]) else {
        return;
    };
    // One hop in VXLAN-GPE, the next in Ethernet.
    site.ethernet_between([1, 2]);
    serve(site, "all three");
}

#[test]
fn nftables_suricata_and_nat_make_one_chain_on_the_portable_backend() {
    let Some(mut site) = Site::build(&[1500; 3]) else {
        return;
    };
    site.backend(Backend::Pnet);
    serve(site, "all three, pnet");
}

#[test]
fn two_nats_share_the_connections_and_get_the_answers_to_their_own() {
    let Some(mut site) = Site::build(&[1500; 3]) else {
        return;
    };
    let nats = ["nat-a", "nat-b"].map(|name| site.two_leg(1, name));
    site.group(&[&nats[0], &nats[1]]);
    let ends = site.chain(&[&nats[0]]);
    ends.behind_a_router();
    for (end, leg, address) in [
        (&ends.client, "i0", "10.1.0.1"),
        (&ends.server, "o0", "10.2.0.2"),
    ] {
        let link = end.run("ip -brief link show e0");
        let mac = link.split_whitespace().nth(2).unwrap();
        for nat in &nats {
            // One router to the ends, and it knows them: nobody can tell whose question an
            // answer belongs to where both have the same addresses.
            nat.namespace
                .run(&format!("ip link set {leg} address 02:00:00:00:02:01"));
            nat.namespace.run(&format!(
                "ip neigh replace {address} lladdr {mac} dev {leg}"
            ));
        }
    }
    for nat in &nats {
        nft::masquerading_router(&nat.namespace, ["i0", "o0"]);
    }
    site.start();
    ends.ping("10.2.0.2");
    everything_passes(&site, &ends, "two NATs", "10.2.0.2", "10.2.0.2");
    let shares = nats
        .each_ref()
        .map(|nat| count(&nat.namespace, "ip nat", "connections"));
    println!("two NATs: {shares:?} connections");
    assert!(shares.iter().all(|&share| share > 800), "{shares:?}");
}
