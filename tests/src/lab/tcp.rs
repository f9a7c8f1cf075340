//! TCP traffic whose every octet is checked, by Python programs inside the namespaces.

use super::{Namespace, Process};

/// A TCP server that answers every connection with the SHA-256 and length of what it received,
/// then sends as much back; and the client to it.
pub struct Tcp;

impl Tcp {
    const SERVER: &str = r#"
import socket, hashlib, sys, threading
s = socket.create_server(('ADDRESS', 5000), family=FAMILY)
print('ready', flush=True)
def serve(c):
    h, n = hashlib.sha256(), 0
    while True:
        b = c.recv(1 << 16)
        if not b: break
        h.update(b); n += len(b)
    c.sendall(h.digest())
    pattern = bytes(range(256)) * 256
    left = n
    while left > 0:
        c.sendall(pattern[:min(left, len(pattern))]); left -= len(pattern)
    c.close()
while True:
    c, _ = s.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
"#;

    const CLIENT: &str = r#"
import socket, hashlib, random, time
size = SIZE
data = random.Random(7).randbytes(1 << 20)
data = (data * (size // len(data) + 1))[:size]
c = socket.create_connection(('ADDRESS', 5000), timeout=20)
begin = time.monotonic()
c.sendall(data); c.shutdown(socket.SHUT_WR)
got = b''
while len(got) < 32:
    b = c.recv(32 - len(got))
    assert b, 'closed early'
    got += b
sent = time.monotonic() - begin
assert got == hashlib.sha256(data).digest(), 'octets changed on the way there'
pattern = (bytes(range(256)) * 256)
want = (pattern * (size // len(pattern) + 1))[:size]
begin = time.monotonic()
parts, n = [], 0
while True:
    b = c.recv(1 << 16)
    if not b: break
    parts.append(b); n += len(b)
back = time.monotonic() - begin
assert b''.join(parts) == want, f'octets changed on the way back: {n} of {size}'
print(f'{size * 8 / sent / 1e6:.0f} Mbit/s there, {size * 8 / back / 1e6:.0f} Mbit/s back')
"#;

    const REQUESTS: &str = r#"
import socket, hashlib, random, time
r = random.Random(11)
pattern = bytes(range(256)) * 256
longest, begin = 0, time.monotonic()
for number in range(COUNT):
    data = r.randbytes(r.randint(1, 2000))
    start = time.monotonic()
    with socket.create_connection(('ADDRESS', 5000), timeout=20) as c:
        c.sendall(data); c.shutdown(socket.SHUT_WR)
        got = b''
        while True:
            b = c.recv(1 << 16)
            if not b: break
            got += b
    want = hashlib.sha256(data).digest() + pattern[:len(data)]
    assert got == want, f'request {number}: {len(got)} octets of {len(want)}'
    longest = max(longest, time.monotonic() - start)
took = time.monotonic() - begin
print(f'COUNT requests in {took:.1f} s, the longest {longest * 1e3:.0f} ms')
"#;

    fn family(address: &str) -> &'static str {
        if address.contains(':') {
            "socket.AF_INET6"
        } else {
            "socket.AF_INET"
        }
    }

    /// Starts the server on `address`.
    pub fn serve(namespace: &Namespace, address: &str) -> Process {
        let program = Self::SERVER.replace("ADDRESS", address);
        namespace.python_server(&program.replace("FAMILY", Self::family(address)))
    }

    /// Sends `size` octets to `address` and takes as many back, each checked; says how fast.
    pub fn exchange(namespace: &Namespace, address: &str, size: usize) -> String {
        let program = Self::CLIENT.replace("ADDRESS", address);
        namespace
            .python(&program.replace("SIZE", &size.to_string()))
            .trim()
            .to_owned()
    }

    /// Makes `count` requests of up to 2,000 octets, a connection each, every answer checked; says
    /// how long they took.
    pub fn requests(namespace: &Namespace, address: &str, count: usize) -> String {
        let program = Self::REQUESTS.replace("ADDRESS", address);
        namespace
            .python(&program.replace("COUNT", &count.to_string()))
            .trim()
            .to_owned()
    }
}
