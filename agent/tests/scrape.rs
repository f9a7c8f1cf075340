//! The socket for Prometheus under clients that are slow, silent, many or wrong.
#![cfg(test)]

use kc_agent::readings::Readings;
use kc_agent::readings::scrape::{CLIENTS, SLOWEST, serve};
use kc_agent_api::{BootId, BoxLoad, ContainerLoad, LoadReport, NodeState, Stamp};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: pi-1:9273\r\nAccept: text/plain\r\n\r\n";

fn readings(containers: usize) -> Readings {
    let container = |number| ContainerLoad {
        name: format!("container-{number}"),
        ..ContainerLoad::default()
    };
    Readings {
        domain: "lab".parse().unwrap(),
        node: "pi-1".parse().unwrap(),
        load: LoadReport {
            at: Stamp {
                boot: BootId("b00".into()),
                mono_ms: 1,
                wall_ms: 2,
            },
            machine: BoxLoad::default(),
            containers: (0..containers).map(container).collect(),
            paths: Vec::new(),
            drops: Default::default(),
            draining: Vec::new(),
            round_trips: Vec::new(),
        },
        state: NodeState::default(),
        counters: None,
    }
}

type Newest = Option<Arc<Readings>>;

/// A server of these readings; it ends with the test's runtime.
async fn server(readings: Option<Readings>) -> (SocketAddr, watch::Sender<Newest>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = watch::channel(readings.map(Arc::new));
    tokio::spawn(serve(listener, receiver));
    (address, sender)
}

async fn connected(address: SocketAddr, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn answer(address: SocketAddr, request: &[u8]) -> String {
    rest(connected(address, request).await).await
}

fn is_page(answer: &str) -> bool {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    head.starts_with("HTTP/1.1 200 OK\r\n")
        && head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n")
        && head.contains(&format!("\r\nContent-Length: {}\r\n", body.len()))
        && body.starts_with("# HELP kcluster_agent_info ")
        && body.ends_with('\n')
}

#[tokio::test]
async fn half_a_request_holds_nobody_up_and_may_be_finished() {
    let (address, _readings) = server(Some(readings(1))).await;
    let mut half = connected(address, &REQUEST[..10]).await;
    assert!(is_page(&answer(address, REQUEST).await));
    half.write_all(&REQUEST[10..]).await.unwrap();
    assert!(is_page(&rest(half).await));
    // One that goes away in the middle is nobody's concern.
    drop(connected(address, &REQUEST[..30]).await);
    assert!(is_page(&answer(address, REQUEST).await));
}

#[tokio::test]
async fn silence_is_ended_and_an_endless_request_too() {
    let (address, _readings) = server(Some(readings(1))).await;
    let began = Instant::now();
    let silent = answer(address, b"GET").await;
    assert!(silent.starts_with("HTTP/1.1 408 "), "{silent}");
    assert!(began.elapsed() >= SLOWEST);
    let mut endless = b"GET /metrics HTTP/1.1\r\n".to_vec();
    endless.extend(b"X: y\r\n".repeat(10_000));
    let endless = answer(address, &endless).await;
    assert!(endless.starts_with("HTTP/1.1 431 "), "{endless}");
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_its_right_name() {
    let (address, _readings) = server(Some(readings(1))).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        ("DELETE /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        (
            "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            "405",
        ),
        ("GET /metrics HTTP/1.1\r\n\r\n", "400"),
        ("hello\r\n\r\n", "400"),
    ] {
        let answer = answer(address, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
        assert!(answer.contains("\r\nConnection: close\r\n"));
    }
}

#[tokio::test]
async fn the_first_readings_are_waited_for_but_not_for_ever() {
    let (address, readings_of) = server(None).await;
    let none = answer(address, REQUEST).await;
    assert!(none.starts_with("HTTP/1.1 503 "), "{none}");
    let early = connected(address, REQUEST).await;
    readings_of.send_replace(Some(Arc::new(readings(1))));
    assert!(is_page(&rest(early).await));
}

#[tokio::test]
async fn many_clients_all_get_their_page_though_others_sit_on_every_place() {
    let (address, _readings) = server(Some(readings(20))).await;
    let mut silent = Vec::new();
    for _ in 0..CLIENTS {
        silent.push(connected(address, b"GET /met").await);
    }
    let mut clients = JoinSet::new();
    for _ in 0..200 {
        clients.spawn(async move { is_page(&answer(address, REQUEST).await) });
    }
    let served = tokio::time::timeout(Duration::from_secs(60), clients.join_all()).await;
    assert!(served.unwrap().into_iter().all(|page| page));
    for stream in silent {
        assert!(rest(stream).await.starts_with("HTTP/1.1 408 "));
    }
}

#[tokio::test]
async fn a_client_that_never_takes_its_answer_loses_its_place() {
    // More than the kernel keeps for a client that does not read.
    let (address, _readings) = server(Some(readings(20_000))).await;
    let mut stuck = Vec::new();
    for _ in 0..CLIENTS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        stuck.push(stream);
    }
    let page = answer(address, REQUEST).await;
    assert!(is_page(&page) && page.len() > 8 << 20, "{}", page.len());
    drop(stuck);
}
