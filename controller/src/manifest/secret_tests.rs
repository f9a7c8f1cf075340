//! Secrets as people write them, and that no mistake of theirs has a value quoted.

use super::tests::{load_text, told};
use super::*;
use proptest::prelude::*;

const SECRET: &str = "\
apiVersion: kcluster/v1
kind: Secret
metadata: {name: db}
data: {user: bWU=}
stringData:
  password: swordfish
---
apiVersion: kcluster/v1
kind: Service
metadata: {name: db}
spec:
  image: a
  pullSecret: hub
  secrets: [{name: db, key: password, path: /etc/pw, mode: 0440}, {name: hub}]
---
apiVersion: kcluster/v1
kind: Secret
metadata: {name: hub}
stringData: {username: me, password: halibut}
";

#[test]
fn values_are_read_and_only_their_lengths_are_written() {
    let loaded = load_text(SECRET).unwrap();
    let Resource::Secret(secret) = &loaded.resources[0] else {
        panic!("{loaded:?}");
    };
    let value = |key: &str| secret.keys[key].value.clone().unwrap();
    assert_eq!(value("user").reveal(), b"me");
    assert_eq!(value("password").reveal(), b"swordfish");
    for shown in [
        format!("{loaded:?}"),
        serde_json::to_string(&loaded.resources).unwrap(),
        serde_saphyr::to_string(&loaded.resources[0]).unwrap(),
    ] {
        assert!(
            !shown.contains("swordfish") && !shown.contains("halibut"),
            "{shown}"
        );
        assert!(shown.contains("octets") && shown.contains('9'), "{shown}");
    }
    let Resource::Service(service) = &loaded.resources[1] else {
        panic!("{loaded:?}");
    };
    let secrets = &service.spec.secrets;
    assert_eq!(secrets[0].permissions(), Some(0o440));
    assert_eq!(secrets[0].file("password"), "/etc/pw");
    assert_eq!(secrets[1].file("username"), "/run/secrets/hub/username");
}

#[test]
fn what_is_wrong_with_a_secret_or_its_use_is_told_and_not_quoted() {
    for (right, wrong, place, words) in [
        ("bWU=", "\"swordfish!\"", "4:14", "no base64"),
        ("user: bWU=", "password: bWU=", "6:13", "in data as well"),
        (
            "  password: swordfish",
            "  password: [swordfish]",
            "6:13",
            "not shown",
        ),
        (
            "  password: swordfish",
            "  password: swordfish: x",
            "6:",
            "not shown",
        ),
        (
            "  password: swordfish",
            "  pass/word: swordfish",
            "6:14",
            "a-z A-Z",
        ),
        (
            "stringData:\n  pass",
            "stringdata:\n  pass",
            "5:1",
            "did you mean stringData?",
        ),
        (
            "stringData:\n  password: swordfish",
            "immutable: swordfish",
            "5:1",
            "no field",
        ),
        (
            "kind: Secret",
            "kind: Secert",
            "2:7",
            "did you mean Secret?",
        ),
        (
            "key: password,",
            "key: pasword,",
            "14:29",
            "did you mean password?",
        ),
        (
            "{name: db, key",
            "{name: bd, key",
            "14:20",
            "there is no Secret bd",
        ),
        (
            "pullSecret: hub",
            "pullSecret: db",
            "13:15",
            "no key username",
        ),
        ("mode: 0440", "mode: 0200", "14:60", "in octal"),
        ("mode: 0440", "mode: rw", "14:60", "in octal"),
        ("path: /etc/pw", "path: etc/pw", "14:45", "no absolute path"),
    ] {
        assert!(SECRET.contains(right), "{right}");
        let told = told(&SECRET.replacen(right, wrong, 1));
        assert!(
            told.starts_with(&format!("m.yaml:{place}")),
            "{wrong}: {place}: {told}"
        );
        assert!(told.contains(words), "{wrong}: {words}: {told}");
        assert!(!told.contains("swordfish"), "{wrong}: {told}");
    }
    let form = "stringData: {.dockerconfigjson: '{\"swordfish\": 1}'}";
    let config = told(&SECRET.replacen("stringData: {username: me, password: halibut}", form, 1));
    assert!(
        config.contains("config.json") && !config.contains("swordfish"),
        "{config}"
    );
    let told = told(
        &SECRET
            .replacen("stringData:\n  password: swordfish", "", 1)
            .replace("data: {user: bWU=}", ""),
    );
    assert!(told.contains("a secret needs a key"), "{told}");
}

#[test]
fn a_secret_that_is_needed_keeps_its_keys() {
    let known = load_text(SECRET).unwrap().resources;
    let known: BTreeMap<_, _> = known.into_iter().map(|r| (r.id(), r)).collect();
    let text =
        "apiVersion: kcluster/v1\nkind: Secret\nmetadata: {name: db}\nstringData: {user: me}\n";
    let context = Context {
        resources: &known,
        nodes: &BTreeSet::new(),
    };
    let source = Source {
        name: "m.yaml",
        text,
    };
    let errors = load(&[source], context).unwrap_err();
    assert_eq!(
        errors[0].message,
        "Secret db has no key password, which Service/db needs"
    );
    assert_eq!((errors[0].line, errors[0].column), (3, 18));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is done to a manifest with a secret in it, no mistake quotes the value.
    #[test]
    fn no_damage_whatever_brings_a_value_to_light(
        at in any::<prop::sample::Index>(),
        piece in prop::sample::select(vec![
            ":", "{", "}", "[", "]", "\"", "'", "- ", "\n", "\t", "  ", "&a ", "*a", "!!int ", "#", "|", "? ", "\u{7f}", "---\n",
        ]),
    ) {
        let marker = "xyzzy-4711";
        let text = SECRET.replace("swordfish", marker).replace("halibut", marker);
        // Not within the words that say what it is: those are judged above.
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) || text[..at].ends_with("kind: S") {
            at -= 1;
        }
        let damaged = format!("{}{piece}{}", &text[..at], &text[at..]);
        if let Err(errors) = load_text(&damaged) {
            for error in errors {
                prop_assert!(!error.to_string().contains(marker), "{}\n---\n{}", error, damaged);
                let shown = format!("{error:?}");
                prop_assert!(!shown.contains(marker));
            }
        }
    }
}
