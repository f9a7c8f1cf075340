// flood INTERFACE PLAN SECONDS OBJECT: sends as fast as one core can, by live frames of a BPF
// program, and prints how many.
#define _GNU_SOURCE
#include "plan.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <sys/time.h>

static void over(int signal)
{
    (void)signal;
}

int main(int argc, char **argv)
{
    static struct plan plan;
    static __u8 frame[LONGEST];
    if (argc != 5) {
        fprintf(stderr, "usage: flood INTERFACE PLAN SECONDS OBJECT\n");
        return 2;
    }
    int length = read_plan(argv[2], &plan, frame);
    plan.ifindex = if_nametoindex(argv[1]);
    if (!plan.ifindex)
        die(argv[1]);
    double seconds = atof(argv[3]);

    struct bpf_object *object = bpf_object__open_file(argv[4], NULL);
    if (!object || bpf_object__load(object))
        die(argv[4]);
    int program = bpf_program__fd(bpf_object__find_program_by_name(object, "flood"));
    int map = bpf_object__find_map_fd_by_name(object, "plans");
    __u32 zero = 0;
    if (program < 0 || map < 0 || bpf_map_update_elem(map, &zero, &plan, 0))
        die("plans");

    // One call until the alarm: each call prepares pages anew.
    struct sigaction action = {.sa_handler = over};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {.it_value = {.tv_sec = (long)seconds,
                                           .tv_usec = (long)((seconds - (long)seconds) * 1e6)}};
    setitimer(ITIMER_REAL, &timer, NULL);
    struct xdp_md context = {.data_end = length};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = length,
                .ctx_in = &context, .ctx_size_in = sizeof context, .repeat = 1 << 30,
                .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = 64);
    if (bpf_prog_test_run_opts(program, &options) && errno != EINTR)
        die("BPF_PROG_TEST_RUN");
    if (bpf_map_lookup_elem(map, &zero, &plan))
        die("plans");
    printf("sent %u\n", plan.count);
    return 0;
}
