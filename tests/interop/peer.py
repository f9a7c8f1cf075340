"""The end of a service path, written with scapy: answers ARP and echo requests for 192.168.2.77.

A path that is asked by MD type 1 is answered by MD type 2 with context headers, and the other way
round.
"""
import socket, struct
from scapy.contrib.nsh import NSH
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vxlan import VXLAN

ADDRESS, MAC = '192.168.2.77', '02:00:00:00:00:77'
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.bind(('192.168.50.2', 4790))
print('ready', flush=True)


def answer(frame):
    if ARP in frame and frame[ARP].op == 1 and frame[ARP].pdst == ADDRESS:
        asked = frame[ARP]
        return (Ether(dst=asked.hwsrc, src=MAC)
                / ARP(op=2, hwsrc=MAC, psrc=ADDRESS, hwdst=asked.hwsrc, pdst=asked.psrc))
    if ICMP in frame and frame[ICMP].type == 8 and frame[IP].dst == ADDRESS:
        asked = frame[IP]
        return (Ether(dst=frame.src, src=MAC) / IP(src=ADDRESS, dst=asked.src)
                / ICMP(type=0, id=asked[ICMP].id, seq=asked[ICMP].seq) / asked[ICMP].payload)
    return None


while True:
    octets, sender = wire.recvfrom(65536)
    outer = VXLAN(octets[:8])
    assert (outer.NextProtocol, outer.vni, outer.reserved0, outer.reserved2) == (4, 100, 0, 0), octets[:8]
    base = struct.unpack('!HBB', octets[8:12])
    words, kind = base[0] & 0x3f, base[1]
    assert kind in (1, 2) and base[2] == 3, octets[8:16]
    spi, si = int.from_bytes(octets[12:15], 'big'), octets[15]
    assert (spi, si, octets[8] >> 4) == (300, 255, 0), octets[8:16]
    reply = answer(Ether(octets[8 + 4 * words:]))
    if reply is None:
        continue
    if kind == 1:
        contexts = struct.pack('!HBB', 0x0101, 5, 5) + b'scapy\0\0\0' + struct.pack('!HBB', 0xfff6, 0x80, 0)
        header = bytes(NSH(mdtype=2, length=2 + len(contexts) // 4, spi=301, si=255)) + contexts
    else:
        header = bytes(NSH(spi=301, si=255, context_header=b'0123456789abcdef'))
    wire.sendto(bytes(VXLAN(flags=0x0c, NextProtocol=4, vni=100)) + header + bytes(reply), ('192.168.50.1', 4790))
