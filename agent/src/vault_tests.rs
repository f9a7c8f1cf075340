//! The box's key through kills and damage, and where opened values are.

use super::*;
use kc_agent_api::{PullSecret, Sealing};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn spec(key: &BoxKey, value: &str) -> ContainerSpec {
    let sealed = Sealing::new(&BoxKey::new([9; 32]), key.public());
    let sealed = sealed.seal([1; 24], "db/password", value.as_bytes());
    let spec = serde_json::json!({
        "name": "db", "role": {"service": {"service": "db"}}, "image": "a",
        "secrets": [{"name": "db/password", "path": "/run/secrets/db/password", "version": "v", "sealed": sealed}],
    });
    serde_json::from_value(spec).unwrap()
}

#[test]
fn the_key_is_made_once_and_nobody_elses_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let first = own_key(dir.path()).unwrap();
    assert_eq!(own_key(dir.path()).unwrap().public(), first.public());
    assert_eq!(mode(&dir.path().join(KEY)), 0o600);
    for ruin in [&b""[..], &[7; 31], &[0; 32]] {
        fs::write(dir.path().join(KEY), ruin).unwrap();
        let next = own_key(dir.path()).unwrap();
        assert_ne!(next.public(), first.public());
        assert_eq!(own_key(dir.path()).unwrap().public(), next.public());
    }
}

#[test]
fn values_are_in_closed_files_until_they_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (key, root) = (BoxKey::new([4; 32]), dir.path().join("secrets"));
    let mounts = write_secrets(&root, &spec(&key, "swordfish"), || Ok(key.clone())).unwrap();
    let (path, inside) = mounts[0].clone();
    assert_eq!(inside, "/run/secrets/db/password");
    assert_eq!(fs::read_to_string(&path).unwrap(), "swordfish");
    assert_eq!(
        [mode(&path), mode(&root), mode(&root.join("db"))],
        [0o400, 0o700, 0o700]
    );
    let before = fs::metadata(&path).unwrap().ino();
    write_secrets(&root, &spec(&key, "swordfish"), || Ok(key.clone())).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    write_secrets(&root, &spec(&key, "halibut"), || Ok(key.clone())).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "halibut");
    let none = ContainerSpec {
        secrets: Vec::new(),
        ..spec(&key, "")
    };
    write_secrets(&root, &none, || panic!("no key is needed")).unwrap();
    assert!(!root.join("db").exists());
}

#[test]
fn whose_they_are_is_the_user_of_the_document() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let key = BoxKey::new([4; 32]);
    let spec = ContainerSpec {
        user: Some("1234:567".into()),
        ..spec(&key, "swordfish")
    };
    let mounts = write_secrets(dir.path(), &spec, || Ok(key)).unwrap();
    let found = fs::metadata(&mounts[0].0).unwrap();
    assert_eq!((found.uid(), found.gid()), (1234, 567));
    assert_eq!(owner("me:1"), None);
    assert_eq!(owner("12"), Some((12, 0)));
}

#[test]
fn what_does_not_open_is_named_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let other = || Ok(BoxKey::new([5; 32]));
    let error = write_secrets(dir.path(), &spec(&BoxKey::new([4; 32]), "swordfish"), other);
    let told = crate::keeper::explain(&error.unwrap_err());
    assert!(
        told.starts_with("cannot open secret db/password: "),
        "{told}"
    );
    assert!(told.contains("another key"), "{told}");

    let key = BoxKey::new([4; 32]);
    let sealed = Sealing::new(&BoxKey::new([9; 32]), key.public());
    let sealed = sealed.seal([2; 24], "hub", b"{\"username\": \"swordfish\"}");
    let spec = ContainerSpec {
        pull_secret: Some(PullSecret {
            name: "hub".into(),
            version: String::new(),
            sealed,
        }),
        ..spec(&key, "")
    };
    let told = crate::keeper::explain(&login(&spec, || Ok(key)).unwrap_err());
    assert_eq!(told, "secret hub holds no username and password");
}

/// Not a test of its own: the next one runs it in a process that it kills.
#[test]
#[ignore = "run by the next test, in a process of its own"]
fn a_maker_of_keys_for_the_next_test() {
    let Some(dir) = std::env::var_os("KC_TEST_VAULT").map(PathBuf::from) else {
        return;
    };
    loop {
        own_key(&dir).unwrap();
        fs::remove_file(dir.join(KEY)).unwrap();
    }
}

#[test]
fn a_key_is_whole_or_not_there_whenever_its_maker_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..40 {
        let mut maker = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "vault::tests::a_maker_of_keys_for_the_next_test",
            ])
            .env("KC_TEST_VAULT", dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // It is at work as soon as it has left something.
        while fs::read_dir(dir.path()).unwrap().next().is_none() {
            assert!(maker.try_wait().unwrap().is_none());
        }
        std::thread::sleep(std::time::Duration::from_micros(97 * round));
        maker.kill().unwrap();
        maker.wait().unwrap();
        if let Ok(octets) = fs::read(dir.path().join(KEY)) {
            assert_eq!(octets.len(), 32);
            assert_eq!(mode(&dir.path().join(KEY)), 0o600);
        }
        let key = own_key(dir.path()).unwrap();
        assert_eq!(own_key(dir.path()).unwrap().public(), key.public());
        for left in fs::read_dir(dir.path()).unwrap() {
            assert_eq!(mode(&left.unwrap().path()), 0o600);
        }
        fs::remove_file(dir.path().join(KEY)).unwrap();
        for left in fs::read_dir(dir.path()).unwrap() {
            fs::remove_file(left.unwrap().path()).unwrap();
        }
    }
}
