//! What cannot be had, and what people are told to write instead.

use super::*;

/// Everything that is refused, with the word on what to do.
#[test]
fn what_is_refused_is_told_with_its_place_and_a_way_out() {
    let keys = [
        "privileged: true",
        "network_mode: bridge",
        "network_mode: \"container:db\"",
        "pid: host",
        "ipc: host",
        "links: [db]",
        "extends: {file: common.yaml, service: web}",
        "security_opt: [no-new-privileges:true]",
        "cap_drop: [ALL]",
        "ulimits: {nofile: 65536}",
        "extra_hosts: [\"db:10.0.0.1\"]",
        "gpus: all",
        "stop_signal: SIGINT",
        "imge: web:2",
        "restart: sometimes",
        "pull_policy: daily",
        "ports: [\"8080:80\"]",
        "ports: [\"127.0.0.1:80:80\"]",
        "ports: [\"80:80:80:80\"]",
        "ports: [\"80-82:80\"]",
        "ports: [\"0\"]",
        "ports: [\"80/http\"]",
        "ports: [{published: 80}]",
        "ports: [{target: 80, publised: 80}]",
        "ports: 80",
        "volumes: [\"./data:/data\"]",
        "volumes: [\"~/data:/data\"]",
        "volumes: [\"/data\"]",
        "volumes: [\"data:/data\"]",
        "volumes: [\"/a:/b:/c:/d\"]",
        "volumes: [\"/a:/b:rshared\"]",
        "volumes: [{type: npipe, source: a, target: /b}]",
        "volumes: [{type: bind, source: /a}]",
        "volumes: [\"/a:data\"]",
        "tmpfs: [\"/tmp:size=big\"]",
        "devices: [ttyUSB0]",
        "devices: [\"vendor.com/class=device\"]",
        "environment: [A=1, {B: 2}]",
        "environment: {A: [1]}",
        "environment: {UMASK: 022}",
        "env_file: missing.env",
        "command: \"echo 'a\"",
        "command: []",
        "entrypoint: \"\"",
        "healthcheck: {interval: 10s}",
        "healthcheck: {test: [curl, localhost]}",
        "healthcheck: {test: true, interval: 10}",
        "healthcheck: {test: true, interval: 10ms}",
        "healthcheck: {test: true, retires: 3}",
        "depends_on: [db]",
        "depends_on: {web: {condition: service_completed_successfully}}",
        "depends_on: [web]",
        "deploy: {mode: global}",
        "deploy: {replicas: many}",
        "deploy: {replicas: 100000}",
        "deploy: {placement: {constraints: [\"node.hostname != a\"]}}",
        "deploy: {placement: {constraints: [\"node.role == manager\"]}}",
        "deploy: {placement: {constraints: [\"node.platform.arch == arm64\"]}}",
        "deploy: {resources: {limits: {cpus: lots}}}",
        "deploy: {resources: {limits: {memory: 64 elephants}}}",
        "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}",
        "mem_limit: -1",
        "stop_grace_period: 1h",
        "stop_grace_period: soon",
        "configs: [settings]",
        "configs: [{target: /etc/x}]",
        "secrets: [token]",
        "read_only: perhaps",
        "hostname: a_b",
        "user: \"a b\"",
        "cap_add: NET_ADMIN\nnetworks: {default: {ipv4_address: 10.0.0.9}}",
        "sysctls: {net.ipv4.ip_forward: 1}\nnetwork_mode: host",
        "command: [\"$\"]",
        "command: [\"${SET\"]",
        "command: [\"${NOT_SET:?which one?}\"]",
    ];
    let mut told = String::new();
    for key in keys {
        let errors = translated(&service(key, "")).expect_err(key);
        writeln!(told, "{key}").unwrap();
        for error in errors {
            assert!(error.line >= 2, "{key}: {error:?}");
            let (line, column, message) = (error.line, error.column, error.message);
            writeln!(told, "  {line}:{column} {message}").unwrap();
            writeln!(told, "    -> {}", error.hint.unwrap_or_default()).unwrap();
        }
    }
    insta::assert_snapshot!("refused", told);
}

#[test]
fn what_is_wrong_with_the_whole_file_is_told() {
    let more = |text: &str| service("volumes: [\"data:/data\"]\nconfigs: [conf]", text);
    let files = [
        "services: {}\n".to_owned(),
        "services: [web]\n".to_owned(),
        "services:\n  web:\n".to_owned(),
        "services:\n  web: {build: .}\n".to_owned(),
        "services:\n  web: {image: a}\n  Web: {image: a}\n".to_owned(),
        "services:\n  web: {image: a, profiles: [x]}\n".to_owned(),
        format!("services:\n  {}: {{image: a}}\n", "x".repeat(60)),
        "name: '!'\nservices:\n  web: {image: a}\n".to_owned(),
        "service:\n  web: {image: a}\n".to_owned(),
        "include: [other.yaml]\nservices:\n  web: {image: a}\n".to_owned(),
        "networks: {a: {driver: macvlan}}\nservices:\n  web: {image: a}\n".to_owned(),
        "networks: {a: {internal: true}}\nservices:\n  web: {image: a}\n".to_owned(),
        "services:\n  a: {image: a, depends_on: [b]}\n  b: {image: a, depends_on: [a]}\n"
            .to_owned(),
        "services:\n  web: {image: a}\n---\nservices:\n  db: {image: a}\n".to_owned(),
        "services:\n  web: {image: a\n".to_owned(),
        "services:\n  web: {image: a, image: b}\n".to_owned(),
        "services:\n  web:\n    <<: *nobody\n".to_owned(),
        more("volumes: {data: {external: true}}\nconfigs: {conf: {file: there.conf}}\n"),
        more("volumes: {data: {driver: nfs}}\nconfigs: {conf: {external: true}}\n"),
        more("volumes: {data: {driver_opts: {type: nfs}}}\nconfigs: {conf: {file: gone}}\n"),
        more("volumes: {data: }\nconfigs: {conf: {environment: NOT_SET}}\n"),
        more("volumes: {data: }\nconfigs: {conf: {}}\n"),
        service(
            "secrets: [a, b, c]",
            "secrets: {a: {external: true}, b: {file: gone}, c: {environment: GONE}}\n",
        ),
        service(
            "secrets: [{source: a, mode: \"0100\"}]",
            "secrets: {a: {environment: SET}}\n",
        ),
        service(
            "secrets: [{source: a, target: ../x}]",
            "secrets: {a: {environment: SET}}\n",
        ),
        service("secrets: [A b]", "secrets: {A b: {environment: SET}}\n"),
    ];
    let mut told = String::new();
    for file in files {
        let errors = translated(&file).expect_err(&file);
        writeln!(told, "{file}").unwrap();
        for error in errors {
            let (line, column, message) = (error.line, error.column, error.message);
            writeln!(told, "  {line}:{column} {message}").unwrap();
            writeln!(told, "    -> {}", error.hint.unwrap_or_default()).unwrap();
        }
    }
    insta::assert_snapshot!("whole-files", told);
}

#[test]
fn a_compose_file_is_no_manifest_and_the_other_way_round() {
    assert!(is_compose("services:\n  web: {image: a}\n"));
    assert!(is_compose("{\"services\": {\"web\": {\"image\": \"a\"}}}"));
    assert!(
        is_compose("services:\n  web: {image: [\n"),
        "broken, but meant"
    );
    assert!(!is_compose("kind: Chain\nservices: 1\n"));
    assert!(!is_compose(
        "apiVersion: kcluster/v1\nkind: Service\nmetadata: {name: services}\n"
    ));
    assert!(!is_compose(""));
    assert!(!is_compose("- services:\n"));
    let context = Context {
        resources: &BTreeMap::new(),
        nodes: &BTreeSet::new(),
    };
    let source = Source {
        name: "f",
        text: "services:\n  web: {image: a}\n",
    };
    let errors = crate::manifest::load(&[source], context).unwrap_err();
    assert!(
        errors[0].to_string().contains("kc apply -f translates it"),
        "{errors:?}"
    );
}
