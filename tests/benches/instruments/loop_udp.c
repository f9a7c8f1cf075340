// loop_udp METHOD PORT: the least that forwards tunnel packets with UDP sockets, from PORT of
// 10.1.0.2 to PORT of 10.2.0.2. Two octets are written, nothing is looked up.
//
//   mmsg    recvmmsg, sendmmsg
//   txgso   recvmmsg; runs of equal length leave in one call with UDP_SEGMENT
//   gso     UDP_GRO in, UDP_SEGMENT out; GRO wants complete checksums of the sender
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 64
#define LONGEST 65536

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void set(int socket, int level, int option, int value)
{
    if (setsockopt(socket, level, option, &value, sizeof value))
        fail("setsockopt");
}

static struct sockaddr_in address(const char *text, int port)
{
    struct sockaddr_in made = {.sin_family = AF_INET, .sin_port = htons(port)};
    made.sin_addr.s_addr = inet_addr(text);
    return made;
}

static int udp_socket(struct sockaddr_in own)
{
    int made = socket(AF_INET, SOCK_DGRAM, 0);
    set(made, SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20);
    set(made, SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20);
    if (bind(made, (void *)&own, sizeof own))
        fail("bind");
    return made;
}

static void rewrite(uint8_t *datagram)
{
    datagram[5] ^= 1;
    datagram[7] = 0;
}

// Makes `message` one that the kernel cuts into datagrams of `size` octets.
static void segment(struct msghdr *message, char *control, uint16_t size)
{
    struct cmsghdr *option = (void *)control;
    option->cmsg_level = SOL_UDP;
    option->cmsg_type = UDP_SEGMENT;
    option->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(option), &size, sizeof size);
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(sizeof size);
}

// What GRO made of several datagrams: the length of each; else of the whole.
static int piece(struct msghdr *message, int length)
{
    struct cmsghdr *option = CMSG_FIRSTHDR(message);
    for (; option; option = CMSG_NXTHDR(message, option)) {
        if (option->cmsg_level == SOL_UDP && option->cmsg_type == UDP_GRO)
            memcpy(&length, CMSG_DATA(option), sizeof length);
    }
    return length;
}

static void txgso(int out, struct iovec *filled, int count)
{
    static char control[CMSG_SPACE(sizeof(uint16_t))];
    for (int from = 0, to; from < count; from = to) {
        size_t length = filled[from].iov_len;
        for (to = from + 1; to < count; to++) {
            if (filled[to].iov_len != length || (to - from + 1) * length > 60000)
                break;
        }
        struct msghdr message = {.msg_iov = filled + from, .msg_iovlen = to - from};
        if (to - from > 1)
            segment(&message, control, length);
        sendmsg(out, &message, 0);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: loop_udp mmsg|txgso|gso PORT\n");
        return 2;
    }
    int is_gso = !strcmp(argv[1], "gso"), is_txgso = !strcmp(argv[1], "txgso");
    int port = atoi(argv[2]);
    int in = udp_socket(address("10.1.0.2", port)), out = udp_socket(address("10.2.0.1", 40000));
    struct sockaddr_in next = address("10.2.0.2", port);
    if (connect(out, (void *)&next, sizeof next))
        fail("connect");
    if (is_gso)
        set(in, SOL_UDP, UDP_GRO, 1);
    if (!is_gso && !is_txgso)
        set(out, SOL_SOCKET, SO_NO_CHECK, 1);

    static struct mmsghdr received[BATCH], sent[BATCH];
    static struct iovec room[BATCH], filled[BATCH];
    static char told[BATCH][64], control[BATCH][CMSG_SPACE(sizeof(uint16_t))];
    uint8_t *memory = malloc((size_t)BATCH * LONGEST);
    for (int i = 0; i < BATCH; i++) {
        room[i] = (struct iovec){memory + (size_t)i * LONGEST, LONGEST};
        filled[i].iov_base = room[i].iov_base;
        received[i].msg_hdr = (struct msghdr){.msg_iov = room + i, .msg_iovlen = 1};
        sent[i].msg_hdr = (struct msghdr){.msg_iov = filled + i, .msg_iovlen = 1};
    }
    for (;;) {
        for (int i = 0; is_gso && i < BATCH; i++) {
            received[i].msg_hdr.msg_control = told[i];
            received[i].msg_hdr.msg_controllen = sizeof told[i];
        }
        int count = recvmmsg(in, received, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) {
            int length = received[i].msg_len;
            int each = is_gso ? piece(&received[i].msg_hdr, length) : length;
            for (int at = 0; at < length; at += each)
                rewrite((uint8_t *)room[i].iov_base + at);
            filled[i].iov_len = length;
            sent[i].msg_hdr.msg_controllen = 0;
            if (each < length)
                segment(&sent[i].msg_hdr, control[i], each);
        }
        if (is_txgso) {
            txgso(out, filled, count);
            continue;
        }
        for (int done = 0; done < count;) {
            int taken = sendmmsg(out, sent + done, count - done, 0);
            done += taken > 0 ? taken : 1;
        }
    }
}
