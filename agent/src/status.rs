//! Who this box is, what it has and when things happen on it; how its messages are addressed.

use crate::load;
use kc_agent_api::{
    BootId, Capacity, DomainName, NodeName, NodeStatus, Payload, PayloadError, Presence, PublicKey,
    Stamp, Topic, UpdateRecord, encode,
};
use kc_mqtt::{Message, QoS, Will};
use nix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// This boot of this box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    id: BootId,
}

impl Boot {
    /// Asks the kernel.
    pub fn read() -> io::Result<Self> {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self::named(id.trim()))
    }

    /// A boot of that name, for tests.
    pub fn named(id: &str) -> Self {
        Self {
            id: BootId(id.to_owned()),
        }
    }

    /// Its identity.
    pub fn id(&self) -> &BootId {
        &self.id
    }

    /// Time since it began; goes on while the box sleeps, and never back.
    pub fn elapsed(&self) -> Duration {
        clock_gettime(ClockId::CLOCK_BOOTTIME)
            .map(Duration::from)
            .unwrap_or_default()
    }

    /// Now.
    pub fn stamp(&self) -> Stamp {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Stamp {
            boot: self.id.clone(),
            mono_ms: milliseconds(self.elapsed()),
            wall_ms: milliseconds(wall),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Who this box is. Does not change while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeName,
    /// Its domain.
    pub domain: DomainName,
    /// This boot.
    pub boot: Boot,
    /// Labels the box gives itself.
    pub labels: BTreeMap<String, String>,
    /// What it has.
    pub capacity: Capacity,
    /// Address other boxes reach its forwarder at.
    pub vtep: Option<IpAddr>,
    /// MTU under its tunnels.
    pub underlay_mtu: u16,
    /// Version of the agent.
    pub version: String,
    /// The newest update of it.
    pub update: Option<UpdateRecord>,
    /// What values for this box only are sealed to.
    pub seal_key: Option<PublicKey>,
}

impl Identity {
    /// Its presence, in `session` of the link.
    pub fn status(&self, presence: Presence, session: u64, engine: Option<&str>) -> NodeStatus {
        NodeStatus {
            node: self.node.clone(),
            presence,
            version: self.version.clone(),
            arch: std::env::consts::ARCH.to_owned(),
            boot: self.boot.id.clone(),
            session,
            labels: self.labels.clone(),
            capacity: self.capacity,
            vtep: self.vtep,
            underlay_mtu: self.underlay_mtu,
            engine: engine.map(str::to_owned),
            update: self.update.clone(),
            seal_key: self.seal_key,
        }
    }

    /// What the broker shall say when the link breaks. It names the session it belongs to, so that
    /// one that comes late is not taken for the end of a newer session.
    pub fn last_will(&self) -> Will {
        let this = self.clone();
        Will::per_session(move |session| {
            let status = this.status(Presence::Offline, session, None);
            // A status is text and numbers, which JSON always takes.
            let payload = encode(&status).unwrap_or_default();
            this.addressed(&Topic::Status(this.node.clone()), payload)
        })
    }

    /// A payload on its way to `topic`, retained and guaranteed as that topic is.
    pub fn message<P: Payload>(&self, topic: &Topic, payload: &P) -> Result<Message, PayloadError> {
        Ok(self.addressed(topic, encode(payload)?))
    }

    fn addressed(&self, topic: &Topic, payload: Vec<u8>) -> Message {
        let qos = match topic.qos() {
            0 => QoS::AtMostOnce,
            _ => QoS::AtLeastOnce,
        };
        Message {
            topic: topic.name(&self.domain),
            payload,
            qos,
            retain: topic.retained(),
        }
    }
}

/// What the box has: cores, memory, and the disk under Docker's data root.
pub fn capacity(data_root: &Path) -> Capacity {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = load::machine::cpu_times(&read("/proc/stat")).unwrap_or_default();
    let memory = load::machine::memory(&read("/proc/meminfo")).unwrap_or_default();
    Capacity {
        cpu_millis: cpu.cores.max(1).saturating_mul(1000),
        memory_bytes: memory.1,
        disk_bytes: load::disk(data_root).unwrap_or_default().1,
    }
}

#[cfg(test)]
pub(crate) fn example() -> Identity {
    Identity {
        node: NodeName::new("pi-1").unwrap(),
        domain: DomainName::new("lab").unwrap(),
        boot: Boot::named("b00"),
        labels: BTreeMap::from([("zone".into(), "a".into())]),
        capacity: Capacity::default(),
        vtep: Some(IpAddr::from([192, 168, 50, 1])),
        underlay_mtu: 1500,
        version: "0.1.0".into(),
        update: None,
        seal_key: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::{LoadReport, decode};

    #[test]
    fn a_status_is_retained_and_says_which_session_it_is_of() {
        let identity = example();
        let status = identity.status(Presence::Online, 3, Some("20.10.24"));
        let topic = Topic::Status(identity.node.clone());
        let message = identity.message(&topic, &status).unwrap();
        assert_eq!(message.topic, "kcluster/lab/node/pi-1/status");
        assert!(message.retain && message.qos == QoS::AtLeastOnce);
        let read: NodeStatus = decode(&message.payload).unwrap();
        assert_eq!(
            (read.session, read.engine.as_deref()),
            (3, Some("20.10.24"))
        );
    }

    #[test]
    fn a_load_report_is_neither_kept_nor_repeated() {
        let identity = example();
        let sample = load::Sample::default();
        let report: LoadReport = load::report(identity.boot.stamp(), None, &sample, None);
        let topic = Topic::Load(identity.node.clone());
        let message = identity.message(&topic, &report).unwrap();
        assert!(!message.retain && message.qos == QoS::AtMostOnce);
    }

    #[test]
    fn this_box_has_something_and_its_clock_goes_on() {
        let capacity = capacity(Path::new("/var/lib/docker"));
        assert!(capacity.cpu_millis >= 1000 && capacity.memory_bytes > 1 << 20);
        assert!(capacity.disk_bytes > 0);
        let boot = Boot::read().unwrap();
        assert_eq!(boot.id().0.len(), 36);
        let (first, second) = (boot.elapsed(), boot.elapsed());
        assert!(Duration::ZERO < first && first <= second);
    }
}
