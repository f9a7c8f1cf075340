// Forwarding without leaving the kernel: each program takes one kind of frame by XDP, does its work
// and redirects it. `attach` fills the maps.
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_DEVMAP);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} egress SEC(".maps");

// SPI and SI, as they are on the wire, to the next hop's MAC address.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 131072);
    __type(key, __u32);
    __type(value, __u64);
} steering SEC(".maps");

static const __u8 own[6] = {2, 0, 0, 0, 0, 0x0c};
static const __u8 next[6] = {2, 0, 0, 0, 0, 0x0e};

static void address(__u8 *frame, const void *to)
{
    __builtin_memcpy(frame, to, 6);
    __builtin_memcpy(frame + 6, own, 6);
}

// Takes one off an NSH's TTL (RFC 8300 section 2.2: 0 counts as 64) and finds its next hop.
static void *steer(__u8 *nsh)
{
    __u32 key = *(__u32 *)(nsh + 4);
    __u16 word = bpf_ntohs(*(__u16 *)nsh), ttl = (word >> 6) & 63;
    ttl = (ttl - 1) & 63;
    if (!ttl)
        return 0;
    *(__u16 *)nsh = bpf_htons((word & ~(63 << 6)) | ttl << 6);
    return bpf_map_lookup_elem(&steering, &key);
}

// From 10.1.0.1 to 10.1.0.2 becomes from 10.2.0.1 to 10.2.0.2: two words, one of the sum.
static void readdress(__u8 *ip)
{
    *(__u32 *)(ip + 12) = bpf_htonl(0x0a020001);
    *(__u32 *)(ip + 16) = bpf_htonl(0x0a020002);
    *(__u16 *)(ip + 10) = 0;
    __u32 sum = 0;
#pragma unroll
    for (int at = 0; at < 20; at += 2)
        sum += *(__u16 *)(ip + at);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    *(__u16 *)(ip + 10) = ~sum;
}

SEC("xdp")
int port_hop(struct xdp_md *ctx)
{
    __u8 *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (frame + 14 > end)
        return XDP_DROP;
    address(frame, next);
    return bpf_redirect_map(&egress, 0, 0);
}

SEC("xdp")
int eth_hop(struct xdp_md *ctx)
{
    __u8 *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (frame + 22 > end || *(__u16 *)(frame + 12) != bpf_htons(0x894f))
        return XDP_PASS;
    void *to = steer(frame + 14);
    if (!to)
        return XDP_DROP;
    address(frame, to);
    return bpf_redirect_map(&egress, 0, 0);
}

SEC("xdp")
int gpe_hop(struct xdp_md *ctx)
{
    __u8 *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (frame + 58 > end || *(__u16 *)(frame + 12) != bpf_htons(0x0800) ||
        *(__u16 *)(frame + 36) != bpf_htons(4790))
        return XDP_PASS;
    void *to = steer(frame + 50);
    if (!to)
        return XDP_DROP;
    address(frame, to);
    readdress(frame + 14);
    *(__u16 *)(frame + 40) = 0;
    return bpf_redirect_map(&egress, 0, 0);
}

SEC("xdp")
int vxlan_hop(struct xdp_md *ctx)
{
    __u8 *frame = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (frame + 50 > end || *(__u16 *)(frame + 12) != bpf_htons(0x0800) ||
        *(__u16 *)(frame + 36) != bpf_htons(4789))
        return XDP_PASS;
    address(frame, next);
    readdress(frame + 14);
    *(__u16 *)(frame + 40) = 0;
    *(__u32 *)(frame + 46) = bpf_htonl(200 << 8);
    return bpf_redirect_map(&egress, 0, 0);
}

SEC("xdp")
int drop(struct xdp_md *ctx)
{
    return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
