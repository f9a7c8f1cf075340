# Frames with NSH for the tests of the fast path: sound ones, odd ones and bad ones.
# Run as: frames.py send INTERFACE ENTRY, or frames.py take INTERFACE with the number of frames on
# standard input.
import select
import socket
import struct
import sys

BOX = bytes.fromhex('0200000000d0')


def checksum(data):
    data += b'\0' * (len(data) % 2)
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ipv4(source, destination, protocol, payload, tos=0, fragment=0x4000, options=b'', length=None):
    length = 20 + len(options) + len(payload) if length is None else length
    source, destination = socket.inet_aton(source), socket.inet_aton(destination)
    head = lambda sum: struct.pack('!BBHHHBBH', 0x45 + len(options) // 4, tos, length, 7, fragment, 64, protocol, sum) + source + destination + options
    return head(checksum(head(0))) + payload


def ipv6(source, destination, protocol, payload, tos=0):
    pack = lambda address: socket.inet_pton(socket.AF_INET6, address)
    return struct.pack('!IHBB', 6 << 28 | tos << 20 | 0x12345, len(payload), protocol, 64) + pack(source) + pack(destination) + payload


def udp(source, destination, payload, sum=0):
    return struct.pack('!HHHH', source, destination, 8 + len(payload), sum) + payload


def udp6(source, destination, ports, payload):
    pack = lambda address: socket.inet_pton(socket.AF_INET6, address)
    datagram = udp(*ports, payload)
    pseudo = pack(source) + pack(destination) + struct.pack('!II', len(datagram), 17)
    return udp(*ports, payload, checksum(pseudo + datagram) or 0xffff)


def tcp(source, destination, ports, payload, open=False):
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack('!HH', 6, 20 + len(payload))
    segment = lambda sum: struct.pack('!HHIIBBHHH', *ports, 1, 2, 5 << 4, 0x18, 500, sum, 0) + payload
    return segment(checksum(pseudo) ^ 0xffff if open else checksum(pseudo + segment(0)))


def ethernet(kind, payload, tags=()):
    tags = b''.join(struct.pack('!HH', *tag) for tag in tags)
    return bytes.fromhex('02aaaaaaaa0102bbbbbbbb02') + tags + struct.pack('!H', kind) + payload


def nsh(spi, si=255, ttl=63, md=1, next=3, context=None, first=0, second=0, version=0, oam=0, length=None):
    context = bytes(range(16)) if context is None else context
    length = 2 + len(context) // 4 if length is None else length
    word = version << 14 | oam << 13 | first << 12 | ttl << 6 | length
    return struct.pack('!HBBI', word, second << 4 | md, next, spi << 8 | si) + context


def insides():
    """(next protocol, octets) of what an NSH may carry."""
    data = bytes(range(64))
    a, b = '192.168.2.1', '192.168.2.2'
    v4 = lambda tos: ipv4(a, b, 17, udp(5000, 53, data), tos)
    v6 = lambda tos: ipv6('fd00::1', 'fd00::2', 17, udp(5000, 53, data, 1), tos)
    for tos in (0, 1, 2, 3, 0xb8, 0x2a):
        yield 3, ethernet(0x800, v4(tos))
        yield 3, ethernet(0x86dd, v6(tos))
        yield 1, v4(tos)
        yield 2, v6(tos)
    yield 3, ethernet(0x800, ipv4(a, b, 6, tcp(a, b, (6000, 80), data)))
    yield 3, ethernet(0x800, ipv4(a, b, 6, tcp(a, b, (6000, 80), data, open=True)))
    yield 3, ethernet(0x800, ipv4(a, b, 1, b'\x08\0' + data))
    yield 3, ethernet(0x800, ipv4(a, b, 132, data, options=b'\x01\x01\x01\x00'))
    yield 3, ethernet(0x800, ipv4(a, b, 17, data, fragment=0x2000))
    yield 3, ethernet(0x800, ipv4(a, b, 17, data, fragment=8))
    yield 3, ethernet(0x800, ipv4(a, b, 17, data, length=500))
    yield 3, ethernet(0x800, ipv4(a, b, 17, udp(1, 2, b''))) + bytes(30)
    yield 3, ethernet(0x800, v4(0), [(0x8100, 9)])
    yield 3, ethernet(0x86dd, v6(2), [(0x88a8, 9), (0x8100, 10)])
    yield 3, ethernet(0x800, v4(0), [(0x88a8, 9), (0x8100, 10), (0x8100, 11)])
    yield 3, ethernet(0x86dd, ipv6('fd00::1', 'fd00::2', 0, b'\x11\0\1\4\0\0\0\0' + udp(1, 2, data)))
    yield 3, ethernet(0x86dd, ipv6('fd00::1', 'fd00::2', 44, b'\x11\0\0\1\0\0\0\7' + udp(1, 2, data)))
    yield 3, ethernet(0x86dd, ipv6('fd00::1', 'fd00::2', 58, b'\x80\0' + data))
    yield 3, ethernet(0x806, data)
    yield 3, ethernet(0x1234, data)
    yield 3, ethernet(0x800, ipv4(a, b, 17, udp(5000, 53, bytes(1300))))
    yield 3, ethernet(0x800, ipv4(a, b, 17, udp(5000, 53, bytes(1443))))
    yield 4, nsh(9) + data
    yield 5, data
    yield 6, data
    yield 3, data[:10]
    yield 1, data


def packets():
    """NSH packets for the paths 1 to 6."""
    data = bytes(range(64))
    sound = ethernet(0x800, ipv4('192.168.2.1', '192.168.2.2', 17, udp(5000, 53, data)))
    for spi in range(1, 7):
        for next, inside in insides():
            yield nsh(spi, next=next) + inside
        tlv = lambda kind, value: struct.pack('!HBB', 1, kind, len(value)) + value + bytes(-len(value) % 4)
        yield nsh(spi, md=2, context=b'') + sound
        yield nsh(spi, md=2, context=tlv(1, b'abc') + tlv(2, b'') + tlv(0x83, bytes(40))) + sound
        yield nsh(spi, md=2, context=tlv(1, bytes(100)) + tlv(2, bytes(127))) + sound
        yield nsh(spi, first=1, second=15) + sound
        for ttl in (0, 1, 2, 62):
            yield nsh(spi, ttl=ttl) + sound
    # What is wrong with these is counted under a name each.
    yield nsh(1, si=7) + sound
    yield nsh(77) + sound
    yield nsh(1, version=1) + sound
    yield nsh(1, oam=1) + sound
    yield nsh(1, md=0) + sound
    yield nsh(1, md=15) + sound
    yield nsh(1, length=7) + sound
    yield nsh(1, md=2, context=b'', length=1) + sound
    yield nsh(1, md=2, context=b'\0\1\2\x60' + bytes(8)) + sound
    yield nsh(1)[:6]
    yield nsh(1)[:20]


def gpe(packet, vni=100, flags=0x0c, next=4, last=0):
    return struct.pack('!BHBI', flags, 0, next, vni << 8 | last) + packet


def framed(entry):
    """Frames as they enter the box by `entry`."""
    own = bytes.fromhex('0200000000e0')
    if entry == 'lan':
        for packet in packets():
            yield BOX + own + b'\x89\x4f' + packet
            yield BOX + own + b'\x81\0\0\x07\x89\x4f' + packet
        one = next(packets())
        # From a stranger, to somebody else, of a VLAN that is no LAN of ours.
        yield BOX + bytes.fromhex('0200000000ee') + b'\x89\x4f' + one
        yield bytes.fromhex('0200000000dd') + own + b'\x89\x4f' + one
        yield BOX + own + b'\x81\0\0\x08\x89\x4f' + one
    elif entry == 'warm':
        yield BOX + own + b'\x89\x4f' + nsh(3) + ethernet(0x1234, b'')
    elif entry == 'leg':
        for packet in packets():
            yield BOX + own + b'\x89\x4f' + packet
    elif entry == 'gpe4':
        one = lambda packet, tos=0, port=4790, source='10.1.0.1', **more: BOX + own + b'\x08\0' + ipv4(
            source, '10.9.0.1', 17, udp(49153, port, gpe(packet, **more)), tos)
        for packet in packets():
            for tos in (0, 1, 2, 3, 0xb8):
                yield one(packet, tos)
        sound = next(packets())
        yield one(sound, vni=101)
        yield one(sound, vni=200)
        yield one(sound, source='10.1.0.9')
        yield one(sound, flags=0x0e)
        yield one(sound, flags=0xcc, last=0xff)
        yield one(sound, flags=0x0d)
        yield one(sound, flags=0x1c)
        yield one(sound, flags=0x04)
        yield one(sound, next=5)
    else:
        one = lambda packet, tos=0: BOX + own + b'\x86\xdd' + ipv6(
            'fd01::1', 'fd09::1', 17, udp6('fd01::1', 'fd09::1', (49154, 4790), gpe(packet)), tos)
        for packet in packets():
            for tos in (0, 1, 2, 3):
                yield one(packet, tos)
        without = bytearray(one(next(packets())))
        without[60:62] = b'\0\0'
        yield bytes(without)


def send(interface, entry):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    link.bind((interface, 0))
    count = 0
    for frame in framed(entry):
        link.send(frame)
        count += 1
    print(count)


def masked(frame):
    """What is compared of a frame: all but the outer source port and what follows from it."""
    at, octets = 14, bytearray(frame)
    if octets[12:14] == b'\x86\xdd':
        pseudo = bytes(octets[22:54]) + struct.pack('!II', len(octets) - 54, 17)
        assert checksum(pseudo + bytes(octets[54:])) == 0, octets.hex()
        octets[15] &= 0xf0
        octets[16:18] = octets[60:62] = b'\0\0'
        at = 54
    elif octets[12:14] == b'\x08\0':
        assert checksum(bytes(octets[14:34])) == 0, octets.hex()
        assert octets[40:42] == b'\0\0', octets.hex()
        at = 34
    else:
        return bytes(octets).hex()
    assert struct.unpack('!H', octets[at:at + 2])[0] >= 49152, octets.hex()
    octets[at:at + 2] = b'\0\0'
    return bytes(octets).hex()


def take(interface):
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    link.setsockopt(263, 8, 1)
    link.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
    link.bind((interface, 3))
    own = link.getsockname()[4]
    print('ready', flush=True)
    wanted, found = int(sys.stdin.readline()), []
    while len(found) < wanted:
        assert select.select([link], [], [], 10)[0], f'{len(found)} frames of {wanted} at {interface}'
        frame, ancillary, _, address = link.recvmsg(65536, 256)
        if address[2] == 4:
            continue
        for level, kind, data in ancillary:
            status, _, _, _, _, tci, kind = struct.unpack('=IIIHHHH', data[:20])
            if status & 0x10:
                frame = frame[:12] + struct.pack('!HH', kind if status & 0x40 else 0x8100, tci) + frame[12:]
        kind = frame[12:14]
        is_nsh = kind == b'\x89\x4f' or frame[12:18] == b'\x81\0\0\x07\x89\x4f'
        is_gpe = kind == b'\x08\0' and frame[36:38] == b'\x12\xb6' or kind == b'\x86\xdd' and frame[56:58] == b'\x12\xb6'
        # A function is also told of packets that are too long; all else is the kernels' own.
        too_long = kind == b'\x08\0' and frame[23] == 1 or kind == b'\x86\xdd' and frame[54:55] == b'\x02'
        if interface == 'f0' and not is_nsh and too_long:
            found.append(frame.hex())
        elif frame[:6] == own and (is_nsh or is_gpe):
            found.append(masked(frame))
    for frame in sorted(found):
        print(frame)


if sys.argv[1] == 'send':
    send(*sys.argv[2:])
else:
    take(sys.argv[2])
