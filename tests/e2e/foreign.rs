//! A chain through a function that nobody here wrote: nftables' bridge filter in a Debian image.

use anyhow::{Context, Result, bail, ensure};
use kc_tests::playground::docker;
use kc_tests::story::Story;
use kc_tests::traffic::{self, SERVER, all_passed, requests};
use kc_tests::{kc, wait};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const MANIFEST: &str = r#"
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: nftables}
spec:
  image: kcluster/test-nftables:latest
  args: [sh, /etc/kc/start]
  attachment: two-leg
  capabilities: [NET_ADMIN, NET_RAW]
  placement: {nodes: [box2]}
  files:
    - path: /etc/kc/start
      content: |
        set -e
        ip link add br0 type bridge stp_state 0 mcast_snooping 0
        ip link set inside master br0 up
        ip link set outside master br0 up
        ip link set br0 up
        nft -f /etc/kc/rules
        exec sleep infinity
    - path: /etc/kc/rules
      content: |
        table bridge filter {
          chain forward {
            type filter hook forward priority 0; policy drop;
            ether type arp accept
            ip protocol tcp tcp dport 80 counter accept
            ip protocol tcp tcp sport 80 counter accept
          }
        }
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [nftables]
  scheduler: {algorithm: shortest-path}
  from: {node: box1, interface: client0}
  to: {node: box3, interface: server0}
"#;

pub(crate) fn steps(story: &mut Story, scratch: &Path) -> Result<()> {
    story.step("a Debian image with nftables is at hand", || {
        let image = image()?;
        docker(
            "box2",
            &[
                "import",
                &image.to_string_lossy(),
                "kcluster/test-nftables:latest",
            ],
        )?;
        Ok(image.display().to_string())
    })?;
    story.step("a chain runs through nftables", || {
        kc::apply(scratch, "nftables.yaml", MANIFEST)?;
        let ready = || {
            let there = kc::path("web")? == [("nftables-1".to_owned(), "box2".to_owned())];
            Ok((there && kc::chain("web")?["state"] == "Ready").then_some(()))
        };
        let ((), took) = wait::until("the chain", Duration::from_secs(60), ready)?;
        traffic::first("kcpg-client", Duration::from_secs(10))?;
        let report = requests("kcpg-client", SERVER, 20)?;
        all_passed(&report)?;
        ensure!(report["clients"][0] == "10.0.0.1", "no NAT here: {report}");
        let counters = docker("box2", &["exec", "kc-nftables-1", "nft", "list", "ruleset"])?;
        let idle = counters.contains("packets 0 ");
        ensure!(!idle && counters.contains("counter packets"), "{counters}");
        Ok(format!("ready after {} ms", took.as_millis()))
    })?;
    story.step("the chain goes back to its own functions", || {
        kc::good(&["apply", "-f", "/run/kcluster-playground/manifests"])?;
        let ready = || {
            let whole = kc::path("web")?.len() == 3;
            Ok((whole && kc::chain("web")?["state"] == "Ready").then_some(()))
        };
        let ((), took) = wait::until("the chain", Duration::from_secs(30), ready)?;
        kc::good(&["delete", "function", "nftables"])?;
        all_passed(&requests("kcpg-client", SERVER, 20)?)?;
        Ok(format!("after {} ms", took.as_millis()))
    })
}

/// The image's tar, made once and kept in the target directory.
fn image() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own
        .ancestors()
        .nth(3)
        .context("the test is in no target directory")?;
    let tar = target.join("test-nftables.tar");
    if !tar.exists() {
        let part = target.join("test-nftables.part.tar");
        let output = Command::new("mmdebstrap")
            .args([
                "--variant=minbase",
                "--include=nftables,iproute2",
                "bookworm",
            ])
            .arg(&part)
            .output()
            .context("cannot run mmdebstrap")?;
        if !output.status.success() {
            bail!("mmdebstrap: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::fs::rename(&part, &tar)?;
    }
    Ok(tar)
}
