//! Storms over a real site: agents, forwarders, engines, broker, controller and containers are
//! killed, cables pulled, clocks set, disks filled; then it has to be as if nothing had happened.
//!
//! What happens follows from a seed. `KC_CHAOS_SEED` repeats a story, `KC_CHAOS_SECONDS` says how
//! long it goes on. Root is needed; without it this fails, it does not skip.

mod account;
mod daemons;
mod judge;
mod liveness;
mod plan;
mod site;

use account::Tap;
use anyhow::{Context, Result};
use judge::Excused;
use plan::{Blow, Fault, Victim};
use site::{BOXES, Site};
use std::time::{Duration, Instant};

#[test]
fn after_every_storm_the_boxes_match_their_documents_and_nothing_healthy_has_restarted() {
    assert!(nix::unistd::geteuid().is_root(), "needs root: make soak");
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("KC_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let length = Duration::from_secs(number("KC_CHAOS_SECONDS").unwrap_or(60));
    eprintln!("seed {seed}, {} s", length.as_secs());
    let mut story = Story::begin();
    let result = weather(seed, length, &mut story);
    if let Err(error) = result {
        let told = story.lines.join("\n");
        panic!("seed {seed} (KC_CHAOS_SEED={seed} repeats it):\n{told}\n{error:#}");
    }
}

/// What was done, and when.
struct Story {
    began: Instant,
    lines: Vec<String>,
}

impl Story {
    fn begin() -> Self {
        Self {
            began: Instant::now(),
            lines: Vec::new(),
        }
    }

    fn tell(&mut self, what: String) {
        let line = format!("[{:8.3}] {what}", self.began.elapsed().as_secs_f64());
        eprintln!("{line}");
        self.lines.push(line);
    }
}

fn weather(seed: u64, length: Duration, story: &mut Story) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    // rumqttd forgets what is retained when it ends, Mosquitto has it on disk.
    let broker = match seed % 2 {
        0 => "embedded",
        _ => "mosquitto",
    };
    story.tell(format!("the broker is {broker}"));
    let mut site = Site::up(broker)?;
    let tap = Tap::start()?;
    let (mut lives, took) = judge::calm(&mut site, &mut |line| story.tell(line))?;
    story.tell(format!(
        "up, {} containers, calm after {} ms",
        lives.len(),
        took.as_millis()
    ));
    liveness::check(&mut site, &mut |line| story.tell(line))?;
    // What was moved while the box was out of reach is where it is now.
    (lives, _) = judge::calm(&mut site, &mut |line| story.tell(line))?;
    story.began = Instant::now();
    let mut round = 0;
    while story.began.elapsed() < length {
        round += 1;
        let blows = plan::storm(&mut random, BOXES);
        story.tell(format!("storm {round}: {} blows", blows.len()));
        let excused = storm(&mut site, &blows, story).with_context(|| format!("storm {round}"))?;
        let calm = judge::calm(&mut site, &mut |line| story.tell(line));
        let (after, took) = calm.with_context(|| format!("after storm {round}"))?;
        judge::untouched(&lives, &after, &excused).with_context(|| format!("storm {round}"))?;
        lives = after;
        story.tell(format!("calm after {} ms", took.as_millis()));
    }
    site.daemons.stop("hub/controller")?;
    story.tell(account::judge(&tap.end())?);
    site.playground.down()?;
    Ok(())
}

/// Does what the plan says when it says it.
fn storm(site: &mut Site, blows: &[Blow], story: &mut Story) -> Result<Excused> {
    let mut moments: Vec<(Duration, bool, &Blow)> = blows
        .iter()
        .flat_map(|blow| [(blow.at, true, blow), (blow.at + blow.lasts, false, blow)])
        .collect();
    moments.sort_by_key(|(at, _, _)| *at);
    let mut excused = Excused::default();
    let mut struck = Vec::new();
    let began = Instant::now();
    for (at, begins, blow) in moments {
        std::thread::sleep(at.saturating_sub(began.elapsed()));
        let fault = &blow.fault;
        if begins {
            match site.strike(fault)? {
                Some(name) => {
                    story.tell(format!("{fault} {name} for {} ms", blow.lasts.as_millis()));
                    if let Fault::Kill(Victim::Container(k, _)) = fault {
                        excused.killed.insert((*k, name));
                    }
                    struck.push(blow);
                }
                None => story.tell(format!("{fault}: nothing there")),
            }
        } else if struck.iter().any(|done| std::ptr::eq(*done, blow)) {
            site.heal(fault)?;
            if !matches!(
                fault,
                Fault::Clock(..) | Fault::Kill(Victim::Forwarder(_) | Victim::Container(..))
            ) {
                story.tell(format!("{fault}: over"));
            }
        }
    }
    Ok(excused)
}
