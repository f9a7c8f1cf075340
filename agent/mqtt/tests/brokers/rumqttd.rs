//! The link against the broker the playground embeds, `rumqttd`, in a process that is killed.

use crate::process::{Broker, run_rumqttd};
use crate::support::{
    collect_numbers, config, connected, next_message, publish_numbers, reader, retained, text,
};
use kc_mqtt::{Config, Link, Will};
use std::time::{Duration, Instant};

/// Not a test of its own: the others start it in a process they can kill.
#[test]
#[ignore = "started by the other tests"]
fn a_broker_for_the_other_tests() {
    run_rumqttd();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_embedded_broker_is_killed_three_times() {
    let mut broker = Broker::rumqttd();
    let (link, mut incoming) = Link::start(reader(broker.port, "both", "t"));
    connected(&mut incoming).await;
    let writer = link.clone();
    let writing = tokio::spawn(async move {
        for part in 0..1000 {
            publish_numbers(&writer, "t", part * 5..(part + 1) * 5).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let killing = tokio::task::spawn_blocking(move || {
        for pause in [310, 470, 330] {
            std::thread::sleep(Duration::from_millis(pause));
            broker.restart();
        }
        broker
    });
    let start = Instant::now();
    let twice = collect_numbers(&mut incoming, 5_000).await;
    eprintln!(
        "5000 messages over 3 kills in {:?}, {twice} came twice",
        start.elapsed()
    );
    writing.await.unwrap();
    let _broker = killing.await.unwrap();
    assert!(link.drained(Duration::from_secs(10)).await);
    link.close().await;
}

#[tokio::test]
async fn retained_state_and_the_last_will_work_with_the_embedded_broker() {
    let broker = Broker::rumqttd();
    let testator = Config {
        last_will: Some(Will::per_session(|session| {
            retained("status", format!("offline {session}"))
        })),
        ..config(broker.port, "testator")
    };
    let (link, mut told) = Link::start(testator);
    connected(&mut told).await;
    link.publish(retained("status", "online")).unwrap();
    assert!(link.drained(Duration::from_secs(10)).await);
    let (late, mut incoming) = Link::start(reader(broker.port, "late", "status"));
    let message = next_message(&mut incoming).await;
    assert_eq!(text(&message), "online");
    let session = link.session();
    drop(link);
    assert_eq!(
        text(&next_message(&mut incoming).await),
        format!("offline {session}")
    );
    late.close().await;
}
