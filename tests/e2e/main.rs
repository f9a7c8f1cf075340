//! The whole of K-Cluster on one machine, from `up` to nothing left: a story in ordered steps on
//! one playground.
//!
//! Root is needed; without it this fails, it does not skip.

mod broken;
mod failures;
mod foreign;
mod look;
mod overload;
mod removal;
mod survival;
mod updates;
mod wire;

use anyhow::{Context, Result, ensure};
use kc_tests::playground::{Playground, command};
use kc_tests::story::{Story, wants};
use kc_tests::{kc, programs, remains, traffic};

#[test]
fn the_main_job_runs_fails_over_and_leaves_nothing_behind() {
    assert!(nix::unistd::geteuid().is_root(), "needs root: make e2e");
    let mut story = Story::default();
    let result = tell(&mut story);
    eprintln!("\nwhat ran:\n{}", story.told());
    if let Err(error) = result {
        panic!("{error:#}");
    }
}

fn tell(story: &mut Story) -> Result<()> {
    Playground::verb("down")?;
    let before = remains::look();
    if wants("alone") {
        removal::steps(story, &before)?;
        alone(story)?;
    }
    let mut made = None;
    story.step(
        "up ends with requests through firewall, dpi and nat",
        || {
            let (playground, said) = Playground::up(&["--boxes", "3"])?;
            made = Some(playground);
            ensure!(said.contains("20 of 20 requests passed"), "{said}");
            eprintln!("{said}");
            Ok(format!("path {:?}", kc::path("web")?))
        },
    )?;
    let playground = made.context("up made nothing")?;
    let scratch = tempfile::tempdir()?;

    let chapters: [(&str, &dyn Fn(&mut Story) -> Result<()>); 9] = [
        ("whole", &whole),
        ("wire", &|story| wire::steps(story, scratch.path())),
        ("look", &|story| look::steps(story, scratch.path())),
        ("broken", &|story| broken::steps(story, scratch.path())),
        ("survival", &|story| survival::steps(story, scratch.path())),
        ("foreign", &|story| foreign::steps(story, scratch.path())),
        ("updates", &|story| updates::steps(story, scratch.path())),
        ("overload", &|story| overload::steps(story, scratch.path())),
        ("failures", &|story| failures::steps(story)),
    ];
    for (name, tell) in chapters {
        if wants(name) {
            tell(story)?;
        }
    }

    story.step("down leaves nothing", || {
        let said = playground.down()?;
        let left: Vec<_> = remains::look().difference(&before).cloned().collect();
        ensure!(left.is_empty(), "left: {left:#?}");
        Ok(said.trim().to_owned())
    })
}

fn alone(story: &mut Story) -> Result<()> {
    story.step("one box and Mosquitto do as well", || {
        let (playground, said) = Playground::up(&["--boxes", "1", "--broker", "mosquitto"])?;
        ensure!(said.contains("20 of 20 requests passed"), "{said}");
        let again = command("up")?
            .arg("--function-binary")
            .arg(programs::function()?)
            .output()?;
        let answer = String::from_utf8_lossy(&again.stderr);
        ensure!(
            !again.status.success() && answer.contains("a playground is up"),
            "{answer}"
        );
        Playground::verb("status")?;
        playground.down()
    })
}

fn whole(story: &mut Story) -> Result<()> {
    story.step("check passes", || {
        let said = Playground::verb("check")?;
        ensure!(said.contains("every hop counted them"), "{said}");
        Ok("every request, every hop".into())
    })?;
    story.step("every replica of hello answers from every box", hello)
}

fn hello() -> Result<String> {
    let service = kc::json(&["get", "services", "hello"])?;
    let endpoints = service["endpoints"].as_array().context("no endpoints")?;
    let mut addresses = Vec::new();
    let mut nodes = std::collections::BTreeSet::new();
    for endpoint in endpoints {
        addresses.push(
            endpoint["address"]
                .as_str()
                .context("no address")?
                .to_owned(),
        );
        nodes.insert(endpoint["node"].as_str().context("no box")?.to_owned());
    }
    ensure!(
        nodes.len() == 3,
        "replicas are on {nodes:?}, not on three boxes"
    );
    for node in ["box1", "box2", "box3"] {
        for address in &addresses {
            let url = format!("http://{address}/");
            let report = traffic::requests(&format!("kcpg-{node}"), &url, 5)?;
            traffic::all_passed(&report).with_context(|| format!("from {node} to {address}"))?;
        }
    }
    Ok(addresses.join(", "))
}
