"""Sends service packets that a forwarder sends back to us, and says what it changed.

Only the TTL may change: unassigned bits, context headers of any kind and what is carried stay.
"""
import socket, struct
from scapy.contrib.nsh import NSH
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.bind(('192.168.50.2', 4790))
wire.settimeout(10)

PACKET = IP(src='192.0.2.1', dst='192.0.2.2') / UDP() / b'carried'
INNER = bytes(Ether(dst='02:00:00:00:00:aa', src='02:00:00:00:00:bb') / PACKET)


def context(kind, value, padding=b'', unassigned=0, group=0x0101):
    return struct.pack('!HBB', group, kind, len(value) | unassigned) + value + padding


def nsh(payload=INNER, metadata=b'', **fields):
    return bytes(NSH(**dict(dict(spi=300, si=255), **fields))) + metadata + payload


def md2(metadata, **fields):
    return nsh(metadata=metadata, mdtype=2, length=2 + len(metadata) // 4, **fields)


CASES = {
    'MD type 1': nsh(context_header=bytes(range(16))),
    'unassigned bits': nsh(unused1=1, unused2=0xf),
    'MD type 2 without context': md2(b''),
    'one context': md2(context(5, b'abcde', b'\0\0\0')),
    'padding that is not zero': md2(context(5, b'abcde', b'\xff\xfe\xfd')),
    'the unassigned bit of a context': md2(context(5, b'abcd', unassigned=0x80)),
    'an empty context': md2(context(0, b'')),
    'contexts nobody knows': md2(context(255, b'x' * 127, b'\0', group=0xffff) + context(1, b'', group=0)),
    'the same context twice': md2(context(7, b'once') + context(7, b'more')),
    'the longest header': md2(context(1, b'y' * 124) + context(2, b'z' * 112)),
    'IPv4 inside': nsh(bytes(PACKET), nextproto=1),
    'IPv6 inside': nsh(bytes(IPv6(src='2001:db8::1', dst='2001:db8::2') / UDP() / b'6'), nextproto=2),
    'NSH inside': nsh(nsh(), nextproto=4),
    'MPLS inside': nsh(b'\0\x01\x41\x40' + bytes(PACKET), nextproto=5),
    'TTL 0': nsh(ttl=0),
    'TTL 2': nsh(ttl=2),
}


def ttl(octets):
    return (octets[0] & 0x0f) << 2 | octets[1] >> 6


for what, sent in CASES.items():
    # Reserved bits of the outer header are to be ignored, and not to be copied. scapy knows other
    # meanings of some of them, so they are written by hand.
    outer = b'\xce\xff\xff\x04\0\0\x64\xff'
    wire.sendto(outer + sent, ('192.168.50.1', 4790))
    got, _ = wire.recvfrom(65536)
    assert got[:8] == bytes(VXLAN(flags=0x0c, NextProtocol=4, vni=100)), (what, got[:8])
    got = got[8:]
    assert ttl(got) == (ttl(sent) - 1) % 64, (what, ttl(got))
    same = bytes([got[0] & 0xf0 | sent[0] & 0x0f, got[1] & 0x3f | sent[1] & 0xc0]) + got[2:]
    assert same == sent, (what, sent.hex(), got.hex())
print(len(CASES))
