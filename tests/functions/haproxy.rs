//! haproxy: ends the client's connection and opens one of its own.

use crate::nft;
use kc_tests::lab::{Lab, Namespace, PATIENCE, Process};
use std::time::{Duration, Instant};

/// A TCP proxy on 10.0.0.100 port 5000 for 10.0.0.2 port 5000, both by the leg `e0`.
pub(crate) fn proxy(lab: &Lab, namespace: &Namespace) -> Process {
    namespace.address("e0", "10.0.0.100/24");
    let inside = "bind 10.0.0.100:5000";
    start(lab, namespace, inside, "server one 10.0.0.2:5000")
}

/// A proxy that nobody sees, on a router between the networks of `behind_a_router`: the client
/// speaks to the server's address and port 5000, and the server sees the client's.
pub(crate) fn transparent_proxy(lab: &Lab, namespace: &Namespace) -> Process {
    nft::router(namespace, ["i0", "o0"]);
    nft::load(
        namespace,
        r#"
        table ip divert {
            chain before {
                type filter hook prerouting priority mangle;
                ip protocol tcp socket transparent 1 meta mark set 1 accept
                iifname "i0" tcp dport 5000 tproxy to :5000 meta mark set 1 accept
            }
        }
        "#,
    );
    namespace.run("ip rule add fwmark 1 lookup 100");
    namespace.run("ip route add local default dev lo table 100");
    let outside = "source 0.0.0.0 usesrc clientip\n server original 0.0.0.0:0";
    start(lab, namespace, "bind :5000 transparent", outside)
}

fn start(lab: &Lab, namespace: &Namespace, inside: &str, outside: &str) -> Process {
    let file = lab.folder().join("haproxy.cfg");
    let text = format!(
        "global\n maxconn 4096\n\
         defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend inside\n {inside}\n default_backend outside\n\
         backend outside\n {outside}\n"
    );
    std::fs::write(&file, text).unwrap();
    let mut command = namespace.command("haproxy");
    command.arg("-db").arg("-f").arg(&file);
    let process = Process::start(command);
    // It says nothing when it is ready. 1388 is port 5000, 0A the state of a listener.
    let listens = |line: &str| line.contains(":1388 00000000:0000 0A");
    let begin = Instant::now();
    while !namespace.run("cat /proc/net/tcp").lines().any(listens) {
        assert!(begin.elapsed() < PATIENCE, "haproxy does not listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    process
}
