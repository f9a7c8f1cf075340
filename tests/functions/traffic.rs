//! What every foreign function has to let through.

use crate::site::{Ends, Site, on_path};
use kc_tests::lab::{Tcp, unexpected_drops};

/// Octets each way of a bulk transfer.
const BULK: usize = 32 << 20;
/// Small requests, a connection each.
const REQUESTS: usize = 2_000;

/// 64 MB and 2,000 requests from the client to `address`; none may fail, no forwarder
/// may drop a frame, and every box must have seen both directions.
pub(crate) fn everything_passes(site: &Site, ends: &Ends, what: &str, address: &str, listen: &str) {
    let _server = Tcp::serve(&ends.server, listen);
    let rate = Tcp::exchange(&ends.client, address, BULK);
    println!("{what}: {rate}");
    let requests = Tcp::requests(&ends.client, address, REQUESTS);
    println!("{what}: {requests}");
    // On a LAN, others announce their addresses to everybody, whom that need not concern.
    let expected: &[&str] = if site.by_ethernet.is_some() {
        &["no-match"]
    } else {
        &[]
    };
    for (at, counters) in site.counters().iter().enumerate() {
        let drops = unexpected_drops(counters, expected);
        assert!(drops.is_empty(), "box {at}: {drops:?}");
        for spi in [Site::spi(0), Site::spi(0) + 1] {
            let passed = on_path(counters, spi);
            assert!(passed > 10_000, "box {at}, path {spi}: {passed} packets");
        }
    }
}
