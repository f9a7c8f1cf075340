// What changes from packet to packet: flow, service path, size. Shared by the generator's BPF
// program and by the paced sender; the plan comes from tests/src/bench/frames.rs.
#pragma once
#include <linux/types.h>

struct size {
    __u16 cut; // octets that the frame is shorter than the longest
    __u16 outer_len, outer_ip_sum, outer_udp_len;
    __u16 inner_len, inner_ip_sum, inner_udp_len;
    __u16 udp_sum;
};

#define HEAD 96

struct plan {
    __u32 ifindex;
    __u32 flows, paths, first_path;
    __u16 outer_ip, outer_udp, nsh, inner_ip, inner_udp; // offsets; 0: there is none
    __u16 checksum;
    __u16 sizes;
    __u8 slots[16];
    struct size size[4];
    __u32 count; // packets made so far
    __u8 head[HEAD]; // how a frame begins
};

#define FIRST_INNER_PORT 10000
#define FIRST_OUTER_PORT 49152

static inline __u16 fold(__u32 sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (sum & 0xffff) + (sum >> 16);
}

// Writes a word, if it is inside the frame: the verifier wants to see that.
static inline void put(__u8 *data, const __u8 *end, __u32 at, __u16 word)
{
    __u8 *place = data + (at & 0xff);
    if (place + 2 <= end)
        *(__u16 *)place = __builtin_bswap16(word);
}

// Which size packet number n has.
static inline __u32 size_of(const struct plan *p, __u32 n)
{
    return p->sizes > 1 ? p->slots[(n * 2654435761u) >> 28] & 3 : 0;
}

// Undoes what whoever forwarded the frame before has done to it: live frames are used again, and by
// XDP they are forwarded in place.
static inline void renew(const struct plan *p, __u8 *data, const __u8 *end)
{
    if (data + HEAD <= end)
        __builtin_memcpy(data, p->head, HEAD);
    else if (data + HEAD / 2 <= end)
        __builtin_memcpy(data, p->head, HEAD / 2);
}

// Writes all that packet number n differs in, every field whole. `stamp` is the sum of what the
// caller has added to the payload.
static inline void vary(const struct plan *p, __u32 n, __u8 *data, const __u8 *end, __u32 stamp)
{
    const struct size *s = &p->size[size_of(p, n)];
    // Steps of a prime through flows and paths: no prefetcher sees the next table entry.
    __u32 flow = p->flows > 1 ? (n * 7919u) % p->flows : 0;
    __u32 path = p->paths > 1 ? (n * 7919u) % p->paths : 0;
    __u16 inner_port = FIRST_INNER_PORT + (flow & 0x3fff);
    __u16 outer_port = FIRST_OUTER_PORT + (flow & 0x3fff);
    __u16 address = flow >> 14;
    __u32 spi = p->first_path + path;

    if (p->sizes > 1) {
        put(data, end, p->inner_ip + 2, s->inner_len);
        put(data, end, p->inner_udp + 4, s->inner_udp_len);
        if (p->outer_ip) {
            put(data, end, p->outer_ip + 2, s->outer_len);
            put(data, end, p->outer_ip + 10, s->outer_ip_sum);
            put(data, end, p->outer_udp + 4, s->outer_udp_len);
        }
    }
    put(data, end, p->inner_ip + 10, ~fold(s->inner_ip_sum + address));
    put(data, end, p->inner_ip + 14, address);
    put(data, end, p->inner_udp, inner_port);
    if (p->nsh) {
        __u8 *low = data + ((p->nsh + 6) & 0xff);
        put(data, end, p->nsh + 4, spi >> 8);
        if (low + 1 <= end)
            *low = spi;
    }
    if (p->outer_udp) {
        put(data, end, p->outer_udp, outer_port);
        if (p->checksum) {
            __u32 sum = s->udp_sum + inner_port + outer_port + stamp;
            if (p->nsh)
                sum += (spi >> 8) + ((spi & 0xff) << 8);
            __u16 whole = ~fold(sum);
            put(data, end, p->outer_udp + 6, whole ? whole : 0xffff);
        }
    }
}
