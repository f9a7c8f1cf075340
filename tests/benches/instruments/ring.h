// Packet sockets and TPACKET_V3 rings of the bare loops.
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

static inline void fail(const char *what)
{
    perror(what);
    exit(1);
}

static inline void set(int socket, int level, int option, int value)
{
    if (setsockopt(socket, level, option, &value, sizeof value))
        fail("setsockopt");
}

static inline int packet_socket(void)
{
    int made = socket(AF_PACKET, SOCK_RAW, 0);
    if (made < 0)
        fail("packet socket");
    set(made, SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20);
    set(made, SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20);
    return made;
}

// Binds to an interface, for all it receives or for sending alone.
static inline void bind_packet(int socket, const char *interface, int receives)
{
    int index = if_nametoindex(interface);
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_ifindex = index,
                                  .sll_protocol = receives ? htons(ETH_P_ALL) : 0};
    if (!index)
        fail(interface);
    if (receives) {
        struct packet_mreq all = {.mr_ifindex = index, .mr_type = PACKET_MR_PROMISC};
        if (setsockopt(socket, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all))
            fail("promiscuous mode");
        set(socket, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    }
    if (bind(socket, (void *)&address, sizeof address))
        fail("bind");
}

// Sends all messages; one that the kernel refuses is lost.
static inline void send_all(int socket, struct mmsghdr *messages, int count)
{
    for (int done = 0; done < count;) {
        int sent = sendmmsg(socket, messages + done, count - done, 0);
        done += sent > 0 ? sent : 1;
    }
}

struct ring {
    int socket;
    uint8_t *memory;
    unsigned size, blocks, next;
};

static inline struct ring ring_open(int socket, unsigned size, unsigned blocks)
{
    struct tpacket_req3 wanted = {.tp_block_size = size,
                                  .tp_block_nr = blocks,
                                  .tp_frame_size = 2048,
                                  .tp_frame_nr = size / 2048 * blocks,
                                  .tp_retire_blk_tov = 1};
    set(socket, SOL_PACKET, PACKET_VERSION, TPACKET_V3);
    if (setsockopt(socket, SOL_PACKET, PACKET_RX_RING, &wanted, sizeof wanted))
        fail("PACKET_RX_RING");
    void *memory = mmap(NULL, (size_t)size * blocks, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_POPULATE, socket, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    return (struct ring){socket, memory, size, blocks, 0};
}

// The next block, once the kernel has filled it.
static inline struct tpacket_block_desc *ring_wait(struct ring *ring)
{
    struct tpacket_block_desc *block = (void *)(ring->memory + (size_t)ring->next * ring->size);
    while (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)) {
        struct pollfd wanted = {ring->socket, POLLIN, 0};
        poll(&wanted, 1, -1);
    }
    return block;
}

static inline void ring_release(struct ring *ring, struct tpacket_block_desc *block)
{
    __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    ring->next = (ring->next + 1) % ring->blocks;
}

static inline struct tpacket3_hdr *ring_first(struct tpacket_block_desc *block)
{
    return (void *)((uint8_t *)block + block->hdr.bh1.offset_to_first_pkt);
}

static inline struct tpacket3_hdr *ring_next(struct tpacket3_hdr *packet)
{
    return (void *)((uint8_t *)packet + packet->tp_next_offset);
}
