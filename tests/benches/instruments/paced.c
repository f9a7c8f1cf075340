// paced GENERATOR SINK PLAN RATE SECONDS PROBES OFFSET: sends RATE packets a second, evenly, out of
// gen0 in the network namespace GENERATOR (a file), and tells how long some of them took to snk0 in
// the namespace SINK. PROBES of them carry a mark and the time in their payload, which is OFFSET
// octets behind the beginning of a frame that arrives. When a probe arrived is the kernel's word,
// not ours: nobody waits for this program.
//
// SIGUSR1 ends it before its time. Prints `sent N nanoseconds N probes N arrived N`, then the times that probes took, in nanoseconds, a line each.
#define _GNU_SOURCE
#include "plan.h"
#include "ring.h"
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define MOST 64
#define MARK 0x6b63626eu

struct probe {
    __u32 mark, number;
    __u64 sent;
} __attribute__((packed));

static volatile sig_atomic_t is_over;

static void end_early(int signal)
{
    (void)signal;
    is_over = 1;
}

static __u64 clock_ns(clockid_t which)
{
    struct timespec time;
    clock_gettime(which, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void enter(const char *namespace)
{
    int file = open(namespace, O_RDONLY | O_CLOEXEC);
    if (file < 0 || setns(file, CLONE_NEWNET))
        fail(namespace);
    close(file);
}

// A socket that takes nothing but probes, with the time at which the kernel got them.
static int listen_for_probes(int offset)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MARK, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xffff),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    int made = packet_socket();
    set(made, SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20);
    set(made, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    if (setsockopt(made, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
        fail("filter");
    bind_packet(made, "snk0", 1);
    return made;
}

// Takes the probes that wait, at most a few; says how many.
static unsigned take(int socket, int offset, __u64 *took, unsigned room)
{
    static __u8 frame[4096];
    unsigned count = 0;
    for (; count < room && count < 4; count++) {
        char told[64];
        struct iovec part = {frame, sizeof frame};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = told, .msg_controllen = sizeof told};
        struct probe probe;
        struct timespec arrived = {0};
        ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT);
        if (length < (ssize_t)(offset + sizeof probe))
            break;
        memcpy(&probe, frame + offset, sizeof probe);
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
            if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS)
                memcpy(&arrived, CMSG_DATA(c), sizeof arrived);
        took[count] = arrived.tv_sec * 1000000000ull + arrived.tv_nsec - probe.sent;
    }
    return count;
}

int main(int argc, char **argv)
{
    static struct plan plan;
    static __u8 frames[MOST][LONGEST];
    static struct iovec parts[MOST];
    static struct mmsghdr messages[MOST];
    if (argc != 8) {
        fprintf(stderr, "usage: paced GENERATOR SINK PLAN RATE SECONDS PROBES OFFSET\n");
        return 2;
    }
    int length = read_plan(argv[3], &plan, frames[0]);
    double rate = atof(argv[4]), seconds = atof(argv[5]);
    unsigned probes = atoi(argv[6]), offset = atoi(argv[7]);
    __u64 total = rate * seconds, every = probes ? total / probes : 0;
    __u64 *took = calloc(probes + 1, sizeof *took);
    if (plan.checksum || total < 1) {
        fprintf(stderr, "paced: complete checksums and rates below one are not for it\n");
        return 2;
    }
    // Packets of ten microseconds go in one call.
    int burst = rate * 10e-6;
    burst = burst < 1 ? 1 : burst > MOST ? MOST : burst;
    for (int i = 0; i < MOST; i++) {
        memcpy(frames[i], frames[0], length);
        parts[i].iov_base = frames[i];
        messages[i].msg_hdr = (struct msghdr){.msg_iov = parts + i, .msg_iovlen = 1};
    }
    enter(argv[2]);
    int in = listen_for_probes(offset);
    enter(argv[1]);
    int out = packet_socket();
    set(out, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
    bind_packet(out, "gen0", 0);

    __u64 sent = 0, next_probe = every;
    unsigned number = 0, arrived = 0;
    __u64 first = clock_ns(CLOCK_MONOTONIC), began = first;
    signal(SIGUSR1, end_early);
    while (!is_over && sent < total && began - first < seconds * 1e9) {
        while (!is_over && clock_ns(CLOCK_MONOTONIC) - began < sent / rate * 1e9)
            arrived += take(in, offset, took + arrived, probes - arrived);
        for (int i = 0; i < burst; i++) {
            __u8 *payload = frames[i] + plan.inner_udp + 8;
            int cut = plan.size[size_of(&plan, plan.count)].cut;
            parts[i].iov_len = length - cut;
            vary(&plan, plan.count++, frames[i], frames[i] + length, 0);
            memset(payload, 0, sizeof(__u32));
        }
        if (probes && sent >= next_probe && number < probes) {
            struct probe probe = {htonl(MARK), number++, clock_ns(CLOCK_REALTIME)};
            memcpy(frames[0] + plan.inner_udp + 8, &probe, sizeof probe);
            next_probe += every;
        }
        send_all(out, messages, burst);
        sent += burst;
        // Behind by much: there is no use in catching up with a burst of thousands.
        if (clock_ns(CLOCK_MONOTONIC) - began > sent / rate * 1e9 + 1e6)
            began = clock_ns(CLOCK_MONOTONIC) - (__u64)(sent / rate * 1e9);
    }
    __u64 passed = clock_ns(CLOCK_MONOTONIC) - first, end = first + passed + 200000000;
    while (clock_ns(CLOCK_MONOTONIC) < end)
        arrived += take(in, offset, took + arrived, probes - arrived);
    printf("sent %llu nanoseconds %llu probes %u arrived %u\n", sent, passed, number, arrived);
    for (unsigned i = 0; i < arrived; i++)
        printf("%llu\n", took[i]);
    return 0;
}
