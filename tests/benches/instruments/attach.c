// attach OBJECT PROGRAM INTERFACE [EGRESS PATHS FIRST]: attaches an XDP program of hop_bpf.c to an
// interface for as long as this runs. With EGRESS, frames are redirected there and PATHS service
// paths from FIRST on, at SI 255, lead to 02:00:00:00:00:0e.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int fail(const char *what)
{
    perror(what);
    return 1;
}

int main(int argc, char **argv)
{
    __u32 zero = 0;
    if (argc != 4 && argc != 7) {
        fprintf(stderr, "usage: attach OBJECT PROGRAM INTERFACE [EGRESS PATHS FIRST]\n");
        return 2;
    }
    struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
    if (!object || bpf_object__load(object))
        return fail(argv[1]);
    struct bpf_program *program = bpf_object__find_program_by_name(object, argv[2]);
    int interface = if_nametoindex(argv[3]);
    if (!program || !interface)
        return fail(program ? argv[3] : argv[2]);
    if (argc == 7) {
        int egress = bpf_object__find_map_fd_by_name(object, "egress");
        int steering = bpf_object__find_map_fd_by_name(object, "steering");
        __u32 to = if_nametoindex(argv[4]), first = strtoul(argv[6], NULL, 10);
        if (!to || bpf_map_update_elem(egress, &zero, &to, 0))
            return fail(argv[4]);
        for (__u32 spi = first; spi < first + strtoul(argv[5], NULL, 10); spi++) {
            __u32 key = htonl(spi << 8 | 255);
            __u64 mac = 0x0e0000000002; // as its octets lie on a little-endian machine
            if (bpf_map_update_elem(steering, &key, &mac, 0))
                return fail("steering");
        }
    }
    // Goes with this process.
    if (!bpf_program__attach_xdp(program, interface))
        return fail("attach");
    for (;;)
        pause();
}
