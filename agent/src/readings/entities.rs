//! Home Assistant's view of a box: a device for the box, one for each container, and what each
//! can be asked. Pure. Says how values are found in the payloads that the agent publishes
//! anyway, and never contains a value.
//!
//! Device discovery as Home Assistant has it since 2024.11. What comes and goes (a container,
//! an interface) has a topic of its own, so that an empty payload removes it and nothing else.

use super::config::TopicPrefix;
use super::entity::{Entity, of_box, of_container, of_interface, temperature, throttled};
use crate::status::Identity;
use kc_agent_api::{LoadReport, NodeState, Topic};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What there is to show. A report with the same shape needs no new discovery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Seconds between reports.
    pub interval_s: u32,
    /// Whether the box measures its heat.
    pub temperature: bool,
    /// Whether its firmware says that it is held back.
    pub throttled: bool,
    /// Its interfaces to the outside.
    pub interfaces: BTreeSet<String>,
    /// Its containers, once the box was looked at.
    pub containers: Option<BTreeSet<String>>,
}

impl Shape {
    /// The shape of a report.
    pub fn of(report: &LoadReport, state: &NodeState, interval_s: u32) -> Self {
        let networks = report.machine.networks.iter().map(|network| &network.name);
        Self {
            interval_s,
            temperature: report.machine.temperature_c.is_some(),
            throttled: report.machine.throttled.is_some(),
            interfaces: networks.filter(|name| is_outside(name)).cloned().collect(),
            ..Self::default()
        }
        .with(state)
    }

    /// The same with the containers of `state`, of which nobody knows before the box was looked at.
    #[must_use]
    pub fn with(self, state: &NodeState) -> Self {
        let names = state
            .containers
            .iter()
            .map(|container| container.name.clone());
        Self {
            containers: (*state != NodeState::default()).then(|| names.collect()),
            ..self
        }
    }
}

/// Whether an interface is hardware or a bond of hardware, by the names that the kernel and udev
/// give. Bridges and veths come and go with containers; nobody wants an entity for each.
fn is_outside(interface: &str) -> bool {
    let kinds = ["en", "eth", "wl", "ww", "ib", "usb", "bond"];
    kinds.iter().any(|kind| interface.starts_with(kind))
}

/// Where all discovery topics of a box are: `/+/config` below it.
pub fn base(prefix: &TopicPrefix, identity: &Identity) -> String {
    format!("{prefix}/device/{}", id(identity))
}

fn id(identity: &Identity) -> String {
    // Neither name can have an underscore, so no two boxes share one.
    format!("kcluster_{}_{}", identity.domain, identity.node)
}

/// All discovery topics and their payloads.
pub fn render(
    prefix: &TopicPrefix,
    identity: &Identity,
    shape: &Shape,
) -> BTreeMap<String, Vec<u8>> {
    let id = id(identity);
    let device = About {
        identifiers: [id.clone()],
        name: identity.node.to_string(),
        manufacturer: "K-Cluster",
        model: "Box",
        sw_version: env!("CARGO_PKG_VERSION"),
        via_device: None,
    };
    let mut parts = vec![("box".to_owned(), device.clone(), of_box())];
    if shape.temperature {
        parts.push(("temperature".into(), device.clone(), vec![temperature()]));
    }
    if shape.throttled {
        parts.push(("throttled".into(), device.clone(), vec![throttled()]));
    }
    for name in &shape.interfaces {
        let object = format!("interface-{}", escaped(name));
        parts.push((object, device.clone(), of_interface(name)));
    }
    for name in shape.containers.iter().flatten() {
        let object = format!("container-{}", escaped(name));
        let device = About {
            identifiers: [format!("{id}_{object}")],
            name: format!("{} {name}", identity.node),
            model: "Container",
            via_device: Some(id.clone()),
            ..device.clone()
        };
        parts.push((object, device, of_container(name)));
    }
    let base = base(prefix, identity);
    let topic = |topic: Topic| topic.name(&identity.domain);
    let message = |(object, device, entities): (String, About, Vec<Entity>)| {
        let components = entities.into_iter().map(|mut entity| {
            entity.unique_id = format!("{id}_{object}_{}", entity.key);
            match entity.of_state {
                true => entity.state_topic = Some(topic(Topic::State(identity.node.clone()))),
                false => entity.expire_after = Some(expire_after(shape.interval_s)),
            }
            (entity.key, entity)
        });
        let config = Config {
            device,
            origin: Origin {
                name: "K-Cluster",
                sw_version: env!("CARGO_PKG_VERSION"),
            },
            availability_topic: topic(Topic::Status(identity.node.clone())),
            availability_template: "{{ value_json.presence }}",
            payload_available: "online",
            payload_not_available: "offline",
            state_topic: topic(Topic::Load(identity.node.clone())),
            components: components.collect(),
        };
        // Text and numbers, which JSON always takes.
        let payload = serde_json::to_vec(&config).unwrap_or_default();
        (format!("{base}/{object}/config"), payload)
    };
    parts.into_iter().map(message).collect()
}

/// Seconds after which a value is no longer believed: two reports may be lost.
const fn expire_after(interval_s: u32) -> u32 {
    interval_s.saturating_mul(3).saturating_add(5)
}

/// `name` in what Home Assistant allows in a topic (`[a-zA-Z0-9_-]`); no two names become one.
fn escaped(name: &str) -> String {
    let octets = name.bytes().map(|octet| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(octet).to_string(),
        b'_' => "__".into(),
        other => format!("_{other:02x}"),
    });
    octets.collect()
}

#[derive(Serialize)]
struct Config {
    device: About,
    origin: Origin,
    availability_topic: String,
    availability_template: &'static str,
    payload_available: &'static str,
    payload_not_available: &'static str,
    state_topic: String,
    components: BTreeMap<&'static str, Entity>,
}

#[derive(Serialize)]
struct Origin {
    name: &'static str,
    sw_version: &'static str,
}

#[derive(Clone, Serialize)]
struct About {
    identifiers: [String; 1],
    name: String,
    manufacturer: &'static str,
    model: &'static str,
    sw_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    via_device: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::example;
    use serde_json::{Value, json};

    fn shape() -> Shape {
        Shape {
            interval_s: 2,
            temperature: true,
            throttled: true,
            interfaces: ["eth0".into()].into(),
            containers: Some(["fw_1.a".into()].into()),
        }
    }

    fn rendered(shape: &Shape) -> BTreeMap<String, Value> {
        let all = render(&TopicPrefix::default(), &example(), shape).into_iter();
        all.map(|(topic, payload)| (topic, serde_json::from_slice(&payload).unwrap()))
            .collect()
    }

    #[test]
    fn what_comes_and_goes_has_a_topic_of_its_own() {
        let topics: Vec<_> = rendered(&shape()).into_keys().collect();
        let base = "homeassistant/device/kcluster_lab_pi-1";
        assert_eq!(
            topics,
            [
                "box",
                "container-fw__1_2ea",
                "interface-eth0",
                "temperature",
                "throttled"
            ]
            .map(|object| format!("{base}/{object}/config"))
        );
        let bare = Shape::default();
        assert_eq!(
            rendered(&bare).into_keys().collect::<Vec<_>>(),
            [format!("{base}/box/config")]
        );
    }

    #[test]
    fn a_temperature_is_announced_like_this() {
        let all = rendered(&shape());
        let config = &all["homeassistant/device/kcluster_lab_pi-1/temperature/config"];
        assert_eq!(
            *config,
            json!({
                "device": {
                    "identifiers": ["kcluster_lab_pi-1"], "name": "pi-1",
                    "manufacturer": "K-Cluster", "model": "Box",
                    "sw_version": env!("CARGO_PKG_VERSION"),
                },
                "origin": {"name": "K-Cluster", "sw_version": env!("CARGO_PKG_VERSION")},
                "availability_topic": "kcluster/lab/node/pi-1/status",
                "availability_template": "{{ value_json.presence }}",
                "payload_available": "online",
                "payload_not_available": "offline",
                "state_topic": "kcluster/lab/node/pi-1/load",
                "components": {"temperature": {
                    "platform": "sensor",
                    "unique_id": "kcluster_lab_pi-1_temperature_temperature",
                    "name": "Temperature",
                    "value_template": "{{ value_json.box['temperature-c'] }}",
                    "expire_after": 11,
                    "device_class": "temperature",
                    "state_class": "measurement",
                    "unit_of_measurement": "°C",
                }},
            })
        );
    }

    #[test]
    fn a_containers_state_does_not_expire_and_its_device_hangs_below_the_box() {
        let all = rendered(&shape());
        let config = &all["homeassistant/device/kcluster_lab_pi-1/container-fw__1_2ea/config"];
        assert_eq!(config["device"]["via_device"], "kcluster_lab_pi-1");
        assert_eq!(config["device"]["name"], "pi-1 fw_1.a");
        assert_eq!(
            config["components"]["state"],
            json!({
                "platform": "sensor",
                "unique_id": "kcluster_lab_pi-1_container-fw__1_2ea_state",
                "name": "State",
                "value_template": "{{ value_json.containers | selectattr('name', 'eq', 'fw_1.a') \
                                   | map(attribute='phase') | first | default(None) }}",
                "state_topic": "kcluster/lab/node/pi-1/state",
                "device_class": "enum",
                "options": ["pending", "pulling", "running", "exited", "failed"],
            })
        );
    }

    #[test]
    fn no_two_entities_have_the_same_unique_id() {
        let mut shape = shape();
        shape.containers = Some(
            ["a", "a_cpu", "a__cpu", "a.b", "a_2eb"]
                .map(String::from)
                .into(),
        );
        let all = rendered(&shape);
        let components = all
            .values()
            .flat_map(|c| c["components"].as_object().unwrap().values());
        let ids: Vec<_> = components
            .map(|c| c["unique_id"].as_str().unwrap())
            .collect();
        let different: BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
    }

    #[test]
    fn only_hardware_has_entities() {
        for (name, wanted) in [
            ("eth0", true),
            ("enp3s0", true),
            ("end0", true),
            ("wlan0", true),
            ("lo", false),
            ("docker0", false),
            ("veth12ab", false),
            ("br-1", false),
            ("kc4i", false),
        ] {
            assert_eq!(is_outside(name), wanted, "{name}");
        }
    }
}
