// loop_packet METHOD IN OUT: the least that forwards between two interfaces with AF_PACKET. MAC
// addresses and one octet are written, nothing is looked up.
//
//   each    recvfrom, sendto
//   mmsg    recvmmsg, sendmmsg, past the queueing discipline
//   tpv3m   TPACKET_V3 ring in, sendmmsg past the queueing discipline out
#define _GNU_SOURCE
#include "ring.h"

#define BATCH 64

static void rewrite(uint8_t *frame)
{
    static const uint8_t macs[12] = {2, 0, 0, 0, 0, 0x0e, 2, 0, 0, 0, 0, 0x0c};
    memcpy(frame, macs, sizeof macs);
    frame[22]--;
}

static void each(int in, int out)
{
    static uint8_t frame[4096];
    for (;;) {
        ssize_t length = recv(in, frame, sizeof frame, 0);
        if (length <= 0)
            continue;
        rewrite(frame);
        send(out, frame, length, 0);
    }
}

static void mmsg(int in, int out)
{
    static uint8_t frames[BATCH][2048];
    struct mmsghdr received[BATCH] = {0}, sent[BATCH] = {0};
    struct iovec room[BATCH], filled[BATCH];
    for (int i = 0; i < BATCH; i++) {
        room[i] = (struct iovec){frames[i], sizeof frames[i]};
        filled[i].iov_base = frames[i];
        received[i].msg_hdr = (struct msghdr){.msg_iov = room + i, .msg_iovlen = 1};
        sent[i].msg_hdr = (struct msghdr){.msg_iov = filled + i, .msg_iovlen = 1};
    }
    for (;;) {
        int count = recvmmsg(in, received, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) {
            rewrite(frames[i]);
            filled[i].iov_len = received[i].msg_len;
        }
        send_all(out, sent, count);
    }
}

static void tpv3m(struct ring *ring, int out)
{
    struct mmsghdr sent[BATCH] = {0};
    struct iovec filled[BATCH];
    for (int i = 0; i < BATCH; i++)
        sent[i].msg_hdr = (struct msghdr){.msg_iov = filled + i, .msg_iovlen = 1};
    for (;;) {
        struct tpacket_block_desc *block = ring_wait(ring);
        struct tpacket3_hdr *packet = ring_first(block);
        int waiting = 0;
        for (unsigned left = block->hdr.bh1.num_pkts; left; left--) {
            uint8_t *frame = (uint8_t *)packet + packet->tp_mac;
            rewrite(frame);
            filled[waiting++] = (struct iovec){frame, packet->tp_snaplen};
            if (waiting == BATCH) {
                send_all(out, sent, waiting);
                waiting = 0;
            }
            packet = ring_next(packet);
        }
        send_all(out, sent, waiting);
        ring_release(ring, block);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: loop_packet each|mmsg|tpv3m IN OUT\n");
        return 2;
    }
    const char *method = argv[1];
    int in = packet_socket(), out = packet_socket();
    if (!strcmp(method, "tpv3m")) {
        struct ring ring = ring_open(in, 1 << 16, 64);
        bind_packet(in, argv[2], 1);
        set(out, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
        bind_packet(out, argv[3], 0);
        tpv3m(&ring, out);
    }
    if (!strcmp(method, "mmsg"))
        set(out, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
    bind_packet(in, argv[2], 1);
    bind_packet(out, argv[3], 0);
    if (!strcmp(method, "mmsg"))
        mmsg(in, out);
    each(in, out);
}
