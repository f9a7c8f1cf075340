//! The link against a real Mosquitto: killed, restarted, cut off, refusing.

use crate::process::{Broker, free_port};
use crate::proxy::Proxy;
use crate::support::{
    collect_numbers, config, connected, disconnected, event, next, next_message, publish_numbers,
    reader, retained, text,
};
use kc_mqtt::{Config, Incoming, Link, Message, PublishError, QoS, Will};
use std::time::{Duration, Instant};

const OPEN: &str = "allow_anonymous true";
const DURABLE: &str = "allow_anonymous true\npersistence true\npersistence_location @DIR@/\n\
                       autosave_interval 1\nautosave_on_changes true";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_broker_forgets_everything_five_times() {
    let Some(mut broker) = Broker::mosquitto(OPEN) else {
        return;
    };
    // The link reads what it writes: subscriptions are in force before anything is offered again.
    let (link, mut incoming) = Link::start(reader(broker.port, "both", "t"));
    connected(&mut incoming).await;
    let writer = link.clone();
    let writing = tokio::spawn(async move {
        for part in 0..2000 {
            publish_numbers(&writer, "t", part * 5..(part + 1) * 5).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let killing = tokio::task::spawn_blocking(move || {
        for pause in [310, 470, 330, 590, 410] {
            std::thread::sleep(Duration::from_millis(pause));
            broker.kill();
            std::thread::sleep(Duration::from_millis(pause / 3));
            broker.restart();
        }
        broker
    });
    let start = Instant::now();
    let twice = collect_numbers(&mut incoming, 10_000).await;
    eprintln!(
        "10000 messages over 5 kills in {:?}, {twice} came twice",
        start.elapsed()
    );
    writing.await.unwrap();
    let _broker = killing.await.unwrap();
    assert!(link.drained(Duration::from_secs(10)).await);
    link.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_session_gets_what_was_sent_while_its_reader_was_away() {
    let Some(mut broker) = Broker::mosquitto(DURABLE) else {
        return;
    };
    let durable = Config {
        clean_session: false,
        ..reader(broker.port, "reader", "t")
    };
    let (first, mut incoming) = Link::start(durable.clone());
    connected(&mut incoming).await;
    first.close().await;
    let (writer, _told) = Link::start(config(broker.port, "writer"));
    publish_numbers(&writer, "t", 0..500).await;
    assert!(writer.drained(Duration::from_secs(10)).await);
    // Mosquitto acknowledges before it saves: give it the one second it was told to save within.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    broker.kill();
    publish_numbers(&writer, "t", 500..1000).await;
    assert!(!writer.connected() || writer.backlog() > 0);
    broker.restart();
    let (second, mut incoming) = Link::start(durable);
    let twice = collect_numbers(&mut incoming, 1000).await;
    eprintln!("1000 messages over a kill and an absent reader, {twice} came twice");
    second.close().await;
    writer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_partition_is_noticed_and_survived_whatever_was_under_way() {
    let Some(broker) = Broker::mosquitto(OPEN) else {
        return;
    };
    let proxy = Proxy::start(broker.port).await;
    let (link, mut incoming) = Link::start(Config {
        queue: 5000,
        ..reader(proxy.port, "both", "t")
    });
    connected(&mut incoming).await;
    proxy.cut(true);
    let start = Instant::now();
    let padding = " ".repeat(20_000);
    for number in 0..1000 {
        link.publish(event("t", format!("{number}{padding}")))
            .unwrap();
    }
    let reason = disconnected(&mut incoming).await;
    eprintln!("noticed after {:?}: {reason}", start.elapsed());
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    proxy.cut(false);
    let healed = Instant::now();
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 1000 {
        seen.insert(text(&next_message(&mut incoming).await).trim().to_owned());
    }
    eprintln!(
        "1000 messages of 20 kB arrived {:?} after it healed",
        healed.elapsed()
    );
    link.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_retained_message_wins_and_order_holds() {
    let Some(mut broker) = Broker::mosquitto(OPEN) else {
        return;
    };
    let (link, _told) = Link::start(config(broker.port, "writer"));
    let (watcher, mut incoming) = Link::start(reader(broker.port, "reader", "state/+"));
    connected(&mut incoming).await;
    for round in 0..400 {
        for topic in 0..5 {
            link.publish(retained(&format!("state/{topic}"), round))
                .unwrap();
        }
        match round % 100 {
            50 => broker.kill(),
            70 => broker.restart(),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(link.backlog() <= 5 + 64, "coalesced to {}", link.backlog());
    assert!(link.drained(Duration::from_secs(10)).await);
    // Within one connection a topic never goes back; at last everyone has the newest.
    let mut newest = std::collections::BTreeMap::new();
    while newest.values().filter(|value| **value == 399).count() < 5 {
        match next(&mut incoming).await {
            Incoming::Connected => newest.clear(),
            Incoming::Disconnected { .. } => {}
            Incoming::Message(message) => {
                let value: u32 = text(&message).parse().unwrap();
                let before = newest.insert(message.topic.clone(), value);
                assert!(
                    before.is_none_or(|before| before <= value),
                    "{before:?} {value}"
                );
            }
        }
    }
    link.close().await;
    watcher.close().await;
}

fn offline(session: u64) -> Message {
    retained("status", format!("offline {session}"))
}

#[tokio::test]
async fn the_last_will_speaks_for_a_broken_link_and_is_silent_after_close() {
    let Some(broker) = Broker::mosquitto(OPEN) else {
        return;
    };
    let (watcher, mut incoming) = Link::start(reader(broker.port, "watcher", "status"));
    connected(&mut incoming).await;
    let testator = Config {
        last_will: Some(Will::per_session(offline)),
        ..config(broker.port, "testator")
    };
    let (link, mut told) = Link::start(testator.clone());
    connected(&mut told).await;
    let session = link.session();
    drop(link);
    assert_eq!(
        text(&next_message(&mut incoming).await),
        format!("offline {session}")
    );

    let (link, mut told) = Link::start(testator);
    connected(&mut told).await;
    link.publish(retained("status", "online")).unwrap();
    assert_eq!(text(&next_message(&mut incoming).await), "online");
    link.publish(retained("status", "farewell")).unwrap();
    assert!(link.drained(Duration::from_secs(5)).await);
    link.clone().close().await;
    assert_eq!(text(&next_message(&mut incoming).await), "farewell");
    assert_eq!(link.publish(event("t", 1)), Err(PublishError::Closed));
    assert_eq!(told.recv().await, None);
    // A marker behind: had the will been published, it would come first.
    let (marker, _told) = Link::start(config(broker.port, "marker"));
    marker.publish(event("status", "marker")).unwrap();
    assert_eq!(text(&next_message(&mut incoming).await), "marker");
    marker.close().await;
    watcher.close().await;
}

#[tokio::test]
async fn a_refusing_broker_and_an_absent_one_are_named() {
    let Some(broker) = Broker::mosquitto("allow_anonymous false") else {
        return;
    };
    let (link, mut incoming) = Link::start(config(broker.port, "stranger"));
    let reason = disconnected(&mut incoming).await;
    assert_eq!(reason, "the broker refused: NotAuthorized");
    link.close().await;
    let (link, mut incoming) = Link::start(config(free_port(), "lonely"));
    let reason = disconnected(&mut incoming).await;
    assert!(reason.contains("Connection refused"), "{reason}");
    link.close().await;
}

#[tokio::test]
async fn a_slow_reader_loses_nothing_and_holds_nobody_up() {
    let Some(broker) = Broker::mosquitto(OPEN) else {
        return;
    };
    let (slow, mut incoming) = Link::start(Config {
        inbox: 50,
        clean_session: false,
        ..reader(broker.port, "slow", "t")
    });
    connected(&mut incoming).await;
    let (writer, _told) = Link::start(config(broker.port, "writer"));
    publish_numbers(&writer, "t", 0..2000).await;
    assert!(
        writer.drained(Duration::from_secs(10)).await,
        "the writer is not held up"
    );
    slow.publish(event("elsewhere", 1)).unwrap();
    let twice = collect_numbers(&mut incoming, 2000).await;
    eprintln!("2000 messages past a full inbox of 50, {twice} came twice");
    assert!(slow.drained(Duration::from_secs(10)).await);
    slow.close().await;
    writer.close().await;
}

#[tokio::test]
async fn a_sample_published_while_the_broker_is_away_is_replaced_by_the_next() {
    let Some(mut broker) = Broker::mosquitto(OPEN) else {
        return;
    };
    let (link, mut incoming) = Link::start(reader(broker.port, "both", "load"));
    connected(&mut incoming).await;
    broker.kill();
    disconnected(&mut incoming).await;
    for number in 0..100 {
        let sample = Message {
            qos: QoS::AtMostOnce,
            ..event("load", number)
        };
        link.publish(sample).unwrap();
    }
    broker.restart();
    assert_eq!(text(&next_message(&mut incoming).await), "99");
    link.close().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_largest_passes() {
    let Some(broker) = Broker::mosquitto(OPEN) else {
        return;
    };
    let (link, mut incoming) = Link::start(reader(broker.port, "both", "t"));
    connected(&mut incoming).await;
    let largest = (8 << 20) - 10;
    assert!(matches!(
        link.publish(event("t", "x".repeat(largest + 1))),
        Err(PublishError::TooLarge { .. })
    ));
    link.publish(event("t", "x".repeat(largest))).unwrap();
    assert_eq!(next_message(&mut incoming).await.payload.len(), largest);
    link.close().await;
}
