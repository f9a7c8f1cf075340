// Hands every frame of an interface to the AF_XDP socket of the queue it came in on; a queue
// without a socket keeps its frames, which then go to the kernel as ever. Knows no header but the
// VLAN tag. Compiled ahead by `make bpf`; loaded by forwarder/src/port/xsk/program.rs.
//
// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 OR MIT

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MACS 12
#define TAG 4
#define EOPNOTSUPP 95

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

// Of the kernel, for programs that are bound to an interface: a tag that travels beside the frame.
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *frame, __be16 *tpid, __u16 *tci) __ksym;

static __always_inline int hand_up(struct xdp_md *frame)
{
	return bpf_redirect_map(&sockets, frame->rx_queue_index, XDP_PASS);
}

// Where tags are inside frames already.
SEC("xdp/plain")
int plain(struct xdp_md *frame)
{
	return hand_up(frame);
}

// Where tags travel beside frames (veth): a frame that is handed up without its tag would be an
// untagged one, so the tag goes back in, and a frame goes nowhere if nobody can say whether it
// has one.
SEC("xdp/tagged")
int tagged(struct xdp_md *frame)
{
	__be16 tpid = 0;
	__u16 tci = 0;
	int answer = bpf_xdp_metadata_rx_vlan_tag(frame, &tpid, &tci);

	if (answer == -EOPNOTSUPP)
		return XDP_DROP;
	if (answer == 0) {
		if (bpf_xdp_adjust_head(frame, -TAG))
			return XDP_DROP;
		__u16 *at = (void *)(long)frame->data;
		if ((void *)at + MACS + TAG > (void *)(long)frame->data_end)
			return XDP_DROP;
		for (int i = 0; i < MACS / 2; i++)
			at[i] = at[i + TAG / 2];
		at[MACS / 2] = tpid;
		at[MACS / 2 + 1] = bpf_htons(tci);
	}
	return hand_up(frame);
}

char _license[] SEC("license") = "GPL";
