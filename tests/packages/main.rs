//! The Debian packages, made from programs that do nothing: what units and scripts name is in them.
#![expect(clippy::unwrap_used, reason = "a test program")]

use kc_agent::update::archive::unpack;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Everything that is packed.
const PROGRAMS: [&str; 5] = [
    "kc-agent",
    "kc-forwarder",
    "kc-function",
    "kc-controller",
    "kc",
];

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Both packages, unpacked with their control files, and the update.
fn unpacked(folder: &Path) -> (Vec<PathBuf>, PathBuf) {
    let programs = folder.join("programs");
    fs::create_dir(&programs).unwrap();
    for name in PROGRAMS {
        fs::copy("/bin/true", programs.join(name)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cross/package.sh");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let made = run(
        &path(&script),
        &[&path(&programs), "arm64", &path(&folder.join("out"))],
    );
    let unpack = |package: &str| {
        let root = folder.join(Path::new(package).file_stem().unwrap());
        run("dpkg-deb", &["--raw-extract", package, &path(&root)]);
        root
    };
    let (packages, updates): (Vec<&str>, _) = made.lines().partition(|made| made.ends_with(".deb"));
    let update: Vec<&str> = updates;
    assert_eq!(update.len(), 1, "{made}");
    (packages.into_iter().map(unpack).collect(), update[0].into())
}

#[test]
fn an_update_is_what_an_agent_of_that_box_takes() {
    let folder = tempfile::tempdir().unwrap();
    let (roots, update) = unpacked(folder.path());
    let name = format!(
        "kcluster-agent_{}_arm64.update.tar",
        env!("CARGO_PKG_VERSION")
    );
    assert!(update.ends_with(&name), "{}", update.display());
    let into = folder.path().join("into");
    fs::create_dir(&into).unwrap();
    let archive = fs::File::open(&update).unwrap();
    // Its programs are those of the machine that runs this test, whatever it was packed for.
    let refused = unpack(&archive, "aarch64", &into, |_| Ok(()));
    match std::env::consts::ARCH {
        "aarch64" => assert_eq!(refused.unwrap().to_string(), env!("CARGO_PKG_VERSION")),
        arch => {
            let told = format!("{:#}", anyhow::Error::from(refused.unwrap_err()));
            assert!(told.contains("kc-agent") && told.contains(arch), "{told}");
        }
    }
    let listed = run("tar", &["-tf", update.to_str().unwrap()]);
    assert_eq!(listed, "manifest.json\nkc-agent\nkc-forwarder\n");
    let keys = roots
        .iter()
        .filter(|root| root.join("etc/kcluster/trust.d").is_dir());
    assert_eq!(keys.count(), 1);
}

#[test]
fn what_units_start_is_in_their_package_and_scripts_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    let (roots, _) = unpacked(folder.path());
    assert_eq!(roots.len(), 2);
    for root in roots {
        let units = fs::read_dir(root.join("usr/lib/systemd/system")).unwrap();
        for unit in units.map(|unit| unit.unwrap().path()) {
            let text = fs::read_to_string(&unit).unwrap();
            let started = text.lines().filter_map(|line| {
                let (key, command) = line.split_once('=')?;
                let program = command.trim_start_matches(['-', '+']).split(' ').next()?;
                key.starts_with("Exec").then(|| program.to_owned())
            });
            let started: Vec<String> = started.collect();
            assert!(!started.is_empty(), "{} starts nothing", unit.display());
            for program in started {
                let there = root.join(program.trim_start_matches('/'));
                assert!(there.is_file(), "{} is not packed", there.display());
            }
        }
        let control = fs::read_to_string(root.join("DEBIAN/control")).unwrap();
        assert!(control.contains("Architecture: arm64\n"), "{control}");
        let version = format!("Version: {}\n", env!("CARGO_PKG_VERSION"));
        assert!(control.contains(&version), "{control}");
        for script in ["postinst", "prerm", "postrm"] {
            run(
                "sh",
                &["-n", root.join("DEBIAN").join(script).to_str().unwrap()],
            );
        }
        for kept in fs::read_to_string(root.join("DEBIAN/conffiles"))
            .unwrap()
            .lines()
        {
            assert!(root.join(kept.trim_start_matches('/')).is_file(), "{kept}");
        }
    }
}
