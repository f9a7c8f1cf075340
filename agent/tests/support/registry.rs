//! A registry in the test's network namespace.

use super::Engine;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where it is.
pub(crate) const REGISTRY: &str = "127.0.0.1:5000";

/// Who is let in where not everybody is.
pub(crate) const USER: &str = "puller";
/// Its password.
pub(crate) const PASSWORD: &str = "xyzzy-4711";
/// That, by bcrypt.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuusk/p0x2IRjs5r8t5HyPoN1v1aEpCA/2";

/// A registry in the test's network namespace.
pub(crate) struct Registry(Child);

impl Registry {
    /// Nothing where there is none to be had, and says so.
    pub(crate) fn start(engine: &Engine) -> Option<Self> {
        Self::with(engine, "")
    }

    /// One that lets in [`USER`] with [`PASSWORD`] only.
    pub(crate) fn locked(engine: &Engine) -> Option<Self> {
        let file = engine.dir.path().join("htpasswd");
        std::fs::write(&file, format!("{USER}:{HASH}\n")).unwrap();
        let auth = format!(
            "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            file.display()
        );
        Self::with(engine, &auth)
    }

    fn with(engine: &Engine, more: &str) -> Option<Self> {
        let found = Command::new("docker-registry").arg("--version").output();
        if found.is_err() {
            let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!ci, "CI must have docker-registry");
            eprintln!("skipped: needs docker-registry");
            return None;
        }
        let dir = engine.dir.path();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}/registry}}}}\n\
             http: {{addr: \"{REGISTRY}\"}}\n{more}",
            dir.display()
        );
        let file = dir.join("registry.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(REGISTRY).is_err() {
            assert!(Instant::now() < deadline, "no registry");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Self(child))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Builds an image, pushes it, and takes it off the engine; returns its digest.
pub(crate) fn publish(engine: &Engine, tag: &str, lines: &str) -> String {
    // Where logins of these commands are kept, and nobody else looks.
    let config = engine.dir.path().join("docker-config");
    let config = config.to_str().unwrap();
    if engine.dir.path().join("htpasswd").exists() {
        engine.docker(&[
            "--config", config, "login", "-u", USER, "-p", PASSWORD, REGISTRY,
        ]);
    }
    let context = engine
        .dir
        .path()
        .join(format!("build-{}", tag.replace(':', "-")));
    std::fs::create_dir_all(&context).unwrap();
    std::fs::write(
        context.join("Dockerfile"),
        format!("FROM kc-test:1\n{lines}\nCMD [\"/kc-function\"]\n"),
    )
    .unwrap();
    let image = format!("{REGISTRY}/{tag}");
    engine.docker(&["build", "-q", "-t", &image, context.to_str().unwrap()]);
    let told = engine.docker(&["--config", config, "push", &image]);
    engine.docker(&["rmi", &image]);
    let digest = told
        .split_whitespace()
        .find(|word| word.starts_with("sha256:"));
    digest.unwrap().to_owned()
}
