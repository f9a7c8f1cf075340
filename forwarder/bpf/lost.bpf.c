// What the kernel lost of packets that the fast path redirected, because an interface had no room
// or was not ready. The kernel tells of it at tracepoints only, and of all interfaces of all network
// namespaces. User space takes it back from its counters.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

typedef __u32 u32;
typedef __u64 u64;

// Of the kernel's structures, what is read; where it is, the loader finds out.
struct ns_common { unsigned int inum; } __attribute__((preserve_access_index));
struct net { struct ns_common ns; } __attribute__((preserve_access_index));
typedef struct { struct net *net; } possible_net_t;
struct net_device {
	int ifindex;
	possible_net_t nd_net;
} __attribute__((preserve_access_index));

// Interfaces that the fast path is on: a power of two of slots, which `mask` holds the places of.
#define SLOTS 1024
#define PROBES 8
struct interface { u32 ifindex, unused; u64 lost; };
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct interface);
} interfaces SEC(".maps");

struct space { u64 number; };
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, u32);
	__type(value, struct space);
} namespaces SEC(".maps");

static __always_inline struct interface *find(u32 ifindex)
{
	for (int i = 0; i < PROBES; i++) {
		u32 place = (ifindex + i) & (SLOTS - 1);
		struct interface *interface = bpf_map_lookup_elem(&interfaces, &place);
		if (!interface || !interface->ifindex)
			return 0;
		if (interface->ifindex == ifindex)
			return interface;
	}
	return 0;
}

// `packets` that came in by `from` are lost on their way out.
static __always_inline int lose(const struct net_device *from, const struct net_device *to, int packets)
{
	u32 zero = 0;
	struct space *space = bpf_map_lookup_elem(&namespaces, &zero);
	if (packets <= 0 || !space || from->nd_net.net->ns.inum != space->number)
		return 0;
	struct interface *out = find(to->ifindex);
	if (find(from->ifindex) && out)
		__sync_fetch_and_add(&out->lost, packets);
	return 0;
}

// from, to, sent, drops, err
SEC("tp_btf/xdp_devmap_xmit")
int xdp_devmap_xmit(u64 *arguments)
{
	return lose((void *)arguments[0], (void *)arguments[1], arguments[3]);
}

// dev, prog, to, err, ...: where it was to go to is not told, so it counts where it came from.
SEC("tp_btf/xdp_redirect_err")
int xdp_redirect_err(u64 *arguments)
{
	return lose((void *)arguments[0], (void *)arguments[0], 1);
}

// dev, sent, drops, err
SEC("tp_btf/xdp_bulk_tx")
int xdp_bulk_tx(u64 *arguments)
{
	return lose((void *)arguments[0], (void *)arguments[0], arguments[2]);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
