//! haproxy: ends the client's connection and opens one of its own.

use kc_tests::lab::{Lab, Namespace, PATIENCE, Process};
use std::time::{Duration, Instant};

/// A TCP proxy on 10.0.0.100 port 5000 for 10.0.0.2 port 5000, both by the leg `e0`.
pub(crate) fn proxy(lab: &Lab, namespace: &Namespace) -> Process {
    namespace.address("e0", "10.0.0.100/24");
    let file = lab.folder().join("haproxy.cfg");
    let text = "global\n maxconn 4096\n\
         defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend inside\n bind 10.0.0.100:5000\n default_backend outside\n\
         backend outside\n server one 10.0.0.2:5000\n";
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
