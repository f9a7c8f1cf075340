//! A thousand links that lose their broker at the same moment.

use crate::process::Broker;
use crate::support::{PATIENCE, config, connected, retained};
use kc_mqtt::{Config, Incoming, Link};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;

const LINKS: usize = 1000;
/// What a broker that was restarted may be asked to take in a second: Mosquitto takes ten times that
/// on one core of a Pi 4.
const PEAK: usize = 1200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_restart_under_a_thousand_links_is_no_storm() {
    let Some(mut broker) = Broker::mosquitto("allow_anonymous true") else {
        return;
    };
    let (sender, mut connects) = mpsc::unbounded_channel();
    let mut links = Vec::new();
    for number in 0..LINKS {
        // As agents have it, and with what each of them says first.
        let (link, mut incoming) = Link::start(Config {
            keep_alive: Duration::from_secs(2),
            ..config(broker.port, &format!("box-{number}"))
        });
        if number % 50 == 49 {
            // The test's own start is to be none either.
            connected(&mut incoming).await;
            sender.send(Instant::now()).unwrap();
        }
        let (sender, speaker) = (sender.clone(), link.clone());
        tokio::spawn(async move {
            while let Some(told) = incoming.recv().await {
                if told == Incoming::Connected {
                    let _ = sender.send(Instant::now());
                    let topic = format!("box/{number}/status");
                    let _ = speaker.publish(retained(&topic, "online"));
                }
            }
        });
        links.push(link);
    }
    all(&mut connects).await;
    // Away for a moment, as by `systemctl restart`; and for longer than any back-off.
    for away in [Duration::from_millis(50), Duration::from_secs(6)] {
        let restarted = tokio::task::spawn_blocking(move || {
            broker.kill();
            std::thread::sleep(away);
            broker.restart();
            (broker, Instant::now())
        });
        let back;
        (broker, back) = restarted.await.unwrap();
        let times = all(&mut connects).await;
        let after = |at: &Instant| at.saturating_duration_since(back).as_millis();
        let last = times.iter().map(after).max().unwrap();
        let busiest = |width: u128| {
            let within = |from: u128| {
                let times = times.iter().map(after);
                times.filter(|at| (from..from + width).contains(at)).count()
            };
            (0..=last).step_by(10).map(within).max().unwrap()
        };
        let (second, tenth) = (busiest(1000), busiest(100));
        eprintln!(
            "measured: {LINKS} links, broker away {away:?}: all back after {last} ms, \
             at most {second} connects in a second, {tenth} in 100 ms"
        );
        assert!(second <= PEAK && tenth <= PEAK / 4, "{second} {tenth}");
        assert!(last < 15_000, "{last}");
    }
    drop(links);
}

/// Waits until as many have connected as there are links; says when each did.
async fn all(connects: &mut mpsc::UnboundedReceiver<Instant>) -> Vec<Instant> {
    let mut times = Vec::new();
    while times.len() < LINKS {
        let time = timeout(PATIENCE, connects.recv()).await;
        times.push(time.expect("all come back").unwrap());
    }
    times
}
