//! Functions that misbehave: small programs between the legs `i0` and `o0`.

use kc_tests::lab::{Namespace, Process};

/// Carries frames between the legs; `pass(out, frame)` says what becomes of one, `idle()` is
/// called when none has come for 5 ms. What the namespace itself sends is not carried.
const CARRY: &str = r#"
import socket, select, random
legs = []
for name in ('i0', 'o0'):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.bind((name, 0)); legs.append(s)
r = random.Random(3)
HOW
print('ready', flush=True)
while True:
    ready, _, _ = select.select(legs, [], [], 0.005)
    if not ready: idle()
    for s in ready:
        frame, address = s.recvfrom(65536)
        if address[2] != 4: pass_(legs[1 - legs.index(s)], frame)
"#;

/// Every frame twice.
const TWICE: &str = "
def pass_(out, frame): out.send(frame); out.send(frame)
def idle(): pass
";

/// A third of the frames are overtaken by those behind them.
const OVERTAKE: &str = "
held = []
def pass_(out, frame):
    if r.randrange(3) == 0 and len(held) < 4: held.append((out, frame))
    else:
        out.send(frame)
        if r.randrange(2) == 0: idle()
def idle():
    while held:
        out, frame = held.pop(r.randrange(len(held))); out.send(frame)
";

/// Sends COUNT frames of each kind out of both legs: noise, and noise behind headers that look
/// like something, too short and too long ones among them.
const NOISE: &str = r#"
import socket, random
r = random.Random(5)
legs = []
for name in ('i0', 'o0'):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((name, 0)); legs.append(s)
ends = bytes.fromhex('020000000002' '020000000001')
heads = [b'', ends, ends + bytes.fromhex('8100'), ends + bytes.fromhex('894f'),
    ends + bytes.fromhex('894f' '0fc60103 00000aff') + bytes(16),
    ends + bytes.fromhex('0800 4500'), ends + bytes.fromhex('0800 45000028 00004000 4006 0000 0a000001 0a000002'),
    ends + bytes.fromhex('0800 4f00ffff'), ends + bytes.fromhex('0800 45000100 00002000 4011 0000 0a000002 0a000001'),
    ends + bytes.fromhex('86dd 6000ffff'), ends + bytes.fromhex('86dd 60000000 0020 00 40') + bytes(32),
    ends + bytes.fromhex('0806 0001 0800')]
for number in range(COUNT):
    for head in heads:
        for leg in legs:
            frame = head + r.randbytes(r.choice([0, 1, 2, 7, 20, 60, 600, 1450]))
            frame += bytes(max(0, 14 - len(frame)))
            leg.send(frame[:1514])
print(COUNT * len(heads) * len(legs))
"#;

fn carry(namespace: &Namespace, how: &str) -> Process {
    namespace.python_server(&CARRY.replace("HOW", how))
}

/// Sends every frame twice.
pub(crate) fn duplicating(namespace: &Namespace) -> Process {
    carry(namespace, TWICE)
}

/// Sends frames in another order.
pub(crate) fn reordering(namespace: &Namespace) -> Process {
    carry(namespace, OVERTAKE)
}

/// Sends noise out of both legs; says how many frames.
pub(crate) fn noise(namespace: &Namespace, rounds: usize) -> u64 {
    let program = NOISE.replace("COUNT", &rounds.to_string());
    namespace.python(&program).trim().parse().unwrap()
}
