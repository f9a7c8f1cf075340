//! Looking into a chain: echoes, traces, probes and captures, on a healthy path and on a cut one.

use anyhow::{Context, Result, ensure};
use kc_tests::namespace;
use kc_tests::story::Story;
use kc_tests::{kc, traffic, wait};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(crate) fn steps(story: &mut Story, scratch: &Path) -> Result<()> {
    story.step("ping reaches the end of the chain, both ways", ping)?;
    story.step("trace names every box and function", trace)?;
    story.step("probes measure real traffic through the chain", probe)?;
    story.step("tshark reads what kc captures along the chain", || {
        capture(scratch)
    })?;
    story.step("trace names the hop whose underlay is cut", cut)
}

fn ping() -> Result<String> {
    let mut said = Vec::new();
    for way in [&[][..], &["--return"]] {
        let arguments = [&["chain", "ping", "web", "-c", "3", "-i", "50ms"], way].concat();
        let text = kc::good(&arguments)?;
        ensure!(text.contains("3 reached the end, 0 lost"), "{text}");
        said.push(text.lines().last().unwrap_or_default().to_owned());
    }
    let missing = kc::run(&["chain", "ping", "wbe"])?;
    ensure!(
        missing.code == 3 && missing.err.contains("did you mean web?"),
        "{missing:?}"
    );
    Ok(said.join("; "))
}

fn trace() -> Result<String> {
    let path = kc::path("web")?;
    for way in [&[][..], &["--return"]] {
        let trace = kc::json(&[&["chain", "trace", "web"], way].concat())?;
        ensure!(
            trace["complete"] == true && trace["broken"].is_null(),
            "{trace:#}"
        );
        let hops = trace["hops"].as_array().context("no hops")?;
        let mut functions: Vec<(String, String)> = Vec::new();
        for hop in hops {
            for function in hop["functions"].as_array().into_iter().flatten() {
                functions.push((text(&function["name"]), text(&hop["node"])));
            }
        }
        if !way.is_empty() {
            functions.reverse();
        }
        ensure!(functions == path, "traced {functions:?}, path {path:?}");
    }
    kc::good(&["chain", "trace", "web"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn probe() -> Result<String> {
    let base = [
        "chain",
        "probe",
        "web",
        "tcp://10.0.0.2:80",
        "--source",
        "10.0.0.250/24",
    ];
    let good = kc::good(&[&base[..], &["-c", "20", "-i", "20ms"]].concat())?;
    ensure!(good.contains("20 received, 0 lost"), "{good}");
    let closed = [
        "chain",
        "probe",
        "web",
        "tcp://10.0.0.2:81",
        "--source",
        "10.0.0.250/24",
    ];
    let refused = kc::run(&[&closed[..], &["-c", "2", "-i", "20ms"]].concat())?;
    // The chain takes port 80 only, and kc says so.
    ensure!(
        refused.code == 8
            && refused.out.contains("2 lost (100.00%)")
            && refused.err.contains("takes tcp"),
        "{refused:?}"
    );
    Ok(good)
}

fn capture(scratch: &Path) -> Result<String> {
    let file = scratch.join("web.pcapng");
    let name = file.to_string_lossy().into_owned();
    let capture = std::thread::spawn(move || {
        kc::run(&["capture", "chain", "web", "--seconds", "4", "-w", &name])
    });
    // It captures once the file has its header.
    let begun = || {
        Ok(std::fs::metadata(&file)
            .is_ok_and(|meta| meta.len() > 0)
            .then_some(()))
    };
    wait::until("a capture that runs", Duration::from_secs(20), begun)?;
    traffic::all_passed(&traffic::requests("kcpg-client", traffic::SERVER, 5)?)?;
    let said = capture
        .join()
        .map_err(|_| anyhow::anyhow!("kc panicked"))??;
    ensure!(said.code == 0, "{said:?}");
    let output = Command::new("tshark")
        .arg("-r")
        .arg(&file)
        .args([
            "-T",
            "fields",
            "-e",
            "frame.interface_name",
            "-e",
            "frame.comment",
        ])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for (instance, node) in kc::path("web")? {
        let mut lines = text.lines();
        let seen = lines.any(|line| line.starts_with(&node) && line.contains(&instance));
        ensure!(seen, "{instance}@{node} is in no comment of\n{text}");
    }
    let nowhere = kc::run(&["capture", "chain", "web", "--at", "box9", "-w", "/dev/null"])?;
    ensure!(
        nowhere.code == 3 && nowhere.err.contains("box1"),
        "{nowhere:?}"
    );
    Ok(format!(
        "{} packets, every instance in the comments",
        text.lines().count()
    ))
}

/// Cuts the last box off from the first two, but for the controller.
fn cut() -> Result<String> {
    let path = kc::path("web")?;
    let boxes: Vec<_> = path.iter().map(|(_, node)| node.as_str()).collect();
    let cut = |verb: &str| {
        let line = format!("nft {verb}");
        namespace::inside("kcpg-box3", || {
            Command::new("sh").arg("-c").arg(&line).status()
        })
    };
    let rules = "'add table ip cut; add chain ip cut in { type filter hook input priority 0; }; \
                 add rule ip cut in udp dport 4790 drop'";
    ensure!(cut(rules)??.success(), "the underlay could not be cut");
    let outcome = cut_off(&boxes);
    ensure!(cut("'delete table ip cut'")??.success(), "the cut stays");
    let said = outcome?;
    let whole = || Ok((kc::run(&["chain", "trace", "web"])?.code == 0).then_some(()));
    wait::until("the path whole again", Duration::from_secs(20), whole)?;
    Ok(said)
}

fn cut_off(boxes: &[&str]) -> Result<String> {
    let trace = kc::run(&["chain", "trace", "web", "--timeout", "300ms"])?;
    ensure!(
        trace.code == 8 && trace.err.contains("box3 does not answer"),
        "path over {boxes:?}: {trace:?}"
    );
    let dead = || {
        let chains = kc::good(&["get", "chains", "web"])?;
        let told = chains.contains("no answer: ") && chains.contains("-> box3");
        Ok(told.then_some(()))
    };
    wait::until(
        "the dead tunnel in kc get chains",
        Duration::from_secs(15),
        dead,
    )?;
    let events = kc::good(&["events"])?;
    ensure!(
        events.contains("tunnel-dead"),
        "no event tells of it:\n{events}"
    );
    Ok(trace.err.trim().to_owned())
}
