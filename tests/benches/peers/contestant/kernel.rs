//! The kernel's own bridge and vxlan devices. What forwards is the thread that receives, so that
//! thread is what counts.

use super::Entrant;
use crate::run::run;
use crate::site::{Site, pin};
use crate::work::{Task, Work};
use anyhow::Result;
use kc_tests::bench::frames::{Wrap, site as address};

pub(super) fn does(work: Work) -> bool {
    matches!(
        work,
        Work::PortHop | Work::VxlanEncap | Work::VxlanDecap | Work::VxlanHop
    )
}

pub(super) fn enter(site: Site, task: Task) -> Result<Entrant> {
    let contestant = &site.contestant;
    run(contestant, "ip link add br0 type bridge mcast_snooping 0")?;
    run(contestant, "ip link set br0 mtu 1900 up")?;
    let device = |name: &str, vni: u8, local: &str, remote: &str, interface: &str| -> Result<()> {
        run(
            contestant,
            &format!(
                "ip link add {name} type vxlan id {vni} local {local} remote {remote} \
                 dstport 4789 dev {interface} nolearning noudpcsum"
            ),
        )?;
        run(contestant, &format!("ip link set {name} mtu 1900 up"))?;
        run(contestant, &format!("ip link set {name} master br0"))?;
        Ok(())
    };
    let from = if task.work.arrives() == Wrap::Vxlan {
        device("vx1", address::VNI, "10.1.0.2", "10.1.0.1", "in0")?;
        "vx1"
    } else {
        "in0"
    };
    let to = if task.work.leaves() == Wrap::Vxlan {
        device("vx2", task.work.next_vni(), "10.2.0.1", "10.2.0.2", "out0")?;
        "vx2"
    } else {
        "out0"
    };
    for port in [from, to]
        .into_iter()
        .filter(|port| !port.starts_with("vx"))
    {
        run(contestant, &format!("ip link set {port} master br0"))?;
    }
    let entry = format!("bridge fdb replace 02:00:00:00:00:0f dev {to} master static");
    run(contestant, &entry)?;
    pin(&site.napi, site.cores.contestant, false)?;
    let counted = site.napi.clone();
    let mut entrant = Entrant::of(site, Vec::new());
    entrant.counted = counted;
    // A vxlan device hands packets to a second queue, which nobody empties while the first is full.
    entrant.collapses = task.work.arrives() == Wrap::Vxlan;
    Ok(entrant)
}
