//! Details of the translation, and that nothing makes it fall over.

use super::*;
use crate::resource::{HealthSpec, ServiceNetwork};
use kc_agent_api::Restart;
use proptest::prelude::*;

#[test]
fn what_is_not_said_is_as_compose_has_it_where_that_matters() {
    let spec = spec("");
    assert_eq!((spec.replicas, spec.network), (1, ServiceNetwork::Overlay));
    assert_eq!(spec.stop_timeout.unwrap().to_string(), "10s");
    assert_eq!(spec.restart, Restart::Always);
    assert_eq!(spec.health, None);
}

#[test]
fn ports_put_a_service_on_the_boxs_network_when_they_are_published() {
    for (ports, network, numbers) in [
        ("[80]", ServiceNetwork::Overlay, vec![80]),
        ("[\"80-82/udp\"]", ServiceNetwork::Overlay, vec![80, 81, 82]),
        ("[\"80:80\", 9000]", ServiceNetwork::Host, vec![80, 9000]),
        ("[\"0.0.0.0:80:80\"]", ServiceNetwork::Host, vec![80]),
        ("[\"[::]:80:80\"]", ServiceNetwork::Host, vec![80]),
        (
            "[{target: 80, published: 80}]",
            ServiceNetwork::Host,
            vec![80],
        ),
        ("[{target: 80}]", ServiceNetwork::Overlay, vec![80]),
    ] {
        let spec = spec(&format!("ports: {ports}"));
        let found: Vec<u16> = spec.ports.iter().map(|port| port.port).collect();
        assert_eq!((spec.network, found), (network, numbers), "{ports}");
    }
    let spec = spec("ports: [\"8080:80\"]\nnetwork_mode: host");
    assert_eq!(
        spec.ports[0].port, 80,
        "as Docker, which maps nothing there"
    );
}

#[test]
fn variables_come_from_files_the_environment_and_the_file_itself() {
    let spec = spec(
        "env_file: [there.env, {path: gone.env, required: false}]\n\
         environment: {BOTH: \"${SET} $$1\", SET: , NOT_SET: , EMPTY: \"\", NUMBER: 1.50, YES: yes, NO: false}",
    );
    let expected = [
        ("BOTH", "set $1"),
        ("EMPTY", ""),
        ("FROM_FILE", "1"),
        ("NO", "false"),
        ("NUMBER", "1.5"),
        ("SET", "set"),
        ("YES", "yes"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(spec.env, BTreeMap::from(expected));
}

#[test]
fn entry_points_and_commands_are_ours_under_other_names() {
    for (keys, command, args) in [
        ("command: a b", vec![], vec!["a", "b"]),
        (
            "entrypoint: a 'b c'\ncommand: [d]",
            vec!["a", "b c"],
            vec!["d"],
        ),
        ("entrypoint: []\ncommand: a b", vec!["a", "b"], vec![]),
    ] {
        let spec = spec(keys);
        assert_eq!(
            (spec.command, spec.args),
            (
                command.iter().map(|w| (*w).to_owned()).collect(),
                args.iter().map(|w| (*w).to_owned()).collect()
            ),
            "{keys}"
        );
    }
}

#[test]
fn checks_run_as_docker_runs_them() {
    let exec = |keys: &str| spec(keys).health.unwrap();
    let shell = exec("healthcheck: {test: a | b, retries: 5}");
    assert_eq!(shell.exec.unwrap(), ["/bin/sh", "-c", "a | b"]);
    assert_eq!(shell.failure_threshold, Some(5));
    assert_eq!(shell.interval.unwrap().to_string(), "30s");
    let none = HealthSpec {
        disable: true,
        ..HealthSpec::default()
    };
    assert_eq!(exec("healthcheck: {test: [NONE]}"), none);
    assert_eq!(exec("healthcheck: {disable: true, interval: 1s}"), none);
}

#[test]
fn numbers_may_be_variables_and_the_newer_key_wins() {
    let spec = spec(
        "scale: 1\nmem_limit: 64m\ncpus: 0.5\n\
         deploy: {replicas: \"${COUNT}\", resources: {limits: {memory: 1g, cpus: \"2\"}}}",
    );
    assert_eq!(spec.replicas, 2);
    assert_eq!(spec.resources.memory.unwrap().to_string(), "1Gi");
    assert_eq!(spec.resources.cpu.unwrap().to_string(), "2");
}

#[test]
fn a_project_is_called_as_the_caller_the_file_or_the_directory_says() {
    let named = |name: &str, project: Option<&str>, directory: &str| {
        let text = format!("{name}services: {{web: {{image: a}}}}\n");
        let around = Surroundings {
            project,
            directory,
            variables: &BTreeMap::new(),
            profiles: &[],
            read: &|_| Err(String::new()),
        };
        let source = Source {
            name: "f",
            text: &text,
        };
        let made = translate(source, around).unwrap();
        made.resources().last().unwrap().name().to_string()
    };
    assert_eq!(named("", None, "My_Lab.1"), "my-lab-1-web");
    assert_eq!(named("name: own\n", None, "lab"), "own-web");
    assert_eq!(named("name: own\n", Some("said"), "lab"), "said-web");
}

#[test]
fn profiles_are_turned_on_by_name() {
    let text = "services:\n  a: {image: a}\n  b: {image: b, profiles: [x, y]}\n";
    let names = |profiles: &[&str]| {
        let profiles: Vec<String> = profiles.iter().map(|p| (*p).to_owned()).collect();
        let around = Surroundings {
            project: None,
            directory: "lab",
            variables: &BTreeMap::new(),
            profiles: &profiles,
            read: &|_| Err(String::new()),
        };
        let made = translate(Source { name: "f", text }, around).unwrap();
        made.resources().count()
    };
    assert_eq!(
        (names(&[]), names(&["z"]), names(&["y"]), names(&["*"])),
        (1, 1, 2, 2)
    );
}

#[test]
fn lines_of_a_translation_lead_back_to_their_services() {
    let text = "services:\n  a: {image: a}\n  b: {image: b}\n";
    let made = translated(text).unwrap();
    let second = made
        .text
        .lines()
        .position(|line| line.contains("lab-b"))
        .unwrap();
    assert_eq!(
        made.origin(u64::try_from(second + 1).unwrap()),
        ((3, 3), "services.b")
    );
    assert_eq!(made.origin(2), ((2, 3), "services.a"));
}

#[test]
fn laughter_and_hosts_of_mistakes_end_soon() {
    let mut laughs = "x-a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for (new, old) in ["b", "c", "d", "e", "f", "g", "h"]
        .iter()
        .zip(["a", "b", "c", "d", "e", "f", "g"])
    {
        let all = vec![format!("*{old}"); 9].join(", ");
        writeln!(laughs, "x-{new}: &{new} [{all}]").unwrap();
    }
    laughs.push_str("services: {web: {image: a, command: *h}}\n");
    assert!(translated(&laughs).is_err());
    let mut wrong = "services:\n".to_owned();
    for at in 0..20_000 {
        writeln!(
            wrong,
            "  s{at}: {{image: a, privileged: true, container_name: x}}"
        )
        .unwrap();
    }
    assert_eq!(translated(&wrong).unwrap_err().len(), 20);
}

/// Pieces that files are made of, and that somebody may put together in any way.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "services:",
        "web:",
        "image: a",
        "ports:",
        "- 80:80",
        "- \"1-9:1-9/udp\"",
        "volumes:",
        "- /a:/b",
        "- a:/b",
        "environment:",
        "A: ${B:-${C}}",
        "- A=$$",
        "<<: *a",
        "&a",
        "x-a: &a {b: c}",
        "healthcheck: {test: [CMD]}",
        "deploy: {replicas: 2}",
        "depends_on: [web]",
        "configs: [a]",
        "entrypoint: ''",
        "command: \"a 'b\"",
        "networks: {a: }",
        "cpus: 1e9",
        "mem_limit: 9999999999999g",
        "{",
        "}",
        "[",
        "]",
        ":",
        "-",
        "name: a",
        "\u{e9}: \u{1f980}",
        "---",
        "scale: ~",
    ];
    let indented = (0_usize..4, prop::sample::select(words.to_vec()));
    indented.prop_map(|(depth, word)| format!("{}{word}\n", "  ".repeat(depth)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_is_translated_or_refused_with_a_place(pieces in prop::collection::vec(piece(), 0..24)) {
        judge(&pieces.concat());
    }

    #[test]
    fn whatever_a_value_is_nothing_falls_over(key in prop::sample::select(keys::SERVICE.map(|(key, _)| key).to_vec()), value in "[ -~\u{e9}]{0,24}") {
        judge(&service(&format!("{key}: {value}"), ""));
        judge(&service(&format!("{key}: [{value}]"), ""));
        judge(&service(&format!("{key}: {{a: {value}}}"), ""));
    }

    #[test]
    fn files_of_variables_are_read_or_refused(text in "[A-C=:'\"\\\\$\\{\\}#\n \u{e9}-]{0,60}") {
        let _ = variables(".env", &text, &BTreeMap::new());
        let _ = interpolate::interpolate(&text, &|_| None);
        let _ = shell::split(&text);
    }
}

fn judge(text: &str) {
    let lines = text.lines().count();
    match translated(text) {
        Ok(made) => {
            assert!(made.resources().count() > 0);
            assert!(
                made.warnings
                    .iter()
                    .all(|w| usize::try_from(w.line).unwrap() <= lines)
            );
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(
                errors
                    .iter()
                    .all(|e| usize::try_from(e.line).unwrap() <= lines + 1),
                "{errors:?}"
            );
        }
    }
}
