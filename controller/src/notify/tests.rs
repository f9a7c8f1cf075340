//! Notices over real connections: who hears what, and how often.

use super::*;
use crate::alarm::{Severity, Standing, SubjectReport};
use std::io::{Read, Write};
use std::net::TcpListener;

fn report(standing: Standing) -> AlarmReport {
    let subject = SubjectReport::new("dpi-1", standing, 95.2);
    AlarmReport::new(
        "servicefunction.dpi.hot".into(),
        "servicefunction/dpi".into(),
        Severity::Critical,
        "cpu > 50% for 1m".into(),
        standing,
        subject.into_iter().collect(),
    )
}

/// Answers with each status in turn, and hands over what was sent.
fn receiver(statuses: &'static [&'static str]) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, got) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            while !text.ends_with("}}") {
                let count = stream.read(&mut buffer).unwrap();
                assert!(count > 0, "cut off: {text}");
                text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            sender.send(text).unwrap();
        }
    });
    (url, got)
}

async fn heard(
    got: std::sync::mpsc::Receiver<String>,
) -> (String, std::sync::mpsc::Receiver<String>) {
    tokio::task::spawn_blocking(move || {
        let text = got.recv_timeout(Duration::from_secs(30)).unwrap();
        (text, got)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn who_is_told_hears_of_the_beginning_and_of_the_end_and_is_asked_again_when_it_refuses() {
    let (url, got) = receiver(&["500 Oh", "204 No Content", "200 OK"]);
    let mut notifier = Notifier::new("lab".into(), Vec::new());
    let urls = [url];
    let mut update = |standing| notifier.update([(report(standing), &urls[..])].into_iter());
    update(Standing::Ok);
    update(Standing::Pending { since_ms: 1 });
    update(Standing::Firing { since_ms: 7 });
    update(Standing::Firing { since_ms: 7 });
    let (refused, got) = heard(got).await;
    let (taken, got) = heard(got).await;
    let body = |text: &str| text[text.find("\r\n\r\n").unwrap() + 4..].to_owned();
    assert!(taken.starts_with("POST /hook HTTP/1.1\r\n"), "{taken}");
    assert!(
        taken
            .to_lowercase()
            .contains("content-type: application/json"),
        "{taken}"
    );
    assert_eq!(body(&refused), body(&taken));
    let told: serde_json::Value = serde_json::from_str(&body(&taken)).unwrap();
    assert_eq!(
        told["text"],
        "FIRING servicefunction.dpi.hot (critical): cpu > 50% for 1m: dpi-1 95"
    );
    assert_eq!(told["alarm"]["subjects"][0]["name"], "dpi-1");
    assert_eq!(told["domain"], "lab");
    update(Standing::Ok);
    let (over, _) = heard(got).await;
    assert!(
        body(&over).contains("\"OK servicefunction.dpi.hot"),
        "{over}"
    );
}

#[tokio::test]
async fn everybody_is_told_of_every_alarm_who_asked_for_that() {
    let (url, got) = receiver(&["200 OK"]);
    let mut notifier = Notifier::new("lab".into(), vec![url.clone()]);
    // Once, though the alarm names it too.
    notifier.update([(report(Standing::Firing { since_ms: 1 }), &[url][..])].into_iter());
    let (text, got) = heard(got).await;
    assert!(text.contains("FIRING"));
    assert!(got.recv_timeout(Duration::from_millis(1)).is_err());
}
