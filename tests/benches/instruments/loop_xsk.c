// loop_xsk IN OUT: the least that forwards between two interfaces with AF_XDP in copy mode: one
// memory for both sockets, so a frame is written where it was received and sent from there. MAC
// addresses and one octet are written, nothing is looked up.
#define _GNU_SOURCE
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <xdp/xsk.h>

#define FRAMES 8192
#define FRAME 2048
#define RING 4096
#define BATCH 64

#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9 // since Linux 6.17
#endif

static struct xsk_ring_prod fill, no_fill, send_ring;
static struct xsk_ring_cons receive_ring, no_completion, completion;

static void check(int result, const char *what)
{
    if (result) {
        fprintf(stderr, "%s: %s\n", what, strerror(-result));
        exit(1);
    }
}

static void rewrite(unsigned char *frame)
{
    static const unsigned char macs[12] = {2, 0, 0, 0, 0, 0x0e, 2, 0, 0, 0, 0, 0x0c};
    memcpy(frame, macs, sizeof macs);
    frame[22]--;
}

// Gives frames that have been sent back for receiving; says how many.
static unsigned recycle(void)
{
    __u32 from, to;
    unsigned count = xsk_ring_cons__peek(&completion, 256, &from);
    if (!count)
        return 0;
    while (xsk_ring_prod__reserve(&fill, count, &to) != count)
        ;
    for (unsigned i = 0; i < count; i++)
        *xsk_ring_prod__fill_addr(&fill, to + i) =
            *xsk_ring_cons__comp_addr(&completion, from + i) & ~(__u64)(FRAME - 1);
    xsk_ring_prod__submit(&fill, count);
    xsk_ring_cons__release(&completion, count);
    return count;
}

int main(int argc, char **argv)
{
    struct xsk_umem *memory;
    struct xsk_socket *in, *out;
    __u32 place = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: loop_xsk IN OUT\n");
        return 2;
    }
    void *frames = mmap(NULL, (size_t)FRAMES * FRAME, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    struct xsk_umem_config shape = {
        .fill_size = RING, .comp_size = RING, .frame_size = FRAME, .frame_headroom = 128};
    check(xsk_umem__create(&memory, frames, (__u64)FRAMES * FRAME, &fill, &no_completion, &shape),
          "memory");
    struct xsk_socket_config receiving = {.rx_size = RING,
                                          .xdp_flags = XDP_FLAGS_DRV_MODE,
                                          .bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP};
    check(xsk_socket__create_shared(&in, argv[1], 0, memory, &receive_ring, NULL, &fill,
                                    &no_completion, &receiving),
          argv[1]);
    struct xsk_socket_config sending = {.tx_size = RING,
                                        .libbpf_flags = XSK_LIBBPF_FLAGS__INHIBIT_PROG_LOAD,
                                        .bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP};
    check(xsk_socket__create_shared(&out, argv[2], 0, memory, NULL, &send_ring, &no_fill,
                                    &completion, &sending),
          argv[2]);
    int budget = 1024, wake = xsk_socket__fd(out);
    // Where it is not known, a call sends 32.
    setsockopt(wake, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof budget);
    xsk_ring_prod__reserve(&fill, RING, &place);
    for (unsigned i = 0; i < RING; i++)
        *xsk_ring_prod__fill_addr(&fill, place + i) = (__u64)i * FRAME;
    xsk_ring_prod__submit(&fill, RING);

    for (unsigned under_way = 0;;) {
        __u32 from, to;
        unsigned count = xsk_ring_cons__peek(&receive_ring, BATCH, &from);
        if (count) {
            while (xsk_ring_prod__reserve(&send_ring, count, &to) != count) {
                sendto(wake, NULL, 0, MSG_DONTWAIT, NULL, 0);
                under_way -= recycle();
            }
            for (unsigned i = 0; i < count; i++) {
                const struct xdp_desc *received = xsk_ring_cons__rx_desc(&receive_ring, from + i);
                rewrite(xsk_umem__get_data(frames, received->addr));
                *xsk_ring_prod__tx_desc(&send_ring, to + i) =
                    (struct xdp_desc){.addr = received->addr, .len = received->len};
            }
            xsk_ring_prod__submit(&send_ring, count);
            xsk_ring_cons__release(&receive_ring, count);
            under_way += count;
        }
        if (under_way) {
            if (xsk_ring_prod__needs_wakeup(&send_ring))
                sendto(wake, NULL, 0, MSG_DONTWAIT, NULL, 0);
            under_way -= recycle();
        }
        if (!count) {
            struct pollfd wanted = {xsk_socket__fd(in), POLLIN, 0};
            poll(&wanted, 1, under_way ? 0 : -1);
        }
    }
}
