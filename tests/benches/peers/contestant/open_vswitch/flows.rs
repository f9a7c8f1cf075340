//! The flows that Open vSwitch gets for each task.

use crate::work::{Task, Work};
use kc_tests::bench::frames::site as address;
use std::fmt::Write as _;

/// New Ethernet addresses of what leaves.
const REWRITE: &str = "set_field:02:00:00:00:00:0e->eth_dst,set_field:02:00:00:00:00:0c->eth_src";

/// The flows of a task; packets of another kind are dropped.
pub(super) fn flows(task: Task) -> Vec<String> {
    let (spi, si) = (address::SPI, address::SI);
    let new = |md: u8| {
        format!("encap(nsh(md_type={md})),set_field:{spi}->nsh_spi,set_field:{si}->nsh_si")
    };
    let each = |flow: &dyn Fn(u32) -> String| (spi..spi + task.paths).map(flow).collect();
    match task.work {
        Work::PortHop => with_rules(task, "actions=output:2".to_owned()),
        Work::EthEncap => with_rules(
            task,
            format!("actions={},encap(ethernet),{REWRITE},output:2", new(1)),
        ),
        Work::GpeEncap => with_rules(task, format!("actions={},output:2", new(1))),
        Work::EthHop => each(&|spi| {
            format!(
                "in_port=1,dl_type=0x894f,nsh_spi={spi},nsh_si={si},actions=dec_nsh_ttl,{REWRITE},output:2"
            )
        }),
        Work::GpeHop => each(&|spi| {
            format!(
                "in_port=1,packet_type=(1,0x894f),nsh_spi={spi},nsh_si={si},actions=dec_nsh_ttl,output:2"
            )
        }),
        Work::EthDecap => each(&|spi| {
            format!(
                "in_port=1,dl_type=0x894f,nsh_spi={spi},nsh_si={si},actions=decap(),decap(),output:2"
            )
        }),
        Work::GpeDecap => each(&|spi| {
            format!(
                "in_port=1,packet_type=(1,0x894f),nsh_spi={spi},nsh_si={si},actions=decap(),output:2"
            )
        }),
        Work::ProxyHop => {
            let mut flows: Vec<String> = each(&|spi| {
                format!(
                    "in_port=1,packet_type=(1,0x894f),nsh_spi={spi},nsh_si={si},actions=decap(),output:3"
                )
            });
            // It has no memory of headers: what comes back gets a new one.
            let back = format!(
                "encap(nsh(md_type=1)),set_field:{spi}->nsh_spi,set_field:{}->nsh_si",
                si - 1
            );
            flows.push(format!("in_port=4,actions={back},output:2"));
            flows
        }
        Work::VxlanEncap | Work::VxlanDecap | Work::VxlanHop => {
            vec!["in_port=1,dl_dst=02:00:00:00:00:0f,actions=output:2".to_owned()]
        }
    }
}

/// Rules of four kinds above the one for our packets, as `kc-forwarder` gets them.
fn with_rules(task: Task, actions: String) -> Vec<String> {
    let mut flows = Vec::new();
    for number in 1..task.rules {
        let prefix = [24, 25, 32, 28][number as usize % 4];
        let [_, high, low, _] = (number << 8).to_be_bytes();
        let mut flow = String::new();
        let _ = write!(
            flow,
            "priority={},udp,nw_src=172.{high}.{low}.0/{prefix},tp_dst=80,actions=drop",
            65_535 - number.min(65_000)
        );
        flows.push(flow);
    }
    flows.push(format!("priority=1,in_port=1,{actions}"));
    flows
}
