// loop_gso BUCKETS PORT IN OUT: the least that forwards tunnel packets (VXLAN or VXLAN-GPE on
// PORT) at the speed of segmentation: TPACKET_V3 ring in; out, a new outer header in front of a run
// of equally long packets, which the kernel cuts (PACKET_VNET_HDR, GSO of UDP). Packets are spread
// over BUCKETS outer source ports by inner source port; order is kept within a bucket.
#define _GNU_SOURCE
#include "ring.h"
#include <linux/virtio_net.h>

#define OUTER 42
#define RUN 64
#define MOST 32

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

struct bucket {
    int count, length;
    struct iovec parts[2 + RUN];
};

static uint8_t header[OUTER] = {2,  0, 0,  0, 0, 0x0e, 2, 0, 0, 0, 0, 0x0c, 8, 0, 0x45, 0, 0, 0,
                                0,  0, 0,  0, 64, 17,  0, 0, 10, 2, 0, 1,   10, 2, 0,   2};

static void put(int at, uint16_t word)
{
    header[at] = word >> 8;
    header[at + 1] = word;
}

static uint16_t fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

static uint32_t sum(int from, int to)
{
    uint32_t sum = 0;
    for (int at = from; at < to; at += 2)
        sum += header[at] << 8 | header[at + 1];
    return sum;
}

static void flush(int out, struct bucket *bucket, int number)
{
    int whole = bucket->count * bucket->length;
    struct virtio_net_hdr open = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                  .csum_start = 34,
                                  .csum_offset = 6,
                                  .hdr_len = OUTER};
    if (!bucket->count)
        return;
    if (bucket->count > 1) {
        open.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
        open.gso_size = bucket->length;
    }
    put(16, 28 + whole);
    put(24, 0);
    put(24, ~fold(sum(14, 34)));
    put(34, 40000 + number);
    put(38, 8 + whole);
    put(40, fold(sum(26, 34) + 17 + 8 + whole));
    bucket->parts[0] = (struct iovec){&open, sizeof open};
    bucket->parts[1] = (struct iovec){header, OUTER};
    struct msghdr message = {.msg_iov = bucket->parts, .msg_iovlen = 2 + bucket->count};
    sendmsg(out, &message, 0);
    bucket->count = 0;
}

int main(int argc, char **argv)
{
    static struct bucket buckets[MOST];
    if (argc != 5) {
        fprintf(stderr, "usage: loop_gso BUCKETS PORT IN OUT\n");
        return 2;
    }
    int spread = atoi(argv[1]), port = atoi(argv[2]);
    if (spread < 1 || spread > MOST)
        return 2;
    // The inner frame's UDP source port.
    int inner_port = OUTER + 8 + (port == 4790 ? 24 : 0) + 34;
    put(36, port);
    int in = packet_socket(), out = packet_socket();
    struct ring ring = ring_open(in, 1 << 17, 32);
    set(out, SOL_PACKET, PACKET_VNET_HDR, 1);
    bind_packet(in, argv[3], 1);
    bind_packet(out, argv[4], 0);
    for (;;) {
        struct tpacket_block_desc *block = ring_wait(&ring);
        struct tpacket3_hdr *packet = ring_first(block);
        for (unsigned left = block->hdr.bh1.num_pkts; left; left--) {
            uint8_t *frame = (uint8_t *)packet + packet->tp_mac;
            int length = (int)packet->tp_snaplen - OUTER;
            packet = ring_next(packet);
            if (length < 64 || frame[12] != 8 || frame[13] != 0 || frame[23] != 17 ||
                (frame[36] << 8 | frame[37]) != port)
                continue;
            uint16_t flow = frame[inner_port] << 8 | frame[inner_port + 1];
            int number = (flow * 2654435761u >> 24) % spread;
            struct bucket *bucket = buckets + number;
            if (bucket->count == RUN || bucket->length != length ||
                (bucket->count + 1) * length > 60000)
                flush(out, bucket, number);
            frame[OUTER + 5] ^= 1;
            bucket->length = length;
            bucket->parts[2 + bucket->count++] = (struct iovec){frame + OUTER, length};
        }
        for (int number = 0; number < spread; number++)
            flush(out, buckets + number, number);
        ring_release(&ring, block);
    }
}
