//! The link against a broker that does what no broker should: acknowledges late, in the wrong
//! order, never or unasked, and hangs up in the middle. It keeps the account of what it
//! acknowledged, so nothing lost can hide.

use crate::support::{PATIENCE, config, disconnected, event, next_message, reader, text};
use bytes::BytesMut;
use kc_mqtt::{Config, Link};
use rumqttc::mqttbytes::v4::{ConnAck, ConnectReturnCode, Packet, PubAck, Publish, SubAck};
use rumqttc::{SubscribeReasonCode, mqttbytes};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// One client's connection, seen from the broker.
struct Peer {
    socket: TcpStream,
    buffer: BytesMut,
}

impl Peer {
    /// Accepts a connection and its CONNECT.
    async fn accept(listener: &TcpListener, session_present: bool) -> Self {
        let (socket, _) = listener.accept().await.unwrap();
        let mut peer = Self {
            socket,
            buffer: BytesMut::new(),
        };
        let Some(Packet::Connect(_)) = peer.next().await else {
            panic!("a connection begins with CONNECT");
        };
        let ack = ConnAck::new(ConnectReturnCode::Success, session_present);
        peer.send(Packet::ConnAck(ack)).await;
        peer
    }

    /// The next packet, or `None` at the end.
    async fn next(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.buffer, 16 << 20) {
                Ok(packet) => return Some(packet),
                Err(mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("{error}"),
            }
            self.buffer.reserve(256 << 10);
            if !matches!(self.socket.read_buf(&mut self.buffer).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// The next number published, and its identifier; pings are answered meanwhile.
    async fn published(&mut self) -> Option<(u32, u16)> {
        loop {
            match self.next().await? {
                Packet::Publish(publish) => {
                    let text = std::str::from_utf8(&publish.payload).unwrap();
                    return Some((text.trim().parse().unwrap(), publish.pkid));
                }
                Packet::PingReq => self.send(Packet::PingResp).await,
                other => panic!("{other:?}"),
            }
        }
    }

    async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, 16 << 20).unwrap();
        let _ = self.socket.write_all(&bytes).await;
    }

    async fn acknowledge(&mut self, id: u16) {
        self.send(Packet::PubAck(PubAck::new(id))).await;
    }
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn start(port: u16, queue: usize) -> Link {
    let config = Config {
        queue,
        ..config(port, "unruled")
    };
    // Nobody reads: a link must not need its reader.
    Link::start(config).0
}

/// Takes messages until `count` different ones are acknowledged: late, in a slightly wrong order,
/// and hanging up now and then whatever is owed. Returns how many connections that took.
async fn capricious(listener: TcpListener, seed: u64, count: usize) -> u32 {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut acknowledged = BTreeSet::new();
    let mut connections = 0;
    loop {
        let mut peer = Peer::accept(&listener, random.bool()).await;
        connections += 1;
        let mut owed: Vec<(u32, u16)> = Vec::new();
        let mut newest = None;
        for _ in 0..random.u32(1..400) {
            // A client that waits for us has nothing more to say: it is hung up on.
            let said = timeout(Duration::from_millis(200), peer.published()).await;
            let Ok(Some((number, id))) = said else {
                break;
            };
            assert!(newest < Some(number), "{number} after {newest:?}");
            newest = Some(number);
            owed.push((number, id));
            while !owed.is_empty() && (owed.len() == 60 || random.u8(..) < 140) {
                let (number, id) = owed.remove(random.usize(..owed.len().min(3)));
                acknowledged.insert(number);
                peer.acknowledge(id).await;
            }
        }
        for (number, id) in owed.drain(..owed.len() / 2) {
            acknowledged.insert(number);
            peer.acknowledge(id).await;
        }
        if acknowledged.len() == count {
            return connections;
        }
    }
}

#[tokio::test]
async fn every_message_is_acknowledged_in_the_end_and_order_holds() {
    const COUNT: u32 = 600;
    let mut brokers = JoinSet::new();
    let mut links = Vec::new();
    for seed in 0..16 {
        let (listener, port) = listen().await;
        // A link that is hung up on again and again waits up to 5 s each time.
        let broker = capricious(listener, seed, COUNT as usize);
        brokers.spawn(timeout(3 * PATIENCE, broker));
        let link = start(port, COUNT as usize);
        for number in 0..COUNT {
            link.publish(event("t", number)).unwrap();
        }
        links.push(link);
    }
    let connections = brokers.join_all().await;
    let connections: Vec<_> = connections.into_iter().map(Result::unwrap).collect();
    eprintln!("16 times {COUNT} messages acknowledged over {connections:?} connections");
}

#[tokio::test]
async fn an_identifier_never_acknowledged_costs_a_connection_and_no_message() {
    const COUNT: u32 = 2500;
    let (listener, port) = listen().await;
    let link = start(port, COUNT as usize);
    for number in 0..COUNT {
        link.publish(event("t", number)).unwrap();
    }
    let mut acknowledged = BTreeSet::new();
    let mut peer = Peer::accept(&listener, true).await;
    // The very first message is never acknowledged: its identifier comes round again.
    peer.published().await.unwrap();
    while let Some((number, id)) = peer.published().await {
        acknowledged.insert(number);
        peer.acknowledge(id).await;
    }
    assert!(
        acknowledged.len() < COUNT as usize,
        "the connection was given up"
    );
    let mut peer = Peer::accept(&listener, false).await;
    while acknowledged.len() < COUNT as usize {
        let (number, id) = peer.published().await.unwrap();
        acknowledged.insert(number);
        peer.acknowledge(id).await;
    }
    assert!(link.drained(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn an_unasked_acknowledgement_costs_a_connection_and_no_message() {
    let (listener, port) = listen().await;
    let link = start(port, 10);
    for number in 0..3 {
        link.publish(event("t", number)).unwrap();
    }
    let mut peer = Peer::accept(&listener, false).await;
    let (_, id) = peer.published().await.unwrap();
    peer.acknowledge(id).await;
    peer.acknowledge(999).await;
    while peer.published().await.is_some() {}
    let mut peer = Peer::accept(&listener, false).await;
    for expected in [1, 2] {
        let (number, id) = peer.published().await.unwrap();
        assert_eq!(number, expected);
        peer.acknowledge(id).await;
    }
    assert!(link.drained(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_broker_that_stops_reading_is_given_up() {
    let (listener, port) = listen().await;
    let link = start(port, 100);
    // More than the socket buffers take: the write itself is stuck, and no ping gets out.
    let padding = " ".repeat(7 << 20);
    for number in 0..8 {
        let message = event("t", format!("{number}{padding}"));
        link.publish(message).unwrap();
    }
    let deaf = Peer::accept(&listener, false).await;
    let next = timeout(Duration::from_secs(20), Peer::accept(&listener, false));
    let mut peer = next.await.expect("the deaf connection was given up");
    drop(deaf);
    for expected in 0..8 {
        let (number, id) = peer.published().await.unwrap();
        assert_eq!(number, expected);
        peer.acknowledge(id).await;
    }
    assert!(link.drained(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_refused_subscription_is_no_connection() {
    let (listener, port) = listen().await;
    let (link, mut incoming) = Link::start(reader(port, "refused", "secret/#"));
    let mut peer = Peer::accept(&listener, false).await;
    let Some(Packet::Subscribe(subscribe)) = peer.next().await else {
        panic!("a subscription is made");
    };
    let codes = vec![SubscribeReasonCode::Failure];
    peer.send(Packet::SubAck(SubAck::new(subscribe.pkid, codes)))
        .await;
    let reason = disconnected(&mut incoming).await;
    assert_eq!(reason, "the broker refused the subscription to secret/#");
    assert!(!link.connected());
}

#[tokio::test]
async fn what_comes_before_a_suback_that_never_comes_is_not_lost() {
    let (listener, port) = listen().await;
    let (_link, mut incoming) = Link::start(reader(port, "early", "t"));
    for number in 0..3 {
        let mut peer = Peer::accept(&listener, true).await;
        let mut publish = Publish::new("t", rumqttc::QoS::AtLeastOnce, number.to_string());
        publish.pkid = 7;
        peer.send(Packet::Publish(publish)).await;
        // It takes charge of the message, and never learns whether its subscription stands.
        while !matches!(peer.next().await, Some(Packet::PubAck(_))) {}
    }
    for number in 0..3 {
        assert_eq!(text(&next_message(&mut incoming).await), number.to_string());
    }
}
