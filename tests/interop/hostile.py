"""What nobody should send, from 192.168.50.2 to the forwarder on 192.168.50.1.

Prints, as JSON, under which reason how many of them are to be dropped.
"""
import collections, json, socket, struct, sys, time
from scapy.contrib.nsh import NSH
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.vxlan import VXLAN

ROUNDS, FLOOD = int(sys.argv[1]), int(sys.argv[2])
VXLAN_PORT, GPE_PORT, VNI, SEGMENT = 4789, 4790, 100, 7

INNER = bytes(Ether(dst='02:00:00:00:00:aa', src='02:00:00:00:00:bb')
              / IP(src='192.0.2.1', dst='192.0.2.2') / UDP() / b'hostile')
TAGGED = bytes(Ether(dst='02:00:00:00:00:aa', src='02:00:00:00:00:bb')
               / Dot1Q(vlan=9) / IP(src='192.0.2.1', dst='192.0.2.2') / ICMP())


def gpe(payload, flags=0x0c, next_protocol=4, vni=VNI):
    return bytes(VXLAN(flags=flags, NextProtocol=next_protocol, vni=vni)) + payload


def nsh(payload=INNER, metadata=b'', **fields):
    fields = dict(dict(spi=302, si=255), **fields)
    return bytes(NSH(**fields)) + metadata + payload


def md2(words, metadata, payload=INNER, **fields):
    return nsh(payload, metadata, mdtype=2, length=words, **fields)


def tlv(length, value=b'', kind=1):
    return struct.pack('!HBB', 0x0100, kind, length) + value


def cases():
    """(what, to which port, octets, the reason)."""
    for cut in range(8):
        yield f'GPE header of {cut} octets', GPE_PORT, gpe(b'')[:cut], 'vxlan-header'
        yield f'VXLAN header of {cut} octets', VXLAN_PORT, bytes(VXLAN(vni=SEGMENT))[:cut], 'vxlan-header'
    for version in (1, 2, 3):
        yield f'GPE version {version}', GPE_PORT, gpe(nsh(), flags=0x0c | version << 4), 'vxlan-header'
        yield f'NSH version {version}', GPE_PORT, gpe(nsh(ver=version)), 'nsh-version'
    yield 'GPE without a VNI', GPE_PORT, gpe(nsh(), flags=0x04), 'vxlan-header'
    yield 'VXLAN without a VNI', VXLAN_PORT, bytes(VXLAN(flags=0, vni=SEGMENT)) + INNER, 'vxlan-header'
    for port in (VXLAN_PORT, GPE_PORT):
        yield 'another VNI', port, gpe(nsh(), vni=101) if port == GPE_PORT else bytes(VXLAN(vni=8)) + INNER, 'unknown-vni'
    for protocol in (0, 1, 2, 5, 0x7f, 0x80, 0xff):
        yield f'GPE with {protocol} inside', GPE_PORT, gpe(INNER, next_protocol=protocol), 'gpe-next-protocol'
    yield 'GPE without P in a service VNI', GPE_PORT, bytes(VXLAN(vni=VNI)) + INNER, 'gpe-next-protocol'

    for cut in range(8):
        yield f'NSH of {cut} octets', GPE_PORT, gpe(nsh()[:cut]), 'truncated'
    for cut in range(8, 24):
        yield f'MD type 1 of {cut} octets', GPE_PORT, gpe(nsh()[:cut]), 'nsh-length'
    for kind in (0, 3, 7, 14, 15):
        yield f'MD type {kind}', GPE_PORT, gpe(nsh(mdtype=kind, length=2)), 'nsh-md-type'
    for words in (0, 1, 2, 5, 7, 63):
        yield f'MD type 1 of {words} words', GPE_PORT, gpe(nsh(length=words)), 'nsh-length'
    for words in (0, 1, 63):
        yield f'MD type 2 of {words} words', GPE_PORT, gpe(md2(words, b'')), 'nsh-length'
    for length in (1, 4, 5, 127):
        yield f'context of {length} in 0 octets', GPE_PORT, gpe(md2(3, tlv(length))), 'nsh-length'
    for length in (5, 8, 127):
        yield f'context of {length} in 4 octets', GPE_PORT, gpe(md2(4, tlv(length, b'abcd'))), 'nsh-length'
    second = tlv(4, b'abcd') + tlv(9, b'efghijkl')
    yield 'the second context lies', GPE_PORT, gpe(md2(7, second)), 'nsh-length'
    for protocol in (0, 4, 5, 0x80, 0xfe, 0xff):
        yield f'NSH with {protocol} inside, to a port', GPE_PORT, gpe(nsh(nextproto=protocol)), 'nsh-next-protocol'
    yield 'TTL 1', GPE_PORT, gpe(nsh(ttl=1)), 'ttl-expired'
    yield 'SI 0', GPE_PORT, gpe(nsh(si=0)), 'no-path'
    yield 'an SI that is not served', GPE_PORT, gpe(nsh(si=254)), 'no-path'
    yield 'an SPI that is not served', GPE_PORT, gpe(nsh(spi=0xffffff)), 'no-path'
    for cut in (0, 1, 13):
        yield f'Ethernet of {cut} octets in NSH', GPE_PORT, gpe(nsh(INNER[:cut])), 'truncated'
        yield f'Ethernet of {cut} octets in VXLAN', VXLAN_PORT, bytes(VXLAN(vni=SEGMENT)) + INNER[:cut], 'truncated'
    yield 'a VLAN tag in VXLAN', VXLAN_PORT, bytes(VXLAN(vni=SEGMENT)) + TAGGED, 'inner-vlan'


def sender(address):
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, 0))
    return made


def send(made, octets, port):
    made.sendto(octets, ('192.168.50.1', port))


expected = collections.Counter()
peer, stranger = sender('192.168.50.2'), sender('192.168.50.9')
for _ in range(ROUNDS):
    for what, port, octets, reason in cases():
        send(peer, octets, port)
        expected[reason] += 1
    send(stranger, bytes(VXLAN(vni=SEGMENT)) + INNER, VXLAN_PORT)
    expected['unknown-vtep'] += 1
# No faster than a busy link: what a full socket loses is counted by the kernel, not by us.
for number in range(FLOOD):
    send(peer, gpe(nsh(), vni=1000 + number), GPE_PORT)
    expected['unknown-vni'] += 1
    if number % 64 == 0:
        time.sleep(0.002)
print(json.dumps(expected))
