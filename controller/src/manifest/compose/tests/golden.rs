//! Files as people write them: `examples/compose`, each with what it becomes.

use super::*;

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/compose");

fn example(name: &str) -> String {
    let text = std::fs::read_to_string(format!("{DIRECTORY}/{name}.yaml")).unwrap();
    let around = Surroundings {
        project: None,
        directory: name,
        variables: &BTreeMap::new(),
        profiles: &[],
        read: &|path| {
            std::fs::read_to_string(format!("{DIRECTORY}/{path}"))
                .map_err(|error| error.to_string())
        },
    };
    assert!(is_compose(&text), "{name}");
    let source = Source {
        name: "compose.yaml",
        text: &text,
    };
    let made = translate(source, around).unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
    let mut told = String::new();
    for warning in &made.warnings {
        let (line, message) = (warning.line, &warning.message);
        writeln!(told, "# {line}: {message}").unwrap();
    }
    let source = Source {
        name: "again.yaml",
        text: &made.text,
    };
    let context = Context {
        resources: &BTreeMap::new(),
        nodes: &BTreeSet::new(),
    };
    let again = crate::manifest::load(&[source], context).unwrap();
    let made_before: Vec<_> = made.resources().cloned().collect();
    assert_eq!(again.resources, made_before, "{name}: as it is written");
    assert!(!is_compose(&made.text), "{name}");
    told + &made.text
}

macro_rules! examples {
    ($($test:ident: $name:literal;)*) => {
        $(
            #[test]
            fn $test() {
                insta::assert_snapshot!($name, example($name));
            }
        )*

        #[test]
        fn every_example_is_here() {
            let mut found: Vec<String> = std::fs::read_dir(DIRECTORY)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
                .collect();
            found.sort();
            let mut known = vec![$($name),*];
            known.sort();
            assert_eq!(found, known);
        }
    };
}

examples! {
    home_assistant_with_its_broker_and_a_zigbee_stick: "home-assistant";
    pihole_has_the_boxs_ports_for_names: "pihole";
    grafana_prometheus_and_node_exporters: "monitoring";
    nextcloud_and_its_database: "nextcloud";
    traefik_and_whoami: "whoami";
    jellyfin_with_a_video_device: "jellyfin";
    wireguard_with_capabilities: "wireguard";
    node_red: "node-red";
    what_is_built_or_in_a_profile: "build-and-profiles";
    a_cache_that_can_write_nothing: "sysctls";
}
