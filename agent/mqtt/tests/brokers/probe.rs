//! Every way in which a broker can fail to be one is told from the others.

use crate::process::{Broker, free_port};
use crate::support::config;
use kc_mqtt::{Config, ProbeError, probe};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LIMIT: Duration = Duration::from_secs(20);

/// Takes one connection after the other, reads its first octets and answers `words`.
async fn answering(words: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut octets = [0; 64];
            if matches!(socket.read(&mut octets).await, Ok(1..)) {
                let _ = socket.write_all(words).await;
            }
        }
    });
    port
}

#[tokio::test]
async fn a_broker_that_takes_everybody_is_fine() {
    let port = answering(&[0x20, 2, 0, 0]).await;
    probe(&config(port, "doctor"), LIMIT).await.unwrap();
}

#[tokio::test]
async fn nobody_at_all_is_told_from_a_name_without_address() {
    let error = probe(&config(free_port(), "doctor"), LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(error, ProbeError::Refused(_)), "{error}");
    let config = Config::new("no-such-host.invalid", 1883, "doctor");
    let error = probe(&config, LIMIT).await.unwrap_err();
    assert!(matches!(error, ProbeError::Name(_)), "{error}");
}

#[tokio::test]
async fn a_tls_listener_is_no_mqtt() {
    // What OpenSSL says to a CONNECT: a fatal alert, protocol_version (RFC 8446 section 6).
    for words in [&[0x15, 3, 1, 0, 2, 2, 70][..], &[]] {
        let port = answering(words).await;
        let error = probe(&config(port, "doctor"), LIMIT).await.unwrap_err();
        assert!(matches!(error, ProbeError::Alien), "{words:?}: {error}");
    }
}

#[tokio::test]
async fn bad_credentials_and_other_refusals_are_told() {
    for code in [4, 5] {
        let answer: &[u8] = if code == 4 {
            &[0x20, 2, 0, 4]
        } else {
            &[0x20, 2, 0, 5]
        };
        let port = answering(answer).await;
        let error = probe(&config(port, "doctor"), LIMIT).await.unwrap_err();
        assert!(matches!(error, ProbeError::Credentials), "{code}: {error}");
    }
    let port = answering(&[0x20, 2, 0, 3]).await;
    let error = probe(&config(port, "doctor"), LIMIT).await.unwrap_err();
    assert!(
        matches!(error, ProbeError::Declined("unavailable")),
        "{error}"
    );
}

#[tokio::test]
async fn one_that_accepts_and_says_nothing_is_silent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let limit = Duration::from_millis(200);
    let error = probe(&config(port, "doctor"), limit).await.unwrap_err();
    assert!(matches!(error, ProbeError::Silent(_)), "{error}");
}

#[tokio::test]
async fn mosquitto_wants_a_password_and_gets_it() {
    let Some(closed) = Broker::mosquitto("allow_anonymous false") else {
        return;
    };
    let error = probe(&config(closed.port, "doctor"), LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(error, ProbeError::Credentials), "{error}");
    let Some(open) = Broker::mosquitto("allow_anonymous true") else {
        return;
    };
    probe(&config(open.port, "doctor"), LIMIT).await.unwrap();
}
