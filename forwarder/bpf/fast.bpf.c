// The fast path: forwards packets of service paths between SFFs, and between an SFF and functions
// that know NSH, inside the kernel. It knows one kind of packet, in good health and at a hop that
// the tables name; everything else is left to the stack and so to user space (XDP_PASS), which
// does what is to be done, and counts it. It drops nothing. RFC 8300 section 2.
//
// Nothing of a packet is changed before all is decided. The tables are arrays that user space
// fills through a mapping of its own (forwarder/src/fast/layout.rs has the same layouts). Other
// tables come with another load of this program and other arrays: a packet sees one or the other.
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

enum { ETH_LEN = 14, TAG_LEN = 4, IP4_LEN = 20, IP6_LEN = 40, UDP_LEN = 8, GPE_LEN = 8 };
enum { ETH_IP4 = 0x0800, ETH_IP6 = 0x86dd, ETH_TAG = 0x8100, ETH_QINQ = 0x88a8, ETH_NSH = 0x894f };
enum { IS_TCP = 6, IS_UDP = 17, IS_ICMP6 = 58, IS_NONE = 59, IS_SCTP = 132 };
enum { NSH_IP4 = 1, NSH_IP6 = 2, NSH_ETH = 3, NSH_NSH = 4, NSH_MPLS = 5 };
enum { ECT_1 = 1, ECT_0 = 2, CE = 3, ECN = 3 };

// What an interface may bring.
// In the generic mode the kernel sends by itself, by any interface.
enum { DOOR_UNDERLAY = 1, DOOR_LAN = 2, DOOR_LEG = 4, DOOR_GENERIC = 8 };
// How a packet may leave: by redirection, also in fragments (of an XDP buffer), or back to where
// it came from.
enum { VIA_REDIRECT = 1, VIA_FRAGMENTS = 2, VIA_BACK = 4 };
// How a packet is wrapped.
enum { OUT_GPE4 = 1, OUT_GPE6 = 2, OUT_ETHERNET = 3 };

#define NOWHERE 0xffffffffu
// Slots looked at for one key; user space puts none further away.
#define PROBES 8
// Longest packet whose checksum is worth computing here.
#define LONGEST_SUM 10240
#define SUM_CHUNK 512

struct gate { u32 open, unused; };
// By service path header.
struct hop { u32 key, number, out, taken; };
// By remote VTEP (IPv4 as ::ffff:a.b.c.d) and VNI. The tunnel's number counts from one.
struct remote { u64 high, low; u32 vni, tunnel; u64 unused; };
// By interface. The port's number is the place of what has no tunnel among `ins`.
struct door { u32 ifindex; u16 flags, port; u32 in; u8 mac[6]; u16 unused[7]; };
// By port and tag, counted from one.
struct lan { u32 key, number; };
// By LAN and MAC address.
struct station { u64 key, in; };
struct out { u32 via; u8 kind, unused; u16 tag; u32 vni; u16 port, unused2; u8 address[16]; };
struct via { u8 to[6], from[6]; u32 ifindex, mtu, flags; };
struct count { u64 packets, bytes; };

#define ARRAY(value_type, name)                                                                    \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(max_entries, 1);                                                            \
		__uint(map_flags, BPF_F_MMAPABLE);                                                 \
		__type(key, u32);                                                                  \
		__type(value, struct value_type);                                                  \
	} name SEC(".maps")

ARRAY(gate, gates);
ARRAY(hop, hops);
ARRAY(remote, remotes);
ARRAY(door, doors);
ARRAY(lan, lans);
ARRAY(station, stations);
ARRAY(out, outs);
ARRAY(via, vias);
ARRAY(count, counts);

struct scratch { u8 octets[SUM_CHUNK + 4]; };
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

// Updating an array of arrays waits until no program runs that began before.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__type(key, u32);
		__type(value, u32);
	});
} barriers SEC(".maps");

// What does not change under one set of tables, written before the program is on any interface.
struct settings {
	// In halves, as the octets stand.
	u64 own_ipv6_high, own_ipv6_low;
	// Our sending sockets' ports, four in a word.
	u64 sources_ipv4_low, sources_ipv4_high, sources_ipv6_low, sources_ipv6_high;
	u32 hops_mask, hops_shift;
	u32 remotes_mask, remotes_shift;
	u32 doors_mask;
	u32 lans_mask, lans_shift;
	u32 stations_mask, stations_shift;
	// Counters of one CPU, and where those of what came in and went out begin among them.
	u32 counts_each, counts_in, counts_out;
	u32 has_ipv4, has_ipv6;
	u32 own_ipv4;
	u32 gpe_port;
	u32 underlay_mtu;
	u32 ttl_ipv4, ttl_ipv6;
	u32 unused;
};
struct settings settings;

#define LOOK(map, index)                                                                           \
	({                                                                                         \
		u32 index_ = (index);                                                              \
		bpf_map_lookup_elem(&map, &index_);                                                \
	})

static __always_inline u16 fold(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

// Fibonacci hashing.
static __always_inline u32 spread(u32 key, u32 shift)
{
	return (key * 0x9e3779b9u) >> shift;
}

static __always_inline u32 spread64(u64 key, u32 shift)
{
	return (key * 0x9e3779b97f4a7c15ull) >> shift;
}

// Functions that are not inlined are verified by themselves, once.

// Where a key's record is, or NOWHERE.

static __always_inline u32 hop_at(u32 key)
{
	u32 home = spread(key, settings.hops_shift);
	for (int i = 0; i < PROBES; i++) {
		u32 place = (home + i) & settings.hops_mask;
		struct hop *hop = LOOK(hops, place);
		if (!hop || !hop->taken)
			break;
		if (hop->key == key)
			return place;
	}
	return NOWHERE;
}

static __always_inline u32 remote_at(u64 high, u64 low, u32 vni)
{
	u32 home = spread64(high ^ (low << 1) ^ low ^ ((u64)vni << 20), settings.remotes_shift);
	for (int i = 0; i < PROBES; i++) {
		u32 place = (home + i) & settings.remotes_mask;
		struct remote *remote = LOOK(remotes, place);
		if (!remote || !remote->tunnel)
			break;
		if (remote->low == low && remote->high == high && remote->vni == vni)
			return place;
	}
	return NOWHERE;
}

static __always_inline u32 door_at(u32 ifindex)
{
	for (int i = 0; i < PROBES; i++) {
		u32 place = (ifindex + i) & settings.doors_mask;
		struct door *door = LOOK(doors, place);
		if (!door || !door->ifindex)
			break;
		if (door->ifindex == ifindex)
			return place;
	}
	return NOWHERE;
}

// The number of a LAN, zero if there is none.
static __always_inline u32 lan_number(u32 port, u32 tag)
{
	u32 key = (port << 16 | tag) + 1;
	u32 home = spread(key, settings.lans_shift);
	for (int i = 0; i < PROBES; i++) {
		struct lan *lan = LOOK(lans, (home + i) & settings.lans_mask);
		if (!lan || !lan->key)
			break;
		if (lan->key == key)
			return lan->number;
	}
	return 0;
}

// Where to count what a station of a LAN sends.
static __always_inline u32 station_in(u64 key, u32 unknown)
{
	u32 home = spread64(key, settings.stations_shift);
	for (int i = 0; i < PROBES; i++) {
		struct station *station = LOOK(stations, (home + i) & settings.stations_mask);
		if (!station || !station->key)
			break;
		if (station->key == key)
			return station->in;
	}
	return unknown;
}

// What is known of a packet once it may go on.
struct packet {
	// Octets, where its NSH begins, the octets from there on, and those of the NSH.
	u32 total, nsh, length, nsh_len;
	// What the interface may bring, the port it is, and where what it brings is counted.
	u32 flags, port;
	// Where to count that it came in, and the octets to count.
	u32 in, in_bytes;
	// Traffic class: the outer one, later that of the packet that is carried.
	u32 class;
	// Of the source port that it was sent from.
	u32 entropy;
	// Where the carried IP packet begins, its version, and something of its flow.
	u32 ip, is_ip;
	u64 flow;
	// Sum of all from the NSH on, where it had to be computed; -1 otherwise.
	long sum;
};

static __always_inline void count(u32 cpu, u32 place, u64 bytes)
{
	struct count *count = LOOK(counts, cpu * settings.counts_each + place);
	if (count) {
		count->packets++;
		count->bytes += bytes;
	}
}

// Whether the context headers of MD type 2 from `at` on end at `end`. RFC 8300 section 2.5.1.
__noinline int contexts_end(struct xdp_md *ctx, u32 at, u32 end)
{
	u8 *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	at &= 0xff;
	end &= 0x1ff;
	for (int i = 0; i < 61 && at < end; i++) {
		u8 *context = data + (at & 0x3ff);
		if (context + 4 > data_end)
			return 0;
		at += 4 + (((context[3] & 0x7f) + 3) & ~3);
	}
	return at == end;
}

// Internet sum over `length` octets from `at` on, not folded; -1 when it cannot be had.
__noinline long sum_of(struct xdp_md *ctx, u32 at, u32 length)
{
	struct scratch *scratch = LOOK(scratches, 0);
	long sum = 0;
	if (!scratch || length > LONGEST_SUM)
		return -1;
	for (int i = 0; i < LONGEST_SUM / SUM_CHUNK && length > 0; i++) {
		u32 chunk = length < SUM_CHUNK ? length : SUM_CHUNK;
		if (chunk == 0 || chunk > SUM_CHUNK)
			break;
		if (bpf_xdp_load_bytes(ctx, at, scratch->octets, chunk))
			return -1;
		u32 whole = (chunk + 3) & ~3;
		if (chunk & 3) {
			// Reading whole words: octets behind the last one are zeroes.
			scratch->octets[chunk] = 0;
			scratch->octets[chunk + 1] = 0;
			scratch->octets[chunk + 2] = 0;
		}
		long part = bpf_csum_diff(0, 0, (void *)scratch->octets, whole & 0x3fc, 0);
		if (part < 0)
			return -1;
		sum += part;
		at += chunk;
		length -= chunk;
	}
	return sum;
}

// Reads the underlay's IPv4 and UDP. Whether the packet is NSH from a tunnel of ours.
static __always_inline int enter_ipv4(struct xdp_md *ctx, struct packet *p)
{
	if (!p)
		return 0;
	u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u8 *ip = data + ETH_LEN, *udp = ip + IP4_LEN, *gpe = udp + UDP_LEN;
	if (!settings.has_ipv4 || gpe + GPE_LEN > end)
		return 0;
	u32 *words = (u32 *)ip;
	// No options, no fragment, no padding, to our VTEP, its header undamaged.
	if (ip[0] != 0x45 || ip[9] != IS_UDP || words[4] != settings.own_ipv4)
		return 0;
	if (words[1] & bpf_htonl(0x3fff))
		return 0;
	u32 length = bpf_ntohs(*(u16 *)(ip + 2));
	u64 sum = (u64)words[0] + words[1] + words[2] + words[3] + words[4];
	if (length != p->total - ETH_LEN || fold(sum) != 0xffff)
		return 0;
	if (*(u16 *)(udp + 2) != settings.gpe_port || bpf_ntohs(*(u16 *)(udp + 4)) != length - IP4_LEN)
		return 0;
	if (length < IP4_LEN + UDP_LEN + GPE_LEN)
		return 0;
	// Version 0, I and P, no O, NSH.
	if ((gpe[0] & 0x3d) != 0x0c || gpe[3] != 4)
		return 0;
	u64 low = (u64)words[3] << 32 | bpf_htonl(0xffff);
	struct remote *remote = LOOK(remotes, remote_at(0, low, bpf_ntohl(*(u32 *)(gpe + 4)) >> 8));
	if (!remote)
		return 0;
	p->in = remote->tunnel - 1;
	p->in_bytes = length - IP4_LEN - UDP_LEN;
	p->class = ip[1];
	p->entropy = udp[1];
	p->nsh = ETH_LEN + IP4_LEN + UDP_LEN + GPE_LEN;
	return 1;
}

__noinline int enter_ipv6(struct xdp_md *ctx, struct packet *p)
{
	if (!p)
		return 0;
	u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u8 *ip = data + ETH_LEN, *udp = ip + IP6_LEN, *gpe = udp + UDP_LEN;
	if (!settings.has_ipv6 || gpe + GPE_LEN > end)
		return 0;
	u64 *words = (u64 *)(ip + 8);
	if (ip[0] >> 4 != 6 || ip[6] != IS_UDP || words[2] != settings.own_ipv6_high || words[3] != settings.own_ipv6_low)
		return 0;
	u32 length = bpf_ntohs(*(u16 *)(ip + 4));
	if (length != p->total - ETH_LEN - IP6_LEN || *(u16 *)(udp + 2) != settings.gpe_port)
		return 0;
	if (length < UDP_LEN + GPE_LEN || bpf_ntohs(*(u16 *)(udp + 4)) != length)
		return 0;
	if ((gpe[0] & 0x3d) != 0x0c || gpe[3] != 4)
		return 0;
	u32 vni = bpf_ntohl(*(u32 *)(gpe + 4)) >> 8;
	struct remote *remote = LOOK(remotes, remote_at(words[0], words[1], vni));
	if (!remote)
		return 0;
	p->in = remote->tunnel - 1;
	p->in_bytes = length - UDP_LEN;
	p->class = (ip[0] << 4 | ip[1] >> 4) & 0xff;
	p->entropy = udp[1];
	p->nsh = ETH_LEN + IP6_LEN + UDP_LEN + GPE_LEN;
	// Sum of pseudo-header, UDP and VXLAN-GPE; zero means that the sender left it out (RFC 6935).
	u32 *headers = (u32 *)udp;
	u64 sum = fold(words[0]) + fold(words[1]) + fold(words[2]) + fold(words[3]);
	sum += bpf_htons(length) + bpf_htons(IS_UDP);
	sum += (u64)headers[0] + headers[1] + headers[2] + headers[3];
	if (*(u16 *)(udp + 6)) {
		// RFC 8200 section 8.1 has a node check it.
		p->sum = sum_of(ctx, p->nsh, length - UDP_LEN - GPE_LEN);
		if (p->sum < 0 || fold(sum + p->sum) != 0xffff)
			return 0;
	}
	return 1;
}

// Reads Ethernet that carries NSH, with `tag_len` octets of tag. Whether it is a LAN's or a leg's.
static __always_inline int enter_ethernet(struct xdp_md *ctx, u32 tag_len, struct packet *p)
{
	if (!p)
		return 0;
	u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (data + ETH_LEN + TAG_LEN > end)
		return 0;
	u32 tag = tag_len ? bpf_ntohs(*(u16 *)(data + ETH_LEN)) & 0xfff : 0;
	p->in_bytes = p->total - tag_len;
	p->nsh = ETH_LEN + tag_len;
	if (p->flags & DOOR_LEG)
		return tag_len == 0;
	if (!(p->flags & DOOR_LAN))
		return 0;
	u64 lan = lan_number(p->port, tag);
	if (!lan)
		return 0;
	u64 mac = (u64)bpf_ntohs(*(u16 *)(data + 6)) << 32 | bpf_ntohl(*(u32 *)(data + 8));
	p->in = station_in(lan << 48 | mac, p->in);
	return 1;
}

static __always_inline u16 source(u64 low, u64 high, u32 entropy)
{
	u64 four = entropy & 4 ? high : low;
	return four >> ((entropy & 3) * 16);
}

// Looks at what an NSH carries. Whether the kernel may forward it.
static __always_inline int look_inside(struct xdp_md *ctx, struct packet *p)
{
	u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (!p)
		return 0;
	u8 *nsh = data + (p->nsh & 0x7f), *inner = nsh + (p->nsh_len & 0xfc), *ip = inner;
	u16 network = 0;
	if (nsh + 4 > end || inner + ETH_LEN > end)
		return 0;
	u8 next = nsh[3];
	p->class = 0;
	switch (next) {
	case NSH_IP4:
		network = bpf_htons(ETH_IP4);
		break;
	case NSH_IP6:
		network = bpf_htons(ETH_IP6);
		break;
	case NSH_ETH:
		network = *(u16 *)(inner + 12);
		ip = inner + ETH_LEN;
		// Two tags at most; a third is payload.
		for (int i = 0; i < 2; i++) {
			if (network != bpf_htons(ETH_TAG) && network != bpf_htons(ETH_QINQ))
				break;
			if (ip + TAG_LEN > end)
				return 0;
			network = *(u16 *)(ip + 2);
			ip += TAG_LEN;
		}
		break;
	case NSH_NSH:
	case NSH_MPLS:
		return 1;
	default:
		return 0;
	}

	u32 room = p->total - (ip - data), protocol, length;
	u8 *transport;
	u64 pseudo = 0;
	if (network == bpf_htons(ETH_IP4)) {
		if (ip + IP4_LEN > end)
			return 0;
		u32 *words = (u32 *)ip;
		u32 header = (ip[0] & 0x0f) * 4, whole = bpf_ntohs(*(u16 *)(ip + 2));
		if (ip[0] >> 4 != 4 || header < IP4_LEN || whole < header || whole > room)
			return 0;
		// Fragments follow the first one of their datagram, which user space knows.
		if (words[1] & bpf_htonl(0x3fff))
			return 0;
		p->is_ip = 4;
		p->class = ip[1];
		protocol = ip[9];
		transport = ip + header;
		length = whole - header;
		pseudo = (u64)words[3] + words[4];
	} else if (network == bpf_htons(ETH_IP6)) {
		if (ip + IP6_LEN > end)
			return 0;
		u32 *words = (u32 *)ip;
		length = bpf_ntohs(*(u16 *)(ip + 4));
		if (ip[0] >> 4 != 6 || length + IP6_LEN > room)
			return 0;
		p->is_ip = 6;
		p->class = (ip[0] << 4 | ip[1] >> 4) & 0xff;
		protocol = ip[6];
		transport = ip + IP6_LEN;
		for (int i = 2; i < 10; i++)
			pseudo += words[i];
		// What may be an extension header is for user space to walk.
		if (protocol != IS_TCP && protocol != IS_UDP && protocol != IS_ICMP6 &&
		    protocol != IS_SCTP && protocol != IS_NONE)
			return 0;
	} else {
		return 1;
	}
	p->ip = ip - data;
	p->flow = pseudo;
	u32 header = protocol == IS_TCP ? 20 : 8, at = protocol == IS_TCP ? 16 : 6;
	if ((protocol != IS_TCP && protocol != IS_UDP) || length < header)
		return 1;
	if (transport + header > end)
		return 0;
	p->flow += *(u16 *)transport + *(u16 *)(transport + 2);
	// A checksum that was left open holds the sum of its pseudo-header: user space finishes it.
	pseudo += bpf_htons(protocol) + bpf_htons(length);
	return next != NSH_ETH || *(u16 *)(transport + at) != fold(pseudo);
}

// The inner ECN field after the tunnel, by the table of RFC 6040 section 4.2; -1 where the packet
// has to be dropped.
static __always_inline int ecn_after(u32 outer, u32 inner)
{
	if (outer == CE && inner == 0)
		return -1;
	if (outer == CE || (outer == ECT_1 && inner == ECT_0))
		return outer;
	return inner;
}

SEC("xdp.frags")
int fast(struct xdp_md *ctx)
{
	u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct gate *gate = LOOK(gates, 0);
	if (!gate || !*(volatile u32 *)&gate->open)
		return XDP_PASS;
	struct door *door = LOOK(doors, door_at(ctx->ingress_ifindex));
	if (!door || data + ETH_LEN + TAG_LEN > end)
		return XDP_PASS;
	// Not for us: interfaces may be promiscuous.
	if (*(u32 *)data != *(u32 *)door->mac || *(u16 *)(data + 4) != *(u16 *)(door->mac + 4))
		return XDP_PASS;

	struct packet p = {
		.total = bpf_xdp_get_buff_len(ctx),
		.flags = door->flags,
		.port = door->port,
		.in = door->in,
		.sum = -1,
	};
	int entered = 0;
	switch (bpf_ntohs(*(u16 *)(data + 12))) {
	case ETH_IP4:
		entered = door->flags & DOOR_UNDERLAY && enter_ipv4(ctx, &p);
		break;
	case ETH_IP6:
		entered = door->flags & DOOR_UNDERLAY && enter_ipv6(ctx, &p);
		break;
	case ETH_NSH:
		entered = enter_ethernet(ctx, 0, &p);
		break;
	case ETH_TAG:
		if (*(u16 *)(data + ETH_LEN + 2) == bpf_htons(ETH_NSH))
			entered = enter_ethernet(ctx, TAG_LEN, &p);
		break;
	}
	if (!entered)
		return XDP_PASS;

	u8 *nsh = data + (p.nsh & 0x7f);
	if (nsh + 8 > end || p.total < p.nsh)
		return XDP_PASS;
	p.length = p.total - p.nsh;
	p.nsh_len = (nsh[1] & 0x3f) * 4;
	// Version 0, no OAM.
	if (nsh[0] & 0xe0)
		return XDP_PASS;
	u32 type = nsh[2] & 0x0f;
	if (type == 1 ? p.nsh_len != 24 : type != 2 || p.nsh_len < 8)
		return XDP_PASS;
	if (type == 2 && p.nsh_len > 8 && !contexts_end(ctx, p.nsh + 8, p.nsh + p.nsh_len))
		return XDP_PASS;
	u16 old_word = *(u16 *)nsh;
	u32 word = bpf_ntohs(old_word);
	// RFC 8300 section 2.2: "Decrementing by 1 from an incoming value of 0 shall result in a TTL
	// value of 63. The packet MUST NOT be forwarded if TTL is, after decrement, 0."
	u32 ttl = ((word >> 6) - 1) & 63;
	if (ttl == 0)
		return XDP_PASS;
	u16 new_word = bpf_htons((word & ~(63 << 6)) | ttl << 6);

	struct hop *hop = LOOK(hops, hop_at(bpf_ntohl(*(u32 *)(nsh + 4))));
	if (!hop)
		return XDP_PASS;
	struct out *out = LOOK(outs, hop->out);
	if (!out)
		return XDP_PASS;
	// It may become another one at any time.
	struct via *via = LOOK(vias, *(volatile u32 *)&out->via);
	if (!via || !via->ifindex)
		return XDP_PASS;

	u32 outer_ecn = p.class & ECN, sent_by = p.entropy;
	if (!look_inside(ctx, &p))
		return XDP_PASS;
	u32 ecn = p.class & ECN;
	if (p.is_ip) {
		int after = ecn_after(outer_ecn, ecn);
		if (after < 0)
			return XDP_PASS;
		ecn = after;
	}
	if (!(door->flags & DOOR_UNDERLAY))
		sent_by = (u32)fold(p.flow) * 0x9e3779b1u >> 24;

	u32 headers, out_bytes;
	switch (out->kind) {
	case OUT_GPE4:
		headers = ETH_LEN + IP4_LEN + UDP_LEN + GPE_LEN;
		out_bytes = GPE_LEN + p.length;
		if (headers - ETH_LEN + p.length > settings.underlay_mtu || headers - ETH_LEN + p.length > via->mtu)
			return XDP_PASS;
		break;
	case OUT_GPE6:
		headers = ETH_LEN + IP6_LEN + UDP_LEN + GPE_LEN;
		out_bytes = GPE_LEN + p.length;
		if (headers - ETH_LEN + p.length > settings.underlay_mtu || headers - ETH_LEN + p.length > via->mtu)
			return XDP_PASS;
		if (p.sum < 0)
			p.sum = sum_of(ctx, p.nsh, p.length);
		if (p.sum < 0)
			return XDP_PASS;
		break;
	case OUT_ETHERNET:
		headers = ETH_LEN + (out->tag ? TAG_LEN : 0);
		out_bytes = headers + p.length;
		// A tag is no part of it: IEEE 802.3 has a tagged frame be longer.
		if (p.length > via->mtu)
			return XDP_PASS;
		break;
	default:
		return XDP_PASS;
	}
	u32 ways = door->flags & DOOR_GENERIC ? VIA_REDIRECT | VIA_FRAGMENTS : via->flags;
	int back = via->ifindex == ctx->ingress_ifindex && ways & VIA_BACK;
	if (!back && !(ways & VIA_REDIRECT))
		return XDP_PASS;
	if (p.total > end - data && !(ways & VIA_FRAGMENTS))
		return XDP_PASS;

	// All is decided; what follows does not fail but for want of headroom, and that first.
	if (headers != p.nsh && bpf_xdp_adjust_head(ctx, (int)p.nsh - (int)headers))
		return XDP_PASS;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	nsh = data + (headers & 0x7f);
	if (nsh + 8 > end)
		return XDP_ABORTED;
	*(u16 *)nsh = new_word;
	if (p.sum >= 0)
		p.sum += (u16)~old_word + (u32)new_word;

	if (ecn != (p.class & ECN)) {
		u8 *ip = data + ((p.ip - p.nsh + headers) & 0x1ff);
		if (ip + IP4_LEN > end)
			return XDP_ABORTED;
		u16 old = *(u16 *)ip;
		if (p.is_ip == 4) {
			ip[1] = (p.class & ~ECN) | ecn;
			// RFC 1624: the sum of all that is covered stays what it was.
			*(u16 *)(ip + 10) = ~fold((u16)~*(u16 *)(ip + 10) + (u16)~old + (u32)*(u16 *)ip);
		} else {
			ip[1] = (ip[1] & ~(ECN << 4)) | ecn << 4;
			if (p.sum >= 0)
				p.sum += (u16)~old + (u32)*(u16 *)ip;
		}
		p.class = (p.class & ~ECN) | ecn;
	}

	u32 *macs = (u32 *)via, *frame = (u32 *)data;
	frame[0] = macs[0];
	frame[1] = macs[1];
	frame[2] = macs[2];
	switch (out->kind) {
	case OUT_GPE4: {
		u32 *words = (u32 *)(data + ETH_LEN);
		u32 length = IP4_LEN + UDP_LEN + GPE_LEN + p.length;
		if ((u8 *)(words + 9) > end)
			return XDP_ABORTED;
		*(u16 *)(data + 12) = bpf_htons(ETH_IP4);
		words[0] = bpf_htonl(0x45000000 | p.class << 16 | length);
		// RFC 7348 section 4.3: "VTEPs MUST NOT fragment VXLAN packets."
		words[1] = bpf_htonl(0x4000);
		words[2] = bpf_htonl(settings.ttl_ipv4 << 24 | IS_UDP << 16);
		words[3] = settings.own_ipv4;
		words[4] = *(u32 *)out->address;
		u64 sum = (u64)words[0] + words[1] + words[2] + words[3] + words[4];
		*(u16 *)(data + ETH_LEN + 10) = ~fold(sum);
		*(u16 *)(words + 5) = source(settings.sources_ipv4_low, settings.sources_ipv4_high, sent_by);
		*((u16 *)(words + 5) + 1) = out->port;
		// RFC 7348 section 5: "UDP Checksum: It SHOULD be transmitted as zero."
		words[6] = bpf_htonl((length - IP4_LEN) << 16);
		words[7] = bpf_htonl(0x0c000004);
		words[8] = out->vni;
		break;
	}
	case OUT_GPE6: {
		u32 *words = (u32 *)(data + ETH_LEN);
		u32 length = UDP_LEN + GPE_LEN + p.length;
		u64 *to = (u64 *)out->address;
		if ((u8 *)(words + 14) > end)
			return XDP_ABORTED;
		u16 from = source(settings.sources_ipv6_low, settings.sources_ipv6_high, sent_by);
		u32 label = from * 0x9e3779b1u >> 12;
		*(u16 *)(data + 12) = bpf_htons(ETH_IP6);
		words[0] = bpf_htonl(6u << 28 | p.class << 20 | label);
		words[1] = bpf_htonl(length << 16 | IS_UDP << 8 | settings.ttl_ipv6);
		*(u64 *)(words + 2) = settings.own_ipv6_high;
		*(u64 *)(words + 4) = settings.own_ipv6_low;
		*(u64 *)(words + 6) = to[0];
		*(u64 *)(words + 8) = to[1];
		*(u16 *)(words + 10) = from;
		*((u16 *)(words + 10) + 1) = out->port;
		words[11] = bpf_htonl(length << 16);
		words[12] = bpf_htonl(0x0c000004);
		words[13] = out->vni;
		u64 sum = bpf_htons(length) + bpf_htons(IS_UDP);
		for (int i = 2; i < 14; i++)
			sum += words[i];
		u16 folded = ~fold(sum + fold(p.sum));
		*((u16 *)(words + 11) + 1) = folded ? folded : 0xffff;
		break;
	}
	default:
		if (out->tag) {
			if (data + ETH_LEN + TAG_LEN > end)
				return XDP_ABORTED;
			*(u16 *)(data + 12) = bpf_htons(ETH_TAG);
			*(u16 *)(data + 14) = bpf_htons(out->tag);
			*(u16 *)(data + 16) = bpf_htons(ETH_NSH);
		} else {
			*(u16 *)(data + 12) = bpf_htons(ETH_NSH);
		}
	}

	u32 cpu = bpf_get_smp_processor_id();
	count(cpu, hop->number, p.length - p.nsh_len);
	count(cpu, settings.counts_in + p.in, p.in_bytes);
	count(cpu, settings.counts_out + hop->out, out_bytes);
	return back ? XDP_TX : bpf_redirect(via->ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
