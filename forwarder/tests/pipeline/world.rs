//! A forwarder without a shell: tables as a person writes them, frames by port name.

use kc_forwarder::frame::{Frame, Offload};
use kc_forwarder::pipeline::{
    Compiled, EchoError, Egress, Ingress, Outputs, Pipeline, PortIndex, PortInfo,
};
use kc_forwarder_api::{Counters, DropReason, Echo, PortName, Tables};
use std::net::IpAddr;
use std::sync::Arc;

/// What left, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    /// A port's name, or `gpe 192.0.2.1` or `vxlan 192.0.2.1`.
    pub(crate) via: String,
    /// The frame; for tunnels from the VXLAN header on.
    pub(crate) bytes: Vec<u8>,
    /// Traffic class of the outer header, for tunnels.
    pub(crate) class: u8,
}

/// One forwarder.
pub(crate) struct World {
    pub(crate) pipeline: Pipeline,
    pub(crate) now_ms: u64,
    out: Outputs,
    mtu: u16,
}

/// Reads tables.
pub(crate) fn tables(toml: &str) -> Tables {
    toml::from_str(toml).unwrap()
}

/// The MAC address of a port.
pub(crate) fn mac_of(port: PortIndex) -> [u8; 6] {
    [2, 0xff, 0, 0, 0, u8::try_from(port.0).unwrap()]
}

impl World {
    /// A forwarder whose ports are all up.
    pub(crate) fn new(toml: &str) -> Self {
        let compiled = Compiled::new(tables(toml)).unwrap();
        let mut world = Self {
            pipeline: Pipeline::new(Arc::new(compiled)),
            now_ms: 1_000,
            out: Outputs::default(),
            mtu: 1500,
        };
        world.ports_up();
        world
    }

    /// Replaces the tables.
    pub(crate) fn install(&mut self, toml: &str) {
        self.pipeline
            .install(Arc::new(Compiled::new(tables(toml)).unwrap()));
        self.ports_up();
    }

    fn ports_up(&mut self) {
        for number in 0..self.pipeline.tables().ports().len() {
            let port = PortIndex(u16::try_from(number).unwrap());
            let info = PortInfo {
                up: true,
                mtu: self.mtu,
                mac: mac_of(port),
            };
            self.pipeline.set_port(port, info);
        }
    }

    /// Changes what the shell says of a port.
    pub(crate) fn set_port(&mut self, name: &str, up: bool, mtu: u16) {
        let port = self.index(name);
        self.pipeline.set_port(
            port,
            PortInfo {
                up,
                mtu,
                mac: mac_of(port),
            },
        );
    }

    fn index(&self, name: &str) -> PortIndex {
        self.pipeline
            .tables()
            .port_index(&PortName::new(name).unwrap())
            .unwrap()
    }

    /// One frame into a port.
    pub(crate) fn port(&mut self, name: &str, frame: &[u8]) -> Vec<Sent> {
        self.port_with(name, frame, Offload::default())
    }

    /// One frame into a port, with what the kernel knows about it.
    pub(crate) fn port_with(&mut self, name: &str, bytes: &[u8], offload: Offload) -> Vec<Sent> {
        let mut frame = Frame::copy_of(bytes);
        frame.offload = offload;
        let ingress = Ingress::Port(self.index(name));
        self.process(ingress, frame)
    }

    /// One UDP payload into the VXLAN-GPE socket.
    pub(crate) fn gpe(&mut self, remote: &str, payload: &[u8]) -> Vec<Sent> {
        let remote: IpAddr = remote.parse().unwrap();
        self.process(Ingress::Gpe { remote }, Frame::copy_of(payload))
    }

    /// One UDP payload into the VXLAN-GPE socket, in an outer header of this traffic class.
    pub(crate) fn gpe_marked(&mut self, remote: &str, payload: &[u8], class: u8) -> Vec<Sent> {
        let remote: IpAddr = remote.parse().unwrap();
        let mut frame = Frame::copy_of(payload);
        frame.offload.outer_class = class;
        self.process(Ingress::Gpe { remote }, frame)
    }

    /// One UDP payload into the VXLAN socket.
    pub(crate) fn vxlan(&mut self, remote: &str, payload: &[u8]) -> Vec<Sent> {
        let remote: IpAddr = remote.parse().unwrap();
        self.process(Ingress::Vxlan { remote }, Frame::copy_of(payload))
    }

    /// What happens by itself until `now_ms`.
    pub(crate) fn until(&mut self, now_ms: u64) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some(due) = self.pipeline.next_deadline().filter(|&due| due <= now_ms) {
            self.now_ms = due.max(self.now_ms);
            self.pipeline.tick(self.now_ms, &mut self.out);
            sent.extend(self.sent());
        }
        self.now_ms = now_ms;
        sent
    }

    /// Asks for an echo.
    pub(crate) fn echo(&mut self, token: u64, echo: &Echo) -> Result<Vec<Sent>, EchoError> {
        self.pipeline
            .echo(self.now_ms, token, echo, &mut self.out)?;
        Ok(self.sent())
    }

    /// What is due now.
    pub(crate) fn tick(&mut self) -> Vec<Sent> {
        self.pipeline.tick(self.now_ms, &mut self.out);
        self.sent()
    }

    fn process(&mut self, ingress: Ingress, frame: Frame) -> Vec<Sent> {
        let mut batch = vec![frame];
        self.pipeline
            .process(self.now_ms, ingress, &mut batch, &mut self.out);
        assert!(batch.is_empty());
        self.sent()
    }

    /// Takes what came out.
    fn sent(&mut self) -> Vec<Sent> {
        assert!(
            self.pipeline.balance().holds(),
            "{:?}",
            self.pipeline.balance()
        );
        let ports = self.pipeline.tables().ports();
        let name = |egress| match egress {
            Egress::Port(port) => ports[usize::from(port.0)].name.to_string(),
            Egress::Gpe { remote, .. } => format!("gpe {}", remote.ip()),
            Egress::Vxlan { remote, .. } => format!("vxlan {}", remote.ip()),
        };
        let sent = self.out.frames.drain(..).map(|(egress, frame)| {
            assert_eq!(
                frame.offload.gso, None,
                "nothing leaves to be cut by others"
            );
            assert_eq!(frame.offload.vlan, None, "tags are in the frame");
            let sent = Sent {
                via: name(egress),
                bytes: frame.bytes().to_vec(),
                class: frame.offload.outer_class,
            };
            self.out.pool.give(frame);
            sent
        });
        sent.collect()
    }

    /// All counters.
    pub(crate) fn counters(&self) -> Counters {
        self.pipeline.counters()
    }

    /// Packets looked up at (SPI, SI).
    pub(crate) fn looked_up(&self, spi: u32, si: u8) -> u64 {
        let counters = self.counters();
        let at =
            |path: &&kc_forwarder_api::PathCounters| (path.spi.get(), path.si.get()) == (spi, si);
        counters.paths.iter().find(at).unwrap().packets
    }

    /// Frames dropped for `reason`.
    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.counters().drops.get(&reason).copied().unwrap_or(0)
    }

    /// All frames dropped so far.
    pub(crate) fn all_drops(&self) -> u64 {
        self.counters().drops.values().sum()
    }

    /// Received and sent frames of a port.
    pub(crate) fn traffic(&self, name: &str) -> (u64, u64) {
        let counters = self.counters();
        let port = counters
            .ports
            .iter()
            .find(|port| port.name.as_str() == name)
            .unwrap();
        (port.rx_packets, port.tx_packets)
    }
}

/// The only frame sent, which must have gone `via`.
#[track_caller]
pub(crate) fn only(sent: Vec<Sent>, via: &str) -> Vec<u8> {
    assert_eq!(sent.len(), 1, "{sent:?}");
    let sent = sent.into_iter().next().unwrap();
    assert_eq!(sent.via, via);
    sent.bytes
}
