//! Who stands behind an access port: nobody who says anything of himself, or a probe.

use kc_forwarder::frame::Frame;
use kc_forwarder::probe::{Plan, Session};
use kc_forwarder_api::{PortName, Probe, ProbeTarget};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Guest {
    session: Option<Session>,
}

/// Who does not probe.
const SILENT: [u8; 6] = [2, 0, 0, 0, 0x60, 1];

impl Guest {
    /// Listens, and says what a step makes it say.
    pub(crate) fn silent() -> Self {
        Self { session: None }
    }

    /// Probes behind `port`, the same way whenever it is asked to.
    pub(crate) fn probing(port: PortName, kind: u8, count: u8) -> Self {
        let v6 = kind & 4 != 0;
        let address = if v6 { "fd00::2" } else { "10.0.0.2" };
        let address = address.parse().unwrap();
        let source = if v6 { "fd00::9/64" } else { "10.0.0.9/24" };
        let probe = Probe {
            port,
            source: source.parse().unwrap(),
            gateway: None,
            target: match kind & 3 {
                0 => ProbeTarget::Icmp { address },
                1 => ProbeTarget::Udp { address, port: 7 },
                _ => ProbeTarget::Tcp { address, port: 80 },
            },
            count: u32::from(count & 7) + 1,
            interval_ms: u32::from(count >> 3),
            timeout_ms: 500,
            size: u16::from(kind >> 3) * 8,
        };
        let plan = Plan::new(probe, 1500).unwrap();
        Self {
            session: Some(Session::new(plan, 0x5eed)),
        }
    }

    pub(crate) fn mac(&self) -> [u8; 6] {
        self.session.as_ref().map_or(SILENT, Session::mac)
    }

    /// Takes a frame that came for it.
    pub(crate) fn accept(&mut self, now_ms: u64, frame: &[u8]) {
        assert!(frame.len() >= 6);
        if let Some(session) = &mut self.session {
            session.accept(now_ms * 1000, frame);
        }
    }

    /// What it sends now, and whether it is over.
    pub(crate) fn poll(&mut self, now_ms: u64) -> (Vec<Frame>, bool) {
        let mut frames = Vec::new();
        let Some(session) = &mut self.session else {
            return (frames, false);
        };
        session.poll(now_ms * 1000, &mut frames);
        session.due_us(now_ms * 1000);
        let report = session.report();
        if let Some(report) = &report {
            assert!(report.received <= report.sent, "{report:?}");
            serde_json::to_vec(report).unwrap();
        }
        (frames, report.is_some())
    }
}
