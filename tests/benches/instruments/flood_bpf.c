// The generator's program, run on live frames (BPF_PROG_TEST_RUN): makes a packet of the plan and
// redirects it out of the generator's interface.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "vary.h"

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct plan);
} plans SEC(".maps");

SEC("xdp")
int flood(struct xdp_md *ctx)
{
    __u32 zero = 0;
    struct plan *p = bpf_map_lookup_elem(&plans, &zero);
    if (!p)
        return XDP_ABORTED;
    __u32 n = p->count++;
    __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    renew(p, data, end);
    vary(p, n, data, end, 0);
    if (p->sizes > 1) {
        int cut = p->size[size_of(p, n)].cut;
        if (cut && bpf_xdp_adjust_tail(ctx, -cut))
            return XDP_ABORTED;
    }
    return bpf_redirect(p->ifindex, 0);
}

char _license[] SEC("license") = "GPL";
