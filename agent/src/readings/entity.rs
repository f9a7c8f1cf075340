//! What a box, an interface and a container can be asked in Home Assistant: one entity a value,
//! with the template that finds it in our JSON. Pure.

use serde::Serialize;

/// One value.
#[derive(Default, Serialize)]
pub(super) struct Entity {
    #[serde(skip)]
    pub(super) key: &'static str,
    /// Found in the state and not in the load.
    #[serde(skip)]
    pub(super) of_state: bool,
    platform: &'static str,
    pub(super) unique_id: String,
    name: String,
    value_template: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) state_topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expire_after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_class: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit_of_measurement: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_category: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    options: &'static [&'static str],
}

impl Entity {
    fn sensor(key: &'static str, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key,
            platform: "sensor",
            name: name.into(),
            value_template: value.into(),
            ..Self::default()
        }
    }

    fn now(self, unit: &'static str) -> Self {
        let class = match unit {
            "MiB" | "GiB" => Some("data_size"),
            "°C" => Some("temperature"),
            _ => None,
        };
        Self {
            state_class: Some("measurement"),
            unit_of_measurement: Some(unit).filter(|unit| !unit.is_empty()),
            device_class: class,
            ..self
        }
    }

    fn ever(self) -> Self {
        Self {
            state_class: Some("total_increasing"),
            unit_of_measurement: Some("MiB"),
            device_class: Some("data_size"),
            ..self
        }
    }
}

const MEBI: &str = "1048576";
const GIBI: &str = "1073741824";

/// Of the box itself.
pub(super) fn of_box() -> Vec<Entity> {
    let field = |name| format!("{{{{ value_json.box['{name}'] | round(1) }}}}");
    let sized = |name, unit| format!("{{{{ (value_json.box['{name}'] / {unit}) | round(2) }}}}");
    // What cannot be read is zero, and a share of it nothing.
    let share = |what| {
        format!(
            "{{% set b = value_json.box %}}{{{{ (100 * b['{what}-used-bytes'] / b['{what}-total-bytes']) \
             | round(1) if b['{what}-total-bytes'] else None }}}}"
        )
    };
    vec![
        Entity::sensor("cpu", "CPU", field("cpu-percent")).now("%"),
        Entity::sensor("load", "Load", "{{ value_json.box['load-1m'] | round(2) }}").now(""),
        Entity::sensor("memory", "Memory", share("memory")).now("%"),
        Entity::sensor(
            "memory-used",
            "Memory used",
            sized("memory-used-bytes", MEBI),
        )
        .now("MiB"),
        Entity::sensor("disk", "Disk", share("disk")).now("%"),
        Entity::sensor("disk-used", "Disk used", sized("disk-used-bytes", GIBI)).now("GiB"),
        Entity {
            unit_of_measurement: Some("s"),
            device_class: Some("duration"),
            entity_category: Some("diagnostic"),
            ..Entity::sensor("uptime", "Uptime", "{{ value_json.box['uptime-s'] }}")
        },
    ]
}

/// Of a box that measures its heat.
pub(super) fn temperature() -> Entity {
    let value = "{{ value_json.box['temperature-c'] }}";
    Entity::sensor("temperature", "Temperature", value).now("°C")
}

/// Of a box whose firmware says that it is held back: for a Pi by heat or under-voltage.
pub(super) fn throttled() -> Entity {
    let value = "{% set held = value_json.box.throttled %}\
                 {{ None if held is none else 'ON' if held else 'OFF' }}";
    Entity {
        platform: "binary_sensor",
        device_class: Some("problem"),
        entity_category: Some("diagnostic"),
        ..Entity::sensor("throttled", "Throttled", value)
    }
}

/// Of an interface of the box.
pub(super) fn of_interface(name: &str) -> Vec<Entity> {
    let field = |field| picked("value_json.box.networks", name, field, MEBI, 3);
    vec![
        Entity::sensor("received", format!("{name} received"), field("rx-bytes")).ever(),
        Entity::sensor("sent", format!("{name} sent"), field("tx-bytes")).ever(),
    ]
}

/// Of a container.
pub(super) fn of_container(name: &str) -> Vec<Entity> {
    let field = |field, unit, digits| picked("value_json.containers", name, field, unit, digits);
    let phase = format!(
        "{{{{ value_json.containers | selectattr('name', 'eq', {}) | map(attribute='phase') \
         | first | default(None) }}}}",
        quoted(name)
    );
    vec![
        Entity::sensor("cpu", "CPU", field("cpu-percent", "1", 1)).now("%"),
        Entity::sensor("memory", "Memory", field("memory-bytes", MEBI, 2)).now("MiB"),
        Entity::sensor("received", "Received", field("rx-bytes", MEBI, 3)).ever(),
        Entity::sensor("sent", "Sent", field("tx-bytes", MEBI, 3)).ever(),
        Entity {
            of_state: true,
            device_class: Some("enum"),
            options: &["pending", "pulling", "running", "exited", "failed"],
            ..Entity::sensor("state", "State", phase)
        },
    ]
}

/// `field` of the member of `list` that is called `name`, in units of `unit`. One that is not in
/// the report is unknown: Home Assistant reads `None` as that.
fn picked(list: &str, name: &str, field: &str, unit: &str, digits: u8) -> String {
    format!(
        "{{% set value = {list} | selectattr('name', 'eq', {}) | map(attribute='{field}') | first \
         | default(None) %}}{{{{ None if value is none else (value / {unit}) | round({digits}) }}}}",
        quoted(name)
    )
}

/// `text` as a string of a template.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("'");
    for character in text.chars() {
        match character {
            '\'' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_template() {
        assert_eq!(quoted("it's \\ }}\n"), r"'it\'s \\ }}\u000a'");
    }
}
