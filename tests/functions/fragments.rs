//! Large datagrams through a classifier that looks at ports: only the first fragment has any, and
//! all have to take the same path.

use crate::nft;
use crate::site::Site;
use kc_tests::lab::unexpected_drops;

/// Answers every datagram with itself.
const ECHO: &str = "
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(('::', 5001)); print('ready', flush=True)
while True:
    d, a = s.recvfrom(65536); s.sendto(d, a)
";

/// Sends datagrams of many lengths and waits for each to come back unchanged; what is not cut by
/// the sender's kernel is by the forwarder.
const SEND: &str = "
import socket, random
r = random.Random(2)
for address in ('10.0.0.2', 'fd00::2'):
    s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    # As large as the link takes, whatever the path does: IP_MTU_DISCOVER, IP_PMTUDISC_DONT.
    if ':' not in address: s.setsockopt(socket.IPPROTO_IP, 10, 0)
    s.connect((address, 5001))
    for n in [100, 1398, 1399, 1472, 1473, 2000, 4000, *[8000] * 20, 20000, 60000]:
        d = r.randbytes(n)
        for attempt in range(5):
            try: s.send(d); got = s.recv(65536)
            # The answer was too long, and its sender told.
            except TimeoutError: continue
            except OSError as error:
                # Told the path's MTU: the next attempt is cut to it.
                assert error.errno == 90, f'{address}, {n} octets: {error}'
                continue
            assert got == d, f'{address}, {n} octets'
            break
        else: raise SystemExit(f'{address}, {n} octets do not pass')
";

/// Cuts datagrams itself and sends the pieces in many orders.
const SHUFFLED: &str = "
import socket, struct
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); own.settimeout(5); own.bind(('10.0.0.1', 0))
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for number in range(12):
    d = bytes([number]) * 3000
    udp = struct.pack('!HHHH', own.getsockname()[1], 5001, 8 + len(d), 0) + d
    pieces = [(offset, udp[offset:offset + 1000]) for offset in range(0, len(udp), 1000)]
    if number % 2: pieces.reverse()
    shift = number % len(pieces)
    for offset, piece in pieces[shift:] + pieces[:shift]:
        more = 0x2000 if offset + len(piece) < len(udp) else 0
        head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(piece), 7000 + number, more | offset // 8, 64, 17, 0,
            socket.inet_aton('10.0.0.1'), socket.inet_aton('10.0.0.2'))
        raw.sendto(head + piece, ('10.0.0.2', 0))
    assert own.recv(65536) == d, number
";

#[test]
fn all_fragments_of_a_datagram_take_the_path_that_its_ports_choose() {
    let Some(mut site) = Site::build(&[1500, 1500, 1500]) else {
        return;
    };
    let function = site.two_leg(1, "fn");
    nft::bridge(&function.namespace);
    let ends = site.ends();
    let out = ", protocol = \"udp\", destination-ports = 5001";
    let back = ", protocol = \"udp\", source-ports = 5001";
    site.route(&ends, &[&function], [out, back]);
    // So that the ends find each other; anything else is refused.
    site.route(&ends, &[], [", protocol = \"icmpv6\""; 2]);
    site.route(&ends, &[], [", ethertype = 0x0806"; 2]);
    ends.neighbours();
    site.start();
    let _server = ends.server.python_server(ECHO);
    ends.client.python(SEND);
    ends.client.python(SHUFFLED);
    for (at, counters) in site.counters().iter().enumerate() {
        // The ends' kernels talk of other things too, such as multicast groups.
        let drops = unexpected_drops(counters, &["no-match", "mtu-exceeded"]);
        assert!(drops.is_empty(), "box {at}: {drops:?}");
    }
}
