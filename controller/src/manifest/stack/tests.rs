//! Templates: what is expanded, and what is said of mistakes and where.

use super::Parameters;
use crate::manifest::{Asked, Context, Loaded, ManifestError, Source, load_with};
use crate::resource::{Name, Resource, ResourceId, Stack};
use kc_agent_api::NodeName;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SHOP: &str = include_str!("../../../examples/stack/shop.yaml");
const SHOP_PARAMETERS: &str = include_str!("../../../examples/stack/shop.parameters.yaml");

/// What exists already.
#[derive(Default)]
struct World {
    resources: BTreeMap<ResourceId, Resource>,
    stacks: BTreeMap<Name, Stack>,
    adopt: bool,
}

impl World {
    fn load(&self, text: &str, given: &[&str]) -> Result<Loaded, Vec<ManifestError>> {
        let nodes = ["box1", "box2"].map(|name| NodeName::new(name).unwrap());
        let nodes: BTreeSet<_> = nodes.into_iter().collect();
        let parameters = Parameters {
            single: given.iter().map(|text| (*text).to_owned()).collect(),
            files: Vec::new(),
        };
        self.load_with(text, &nodes, &parameters)
    }

    fn load_with(
        &self,
        text: &str,
        nodes: &BTreeSet<NodeName>,
        parameters: &Parameters,
    ) -> Result<Loaded, Vec<ManifestError>> {
        let context = Context {
            resources: &self.resources,
            nodes,
        };
        let asked = Asked {
            stacks: &self.stacks,
            parameters,
            adopt: self.adopt,
        };
        let name = "s.yaml";
        load_with(&[Source { name, text }], context, asked)
    }

    /// Takes up what was loaded.
    fn with(mut self, loaded: Loaded) -> Self {
        let resources = loaded.resources.into_iter();
        self.resources.extend(resources.map(|r| (r.id(), r)));
        let stacks = loaded.stacks.into_iter();
        self.stacks
            .extend(stacks.map(|s| (s.metadata.name.clone(), s)));
        self
    }
}

fn told(errors: &[ManifestError]) -> String {
    let each: Vec<_> = errors.iter().map(ToString::to_string).collect();
    each.join("\n")
}

/// A stack of one service.
const SMALL: &str = "\
apiVersion: kcluster/v1
kind: Stack
metadata: {name: shop}
spec:
  parameters:
    replicas: {type: number, default: 2, constraints: {range: {min: 1, max: 5}}}
    image: {type: string}
    size: {type: string, default: small, constraints: {allowedValues: [small, large]}}
    key: {type: string, hidden: true, default: secret}
  resources:
    - apiVersion: kcluster/v1
      kind: Service
      metadata:
        name: web
        labels: {size: \"${size}\", version: 1.10}
      spec:
        image: ${image}
        replicas: ${replicas}
        env: {A: a}
  outputs:
    count: {value: \"${service/web.replicas}\"}
";

/// The small one without its hidden parameter, which has a default and must not.
fn small() -> String {
    SMALL.replace(
        "    key: {type: string, hidden: true, default: secret}\n",
        "",
    )
}

#[test]
fn the_example_becomes_what_its_parameters_say() {
    let world = World::default();
    let nodes = ["box1", "box2"].map(|name| NodeName::new(name).unwrap());
    let nodes: BTreeSet<_> = nodes.into_iter().collect();
    let parameters = Parameters {
        single: vec!["replicas=3".into(), "tags=a, 7,b".into()],
        files: vec![("p.yaml".into(), SHOP_PARAMETERS.into())],
    };
    let loaded = world.load_with(SHOP, &nodes, &parameters).unwrap();
    assert_eq!(loaded.warnings, []);
    let Resource::Service(web) = &loaded.resources[1] else {
        panic!("{:?}", loaded.resources[1]);
    };
    assert_eq!(web.spec.replicas, 3);
    assert_eq!(web.spec.args, ["a", "7", "b"]);
    assert_eq!(web.spec.env["HOME_PAGE"], "https://${HOST}/");
    assert_eq!(web.spec.env["VERBOSE"], "false");
    assert_eq!(web.metadata.labels["size"], "large");
    let Resource::Secret(secret) = &loaded.resources[0] else {
        panic!("{:?}", loaded.resources[0]);
    };
    let value = secret.keys["url"].value.as_ref().unwrap();
    assert_eq!(
        value.reveal(),
        b"postgres://shop:correct-horse-battery@db/shop"
    );
    let stack = serde_json::to_string_pretty(&loaded.stacks).unwrap();
    assert!(!stack.contains("correct-horse"), "{stack}");
    assert_eq!(
        serde_json::from_str::<Vec<Stack>>(&stack).unwrap(),
        loaded.stacks
    );
    insta::assert_snapshot!(stack);
    // The same again is the same.
    let again = World::default()
        .with(loaded.clone())
        .load_with(SHOP, &nodes, &parameters)
        .unwrap();
    assert_eq!(again.stacks, loaded.stacks);
}

#[test]
fn a_number_keeps_the_form_it_was_written_in() {
    let loaded = World::default().load(&small(), &["image=web:2"]).unwrap();
    assert_eq!(loaded.resources[0].metadata().labels["version"], "1.10");
}

#[test]
fn wrong_parameters_are_told_what_would_be_right() {
    for (given, place, word) in [
        (
            &["replcas=3", "image=a"][..],
            "-p replcas:",
            "did you mean replicas?",
        ),
        (
            &[],
            "s.yaml:7:12:",
            "parameter image has no default and was not given: -p image=STRING",
        ),
        (
            &["image=a", "replicas=many"],
            "-p replicas:",
            "must be a number",
        ),
        (&["image=a", "replicas=9"], "-p replicas:", "must be 1 to 5"),
        (&["image=a", "size=smal"], "-p size:", "did you mean small?"),
        (&["image"], "-p:", "NAME=VALUE"),
        (
            &["image=a", "replicas=1.5"],
            "s.yaml:17:19:",
            "whole number",
        ),
    ] {
        let errors = World::default().load(&small(), given).unwrap_err();
        let text = told(&errors);
        assert!(
            text.contains(place) && text.contains(word),
            "{given:?}: {text}"
        );
    }
    let text = told(&World::default().load(SMALL, &["image=a"]).unwrap_err());
    assert!(
        text.contains("s.yaml:9:48") && text.contains("for all to read"),
        "{text}"
    );
    assert!(!text.contains("default: secret"), "{text}");
}

#[test]
fn mistakes_of_templates_are_told_at_their_place() {
    for (from, to, place, word) in [
        (
            "${replicas}",
            "${replcas}",
            "s.yaml:17:19:",
            "did you mean replicas?",
        ),
        ("${replicas}", "${replicas", "s.yaml:17:19:", "has no end"),
        ("${replicas}", "${image}", "s.yaml:17:19:", "whole number"),
        (
            "replicas: ${replicas}",
            "replcas: 3",
            "s.yaml:17:9:",
            "did you mean replicas?",
        ),
        (
            "env: {A: a}",
            "env: {A: ${image}}",
            "s.yaml:18:",
            "needs quotes",
        ),
        (
            "env: {A: a}",
            "env: {\"${image}\": a}",
            "s.yaml:18:15:",
            "not the name of a field",
        ),
        ("name: web", "name: w_b", "s.yaml:13:15:", "a-z 0-9 -"),
        (
            "kind: Service",
            "kind: Srvice",
            "s.yaml:11:13:",
            "did you mean Service?",
        ),
        (
            "kind: Service",
            "kind: Stack",
            "s.yaml:10:7:",
            "no other stacks",
        ),
        (
            "kind: Service",
            "kind: ${image}",
            "s.yaml:11:13:",
            "written out",
        ),
        (
            "type: number",
            "type: numbr",
            "s.yaml:6:",
            "did you mean number?",
        ),
        (
            "range: {min: 1, max: 5}",
            "rnge: {min: 1}",
            "s.yaml:6:",
            "did you mean range?",
        ),
        (
            "range: {min: 1, max: 5}",
            "range: {min: 7, max: 5}",
            "s.yaml:6:",
            "7 is more than 5",
        ),
        (
            "range: {min: 1, max: 5}",
            "length: {min: 1}",
            "s.yaml:6:",
            "string or list",
        ),
        (
            "range: {min: 1, max: 5}",
            "range: {min: 3}",
            "s.yaml:6:39:",
            "3 or more",
        ),
        (
            "image: {type: string}",
            "image: {type: string, constraints: {allowedPattern: '('}}",
            "s.yaml:7:",
            "regular expression",
        ),
        (
            "image: {type: string}",
            "image: {type: string}\n    stack: {type: string}",
            "s.yaml:8:",
            "name of the stack already",
        ),
        (
            "image: {type: string}",
            "image: {type: string, constraints: {allowedPattern: '[b-z]+'}}",
            "-p image:",
            "does not match",
        ),
        (
            "${service/web.replicas}",
            "${service/web.replcas}",
            "s.yaml:20:21:",
            "did you mean replicas?",
        ),
        (
            "${service/web.replicas}",
            "${service/wbe.replicas}",
            "s.yaml:20:21:",
            "did you mean service/web?",
        ),
        (
            "${service/web.replicas}",
            "${replcas}",
            "s.yaml:20:21:",
            "did you mean replicas?",
        ),
        (
            "env: {A: a}",
            "env: {A: \"${service/web.ready}\"}",
            "s.yaml:18:19:",
            "only outputs",
        ),
        (
            "  outputs:",
            "  ouputs:",
            "s.yaml:19:3:",
            "did you mean outputs?",
        ),
    ] {
        let text = small();
        assert!(text.contains(from), "{from}");
        let text = text.replacen(from, to, 1);
        let errors = World::default().load(&text, &["image=a"]).unwrap_err();
        let told = told(&errors);
        assert!(told.contains(place) && told.contains(word), "{to}: {told}");
        assert_eq!(errors.len(), 1, "{to}: {told}");
    }
}

#[test]
fn a_hidden_parameter_goes_into_a_secret_and_nowhere_else() {
    let hidden = small().replacen(
        "image: {type: string}",
        "image: {type: string, hidden: true}",
        1,
    );
    let text = told(
        &World::default()
            .load(&hidden, &["image=xyzzy"])
            .unwrap_err(),
    );
    assert!(
        text.contains("s.yaml:16:16:") && text.contains("stringData of a Secret"),
        "{text}"
    );
    assert!(!text.contains("xyzzy"), "{text}");
    let secret = "\
apiVersion: kcluster/v1
kind: Stack
metadata: {name: shop}
spec:
  parameters:
    key: {type: string, hidden: true, constraints: {length: {min: 6}}}
    user: {type: string, default: me}
  resources:
    - apiVersion: kcluster/v1
      kind: Secret
      metadata: {name: db}
      stringData: {key: \"a ${key}\", fixed: plugh-plugh}
";
    let loaded = World::default().load(secret, &["key=xyzzy-xyzzy"]).unwrap();
    let kept = format!(
        "{:?} {}",
        loaded,
        serde_json::to_string(&loaded.stacks).unwrap()
    );
    assert!(!kept.contains("xyzzy") && !kept.contains("plugh"), "{kept}");
    assert_eq!(loaded.warnings, []);
    for (from, to, word) in [
        ("name: db", "name: \"${key}\"", "put it into stringData"),
        (
            "\"a ${key}\"",
            "\"a ${key}\", \"${key}\": x",
            "not the name of a field",
        ),
    ] {
        let text = told(
            &World::default()
                .load(&secret.replacen(from, to, 1), &["key=xyzzy-xyzzy"])
                .unwrap_err(),
        );
        assert!(
            text.contains(word) && !text.contains("xyzzy"),
            "{to}: {text}"
        );
    }
    let short = told(&World::default().load(secret, &["key=xyzzy"]).unwrap_err());
    assert!(
        short.contains("5 characters") && !short.contains("xyzzy"),
        "{short}"
    );
    let shown = World::default()
        .load(
            &secret.replacen("a ${key}", "a ${user}", 1),
            &["key=xyzzy-xyzzy"],
        )
        .unwrap();
    assert!(
        told(&shown.warnings).contains("write hidden: true"),
        "{:?}",
        shown.warnings
    );
    let output = format!("{secret}  outputs: {{a: {{value: \"${{key}}\"}}}}\n");
    let text = told(
        &World::default()
            .load(&output, &["key=xyzzy-xyzzy"])
            .unwrap_err(),
    );
    assert!(text.contains("there for all to read"), "{text}");
}

#[test]
fn files_of_parameters_are_read_and_never_shown() {
    let world = World::default();
    let file = |text: &str, single: &[&str]| {
        let parameters = Parameters {
            single: single.iter().map(|s| (*s).to_owned()).collect(),
            files: vec![("p.yaml".into(), text.into())],
        };
        world.load_with(&small(), &BTreeSet::new(), &parameters)
    };
    let loaded = file("image: web:2\nreplicas: 4\n", &["replicas=5"]).unwrap();
    let Resource::Service(web) = &loaded.resources[0] else {
        panic!();
    };
    assert_eq!((web.spec.image.as_str(), web.spec.replicas), ("web:2", 5));
    for (text, place, word) in [
        (
            "image: xyzzy\nreplcas: 4\n",
            "p.yaml:2:1:",
            "did you mean replicas?",
        ),
        (
            "image: xyzzy\nreplicas: xyzzy\n",
            "p.yaml:2:11:",
            "must be a number",
        ),
        ("image: [xyzzy]\n", "p.yaml:1:8:", "must be a string"),
        ("- xyzzy\n", "p.yaml:1:1:", "NAME: VALUE"),
        ("image: xyzzy: xyzzy\n", "p.yaml:1:", "cannot be read"),
    ] {
        let told = told(&file(text, &[]).unwrap_err());
        assert!(
            told.contains(place) && told.contains(word),
            "{text}: {told}"
        );
        assert!(!told.contains("xyzzy"), "{text}: {told}");
    }
}

#[test]
fn a_resource_belongs_to_one_stack_and_is_not_taken_over_silently() {
    let plain = "apiVersion: kcluster/v1\nkind: Service\nmetadata: {name: web}\nspec: {image: a}\n";
    let world = World::default();
    let loaded = world.load(plain, &[]).unwrap();
    let mut world = world.with(loaded);
    let text = told(&world.load(&small(), &["image=a"]).unwrap_err());
    assert!(
        text.contains("s.yaml:13:15:") && text.contains("--adopt"),
        "{text}"
    );
    world.adopt = true;
    let loaded = world.load(&small(), &["image=a"]).unwrap();
    let world = world.with(loaded);
    let other = small().replacen("name: shop", "name: other", 1);
    let text = told(&world.load(&other, &["image=a"]).unwrap_err());
    assert!(text.contains("belongs to stack shop"), "{text}");
    let by_hand = world.load(plain, &[]).unwrap();
    assert!(told(&by_hand.warnings).contains("belongs to stack shop"));
    // What leaves a stack does not stand in the way of what comes: the same name, another kind.
    let function = small()
        .replacen("kind: Service", "kind: ServiceFunction", 1)
        .replacen("service/web.replicas", "function/web.replicas", 1);
    world.load(&function, &["image=a"]).unwrap();
    let twice = format!("{}---\n{}", small(), small());
    let text = told(&World::default().load(&twice, &["image=a"]).unwrap_err());
    assert!(
        text.contains("Stack/shop is already at s.yaml:3:18"),
        "{text}"
    );
    let none = told(&World::default().load(plain, &["a=b"]).unwrap_err());
    assert!(none.contains("there is no `kind: Stack`"), "{none}");
}

#[test]
fn what_comes_out_is_bounded() {
    // A thousand times a value of 64 KiB.
    let args = vec!["\"${big}${big}${big}${big}\""; 1000].join(", ");
    let text = small()
        .replacen(
            "image: {type: string}",
            "image: {type: string}\n    big: {type: string}",
            1,
        )
        .replacen("env: {A: a}", &format!("args: [{args}]"), 1);
    let big = format!("big={}", "x".repeat(64 << 10));
    let told = told(
        &World::default()
            .load(&text, &["image=a", &big])
            .unwrap_err(),
    );
    assert!(told.contains("longer than 8 MiB"), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_comes_through_a_parameter_as_it_is(value in "\\PC{0,40}|[\\x00-\\x7f]{0,20}|(\\$|\\{|\\}|image|\"|\\\\|\n|: |- ){0,12}") {
        let text = small().replacen("env: {A: a}", "env: {A: \"<${image}>\", B: \"${image}\"}", 1);
        let text = text.replacen("image: ${image}", "image: web", 1);
        match World::default().load(&text, &[&format!("image={value}")]) {
            Ok(loaded) => {
                let Resource::Service(web) = &loaded.resources[0] else { panic!() };
                prop_assert_eq!(&web.spec.env["A"], &format!("<{value}>"));
                prop_assert_eq!(&web.spec.env["B"], &value);
            }
            // NUL cannot be in an environment.
            Err(errors) => prop_assert!(value.contains('\0'), "{:?}", errors),
        }
    }

    #[test]
    fn no_template_makes_it_panic(
        cut in 0usize..600,
        with in "(\\$\\{|\\}|\\$\\$\\{|/|\\.|replicas|image|stack|service/web|[ \n:\\[\\]{}\"'&*!|>-]|[a-z0-9]){0,12}",
        drop in 0usize..30,
    ) {
        let text = small();
        let mut cut = cut.min(text.len());
        while !text.is_char_boundary(cut) { cut -= 1; }
        let (head, tail) = text.split_at(cut);
        let tail = tail.get(drop..).unwrap_or_default();
        let text = format!("{head}{with}{tail}");
        if let Err(errors) = World::default().load(&text, &["image=a"]) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(usize::try_from(error.line).unwrap() <= text.lines().count() + 1);
            }
        }
    }
}
