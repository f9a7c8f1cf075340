//! A function of a loaded chain is changed, by images out of a real registry: a good one takes over
//! without a connection lost, a bad one never gets that far.

use anyhow::{Context, Result, bail, ensure};
use kc_tests::playground::docker;
use kc_tests::story::Story;
use kc_tests::traffic::{Download, Probe, SERVER, all_passed, first, requests};
use kc_tests::{kc, namespace, wait};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// On the playground's hub, where its engines speak plain HTTP.
const REGISTRY: &str = "192.168.50.254:5000";
const CONNECTIONS: usize = 40;
const PATIENCE: Duration = Duration::from_secs(60);

/// One firewall, and nobody else who could do its work.
const MANIFEST: &str = r#"
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: guard}
spec:
  image: REGISTRY/guard:TAG
  args: [firewall, --inside, inside, --outside, outside, --rules, /etc/kc/rules]
  attachment: two-leg
  placement: {nodes: [box2]}
  update: {deadline: 5s}
  files:
    - path: /etc/kc/rules
      content: |
        deny tcp from any to any port 23
        default allow
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [guard]
  scheduler: {algorithm: shortest-path}
  from: {node: box1, interface: client0}
  to: {node: box3, interface: server0}
"#;

pub(crate) fn steps(story: &mut Story, scratch: &Path) -> Result<()> {
    let registry = Registry::start(scratch)?;
    story.step("an update under load loses no connection", || {
        publish("1", "LABEL release=1")?;
        publish("2", "LABEL release=2")?;
        // What runs, and lets nothing through: it ends at once.
        publish("bad", r#"ENTRYPOINT ["/kc-function", "--no-such-option"]"#)?;
        apply(scratch, "1")?;
        until("the chain over guard-1", || {
            Ok(carried_by("guard-1")? && kc::chain("web")?["state"] == "Ready")
        })?;
        first("kcpg-client", Duration::from_secs(10))?;
        let before = kc::containers()?;
        let load = Load::start()?;
        apply(scratch, "2")?;
        until("the spare in the path", || carried_by("guard-2"))?;
        until("guard-1 in the path again", || {
            let all = kc::containers()?;
            Ok(carried_by("guard-1")? && !all.contains_key("guard-2"))
        })?;
        let told = load.end()?;
        let image = docker(
            "box2",
            &["inspect", "-f", "{{.Config.Image}}", "kc-guard-1"],
        )?;
        ensure!(image.trim().ends_with("guard:2"), "guard-1 runs {image}");
        ensure!(
            kc::containers()?.get("guard-1") != before.get("guard-1"),
            "guard-1 was not changed"
        );
        Ok(told)
    })?;
    story.step("a bad image is seen beside what works, which stays", || {
        let before = kc::containers()?;
        let load = Load::start()?;
        apply(scratch, "bad")?;
        until("the end of the update", || {
            Ok(kc::good(&["events", "guard"])?.contains("update-stopped"))
        })?;
        until("the spare has gone", || {
            Ok(!kc::containers()?.contains_key("guard-2"))
        })?;
        let told = load.end()?;
        ensure!(carried_by("guard-1")?, "the path moved");
        ensure!(
            kc::containers()?.get("guard-1") == before.get("guard-1"),
            "guard-1 was touched"
        );
        let why = kc::good(&["describe", "function", "guard"])?;
        ensure!(why.contains("made beside the others"), "{why}");
        Ok(told)
    })?;
    story.step("the chain has its own functions again", || {
        kc::good(&["apply", "-f", "/run/kcluster-playground/manifests"])?;
        until("the chain", || {
            Ok(kc::path("web")?.len() == 3 && kc::chain("web")?["state"] == "Ready")
        })?;
        kc::good(&["delete", "function", "guard"])?;
        // A connection that began without the translation of addresses is reset when that joins.
        until("requests", || {
            Ok(all_passed(&requests("kcpg-client", SERVER, 20)?).is_ok())
        })?;
        Ok(String::new())
    })?;
    drop(registry);
    Ok(())
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    wait::until(what, PATIENCE, || Ok(holds()?.then_some(()))).map(drop)
}

fn apply(scratch: &Path, tag: &str) -> Result<String> {
    let manifest = MANIFEST.replace("REGISTRY", REGISTRY).replace("TAG", tag);
    kc::apply(scratch, "guard.yaml", &manifest)
}

fn carried_by(instance: &str) -> Result<bool> {
    Ok(kc::path("web")?.iter().any(|(name, _)| name == instance))
}

/// Connections that go on all the time, and new ones every 30 ms.
struct Load {
    downloads: Vec<Download>,
    probe: Probe,
}

impl Load {
    fn start() -> Result<Self> {
        // As slow as to last longer than any step.
        let downloads = (0..CONNECTIONS).map(|_| Download::start(1_000_000, 20_000));
        let downloads: Vec<_> = downloads.collect::<Result<_>>()?;
        progress(&downloads, 1_000)?;
        let probe = Probe::start("kcpg-client", SERVER, 500, 30)?;
        Ok(Self { downloads, probe })
    }

    /// Every connection has to go on, and every request to have been answered.
    fn end(self) -> Result<String> {
        let report = self.probe.report()?;
        all_passed(&report)?;
        progress(&self.downloads, 10_000)?;
        Ok(format!(
            "{CONNECTIONS} connections go on; {} of {} requests, longest gap {} ms",
            report["ok"], report["sent"], report["max-gap-ms"]
        ))
    }
}

/// Waits until every one of them has had so many octets more.
fn progress(downloads: &[Download], octets: u64) -> Result<()> {
    let wanted: Vec<u64> = downloads.iter().map(|one| one.got() + octets).collect();
    let behind = || {
        let each = downloads.iter().zip(&wanted);
        each.filter(|(one, wanted)| one.got() < **wanted).count()
    };
    let waited = wait::until("every connection", Duration::from_secs(15), || {
        Ok((behind() == 0).then_some(()))
    });
    waited.with_context(|| format!("{} of {CONNECTIONS} stand still", behind()))?;
    Ok(())
}

/// Puts the functions' image into the registry once more, as something else.
fn publish(tag: &str, change: &str) -> Result<()> {
    let image = format!("{REGISTRY}/guard:{tag}");
    let made = docker("box2", &["create", "kcluster/function:latest", "probe"])?;
    docker("box2", &["commit", "--change", change, made.trim(), &image])?;
    docker("box2", &["rm", made.trim()])?;
    docker("box2", &["push", "-q", &image])?;
    // It has to come from the registry.
    docker("box2", &["rmi", &image]).map(drop)
}

struct Registry(Child);

impl Registry {
    fn start(scratch: &Path) -> Result<Self> {
        let file = scratch.join("registry.yml");
        let storage = scratch.join("registry");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nhttp: {{addr: \"{REGISTRY}\"}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n",
            storage.display()
        );
        std::fs::write(&file, config)?;
        let mut child = namespace::inside("kcpg-hub", || {
            Command::new("docker-registry")
                .arg("serve")
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
        })?
        .context("cannot run docker-registry; tests/setup.sh installs it")?;
        let answers = || {
            if let Some(status) = child.try_wait()? {
                bail!("docker-registry ended: {status}");
            }
            let address = REGISTRY.parse()?;
            let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1));
            Ok(namespace::inside("kcpg-hub", connect)?.ok().map(drop))
        };
        wait::until("the registry", Duration::from_secs(20), answers)?;
        Ok(Self(child))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
