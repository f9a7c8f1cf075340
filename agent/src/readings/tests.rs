//! One report in all its words, and what holds of any report. The parser is of this file's own,
//! written from the description of the text format and not from what writes it.

use super::config::TopicPrefix;
use super::entities::{Shape, render};
use super::metrics::Readings;
use crate::status::example;
use kc_agent_api::{
    BootId, BoxLoad, ContainerLoad, ContainerPhase, ContainerState, LoadReport, NetworkLoad,
    NodeState, PathLoad, Stamp, encode,
};
use kc_forwarder_api::{Counters, DropReason, Si, Spi};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn report() -> LoadReport {
    LoadReport {
        at: Stamp {
            boot: BootId("b00".into()),
            mono_ms: 5,
            wall_ms: 6,
        },
        machine: BoxLoad {
            cpu_percent: 25.0,
            load_1m: 0.5,
            memory_used_bytes: 100,
            memory_total_bytes: 400,
            disk_used_bytes: 7,
            disk_total_bytes: 8,
            temperature_c: Some(48.5),
            throttled: Some(false),
            uptime_s: 9,
            networks: vec![network("eth0")],
        },
        containers: vec![ContainerLoad {
            name: "fw-1".into(),
            cpu_percent: 50.0,
            memory_bytes: 10,
            memory_limit_bytes: Some(20),
            rx_packets: 1,
            tx_packets: 2,
            rx_bytes: 3,
            tx_bytes: 4,
        }],
        paths: vec![PathLoad {
            spi: Spi::new(3).unwrap(),
            si: Si::MAX,
            packets: 4,
            bytes: 5,
        }],
        drops: [(DropReason::NoPath, 6)].into(),
        draining: vec![],
        round_trips: Vec::new(),
    }
}

fn network(name: &str) -> NetworkLoad {
    NetworkLoad {
        name: name.into(),
        rx_bytes: 11,
        tx_bytes: 12,
        rx_packets: 13,
        tx_packets: 14,
        speed_mbit: None,
    }
}

fn container(name: &str) -> ContainerState {
    ContainerState {
        name: name.into(),
        id: "x".into(),
        image: "i".into(),
        phase: ContainerPhase::Running,
        exit_code: None,
        restarts: 2,
        started_at: None,
        error: None,
        health: None,
        digest: None,
        former: false,
        rolled_back: None,
        on_trial: false,
    }
}

fn readings(load: LoadReport, counters: Option<Counters>) -> Readings {
    let names = load.containers.iter().map(|load| container(&load.name));
    Readings {
        domain: "lab".parse().unwrap(),
        node: "pi-1".parse().unwrap(),
        state: NodeState {
            containers: names.collect(),
            ..NodeState::default()
        },
        load,
        counters,
    }
}

fn counters() -> Counters {
    serde_json::from_value(json!({
        "ports": [{"name": "kc1i", "rx-packets": 1, "rx-bytes": 2, "tx-packets": 3, "tx-bytes": 4,
                   "rx-dropped": 5}],
        "paths": [{"spi": 3, "si": 255, "packets": 4, "bytes": 5}],
        "tunnels": [{"remote": "192.168.50.2", "vni": 100, "encapsulation": "vxlan-gpe",
                     "rx-packets": 1, "rx-bytes": 2, "tx-packets": 3, "tx-bytes": 4}],
        "rules": [{"name": "web/1", "packets": 7, "bytes": 8}],
        "underlay": {"rx-dropped": 9},
        "drops": {"no-path": 6},
    }))
    .unwrap()
}

#[test]
fn a_report_as_json_has_every_value_under_a_name_of_its_own() {
    let report: Value = serde_json::from_slice(&encode(&report()).unwrap()).unwrap();
    assert_eq!(report["box"]["cpu-percent"], 25.0);
    assert_eq!(report["box"]["networks"][0]["rx-bytes"], 11);
    assert_eq!(report["containers"][0]["memory-bytes"], 10);
    assert_eq!(report["drops"]["no-path"], 6);
}

#[test]
fn the_same_report_as_prometheus_reads_it() {
    let page = readings(report(), Some(counters())).page();
    let version = concat!(",version=\"", env!("CARGO_PKG_VERSION"), "\"} 1");
    let page = page.replace(version, ",version=\"0\"} 1");
    let expected = include_str!("page.golden");
    assert_eq!(page, expected, "as it is now:\n{page}");
}

#[test]
fn without_a_forwarder_nothing_is_said_of_it_but_that() {
    let page = readings(report(), None).page();
    assert!(page.contains("kcluster_forwarder_up{domain=\"lab\",node=\"pi-1\"} 0\n"));
    assert_eq!(page.matches("\nkcluster_forwarder_").count(), 1);
}

type Labels = BTreeMap<String, String>;

/// The samples of a page, checked against the text format.
fn parsed(page: &str) -> BTreeMap<(String, Labels), f64> {
    let mut samples = BTreeMap::new();
    let mut families = BTreeSet::new();
    let mut family = (String::new(), String::new());
    assert!(page.ends_with('\n'));
    for line in page[..page.len() - 1].split('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "{name} comes twice");
            family = (name.to_owned(), String::new());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, family.0);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(["counter", "gauge"].contains(&kind));
            family.1 = kind.to_owned();
        } else {
            let (name, rest) = line.split_once('{').unwrap();
            assert_eq!(name, family.0);
            assert!(!family.1.is_empty(), "{name} has no type");
            let (labels, number) = labels(rest);
            let number = number.strip_prefix(' ').unwrap().parse().unwrap();
            let again = samples.insert((name.to_owned(), labels), number);
            assert_eq!(again, None, "{line} comes twice");
        }
    }
    samples
}

/// Labels up to the closing brace, and what is behind it.
fn labels(text: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        let (name, behind) = rest.split_once("=\"").unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_lowercase()), "{name}");
        let mut value = String::new();
        let mut characters = behind.chars();
        loop {
            match characters.next().unwrap() {
                '"' => break,
                '\\' => value.push(match characters.next().unwrap() {
                    'n' => '\n',
                    plain @ ('\\' | '"') => plain,
                    other => panic!("\\{other} is no escape"),
                }),
                other => value.push(other),
            }
        }
        assert_eq!(labels.insert(name.to_owned(), value), None);
        rest = characters.as_str();
        match rest.split_at(1) {
            (",", more) => rest = more,
            ("}", more) => return (labels, more),
            _ => panic!("{rest}"),
        }
    }
}

fn names() -> impl Strategy<Value = BTreeSet<String>> {
    let hostile = proptest::sample::select(vec!["", "\"", "\\", "\n", "}", "{{x}}", "'", "ü\u{0}"]);
    btree_set(
        prop_oneof![any::<String>(), hostile.prop_map(str::to_owned)],
        0..5,
    )
}

fn any_report() -> impl Strategy<Value = LoadReport> {
    let numbers = vec(any::<u64>(), 5);
    let parts = (
        names(),
        names(),
        any::<f32>(),
        option::of(any::<f32>()),
        numbers,
    );
    parts.prop_map(|(networks, containers, cpu, temperature_c, numbers)| {
        let mut report = report();
        report.machine.cpu_percent = cpu;
        report.machine.load_1m = cpu;
        report.machine.temperature_c = temperature_c;
        report.machine.throttled = temperature_c.map(|heat| heat > 0.0);
        report.machine.memory_used_bytes = numbers[0];
        report.machine.memory_total_bytes = numbers[1];
        report.machine.networks = networks.iter().map(|name| network(name)).collect();
        let load = containers.into_iter().map(|name| ContainerLoad {
            name,
            cpu_percent: cpu,
            memory_bytes: numbers[2],
            memory_limit_bytes: (numbers[3] % 2 == 0).then_some(numbers[3]),
            rx_bytes: numbers[4],
            ..ContainerLoad::default()
        });
        report.containers = load.collect();
        report
    })
}

proptest! {
    #[test]
    fn any_report_is_a_page_that_can_be_read(report in any_report(), known in any::<bool>()) {
        let readings = readings(report, known.then(counters));
        let samples = parsed(&readings.page());
        let common = [("domain", "lab"), ("node", "pi-1")];
        for container in &readings.load.containers {
            let mut labels = Labels::from(common.map(|(n, v)| (n.to_string(), v.to_string())));
            labels.insert("container".into(), container.name.clone());
            let key = ("kcluster_container_memory_used_bytes".to_owned(), labels);
            prop_assert_eq!(samples.get(&key), Some(&(container.memory_bytes as f64)));
        }
        for (_, labels) in samples.keys() {
            prop_assert_eq!(labels["node"].as_str(), "pi-1");
        }
    }

    #[test]
    fn any_report_has_legal_discovery_topics(report in any_report()) {
        let readings = readings(report, None);
        let shape = Shape::of(&readings.load, &readings.state, 1);
        let all = render(&TopicPrefix::default(), &example(), &shape);
        let different = readings.state.containers.len() + shape.interfaces.len() + 1;
        let sensors = usize::from(shape.temperature) + usize::from(shape.throttled);
        prop_assert_eq!(all.len(), different + sensors, "no two share a topic");
        for (topic, payload) in all {
            let levels: Vec<_> = topic.split('/').collect();
            prop_assert_eq!(levels.len(), 5);
            let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            prop_assert!(levels[2..4].iter().all(|level| level.bytes().all(legal)), "{}", topic);
            let config: Value = serde_json::from_slice(&payload).unwrap();
            for entity in config["components"].as_object().unwrap().values() {
                let template = entity["value_template"].as_str().unwrap();
                prop_assert!(!template.contains(|c: char| c.is_control()), "{}", template);
            }
        }
    }
}
