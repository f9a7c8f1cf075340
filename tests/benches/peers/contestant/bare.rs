//! Loops that do nothing but move packets: how fast this machine is with the same I/O.

use super::{Entrant, Hall};
use crate::interrupt;
use crate::run::{last_line, pinned, start};
use crate::site::Site;
use crate::work::{Task, Work};
use anyhow::{Result, ensure};
use kc_tests::bench::frames::{Wrap, site as address};
use std::process::Command;
use std::time::Duration;

/// How packets are moved.
#[derive(Debug, Clone, Copy)]
pub(super) enum Method {
    /// `pnet_datalink`'s channel.
    Pnet,
    /// AF_PACKET, by the method of `loop_packet`.
    Packet(&'static str),
    /// UDP sockets, by the method of `loop_udp`.
    Udp(&'static str),
    /// TPACKET_V3 in, UDP GSO out, with so many source ports.
    Gso(&'static str),
    /// AF_XDP.
    Xsk,
    /// XDP alone.
    Xdp,
}

impl Method {
    pub(super) fn does(self, work: Work) -> bool {
        let is_tunnel = matches!(work, Work::GpeHop | Work::VxlanHop);
        match self {
            Self::Udp(_) | Self::Gso(_) => is_tunnel,
            _ => is_tunnel || matches!(work, Work::PortHop | Work::EthHop),
        }
    }
}

pub(super) fn enter(hall: &Hall, site: Site, method: &Method, task: Task) -> Result<Entrant> {
    if let Method::Xdp = method {
        site.suit_xdp()?;
    }
    let port = if task.work.arrives() == Wrap::Gpe {
        "4790"
    } else {
        "4789"
    };
    let program = |name: &str| -> Result<Command> {
        let path = hall.instruments.program(name)?;
        Ok(pinned(
            &site.contestant,
            &[site.cores.contestant],
            &path.to_string_lossy(),
        ))
    };
    let mut command;
    match method {
        Method::Pnet => {
            let own = std::env::current_exe()?;
            command = pinned(
                &site.contestant,
                &[site.cores.contestant],
                &own.to_string_lossy(),
            );
            command.args(["--loop-pnet", "in0", "out0"]);
        }
        Method::Packet(how) => {
            command = program("loop_packet")?;
            command.args([how, "in0", "out0"]);
        }
        Method::Udp(how) => {
            command = program("loop_udp")?;
            command.args([how, port]);
        }
        Method::Gso(buckets) => {
            command = program("loop_gso")?;
            command.args([buckets, port, "in0", "out0"]);
        }
        Method::Xsk => {
            command = program("loop_xsk")?;
            command.args(["in0", "out0"]);
        }
        Method::Xdp => {
            let object = hall.instruments.program("hop_bpf")?;
            command = program("attach")?;
            command
                .arg(object)
                .args([xdp_program(task.work), "in0", "out0"]);
            command.args([task.paths.to_string(), address::SPI.to_string()]);
        }
    }
    let log = site.folder.join("log");
    let mut process = start(command, &log)?;
    // They say nothing when they are ready.
    interrupt::sleep(Duration::from_millis(300))?;
    ensure!(!process.ended(), "{}", last_line(&log));
    let mut entrant = Entrant::of(site, vec![process]);
    if let Method::Xdp = method {
        entrant.goes_by_xdp()?;
    }
    Ok(entrant)
}

fn xdp_program(work: Work) -> &'static str {
    match work {
        Work::GpeHop => "gpe_hop",
        Work::EthHop => "eth_hop",
        Work::VxlanHop => "vxlan_hop",
        _ => "port_hop",
    }
}

/// The loop on `pnet_datalink`, in a process of its own.
pub(crate) fn pnet(from: &str, to: &str) -> Result<()> {
    use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
    type Ends = (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>);
    let open = |name: &str| -> Result<Ends> {
        let all = pnet_datalink::interfaces();
        let found = all.into_iter().find(|interface| interface.name == name);
        let found = found.ok_or_else(|| anyhow::anyhow!("no interface {name}"))?;
        match pnet_datalink::channel(&found, Config::default())? {
            Channel::Ethernet(sender, receiver) => Ok((sender, receiver)),
            _ => anyhow::bail!("{name} is not Ethernet"),
        }
    };
    let (_, mut receiver) = open(from)?;
    let (mut sender, _) = open(to)?;
    let mut frame = [0; 4096];
    loop {
        let Ok(received) = receiver.next() else {
            continue;
        };
        let length = received.len();
        let Some(room) = frame.get_mut(..length) else {
            continue;
        };
        room.copy_from_slice(received);
        room[..12].copy_from_slice(&[2, 0, 0, 0, 0, 0x0e, 2, 0, 0, 0, 0, 0x0c]);
        room[22] = room[22].wrapping_sub(1);
        let _ = sender.send_to(room, None);
    }
}
