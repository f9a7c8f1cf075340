//! An agent's end of calls over a broker, and somebody who calls, with as much credit as a test
//! cares to give.

use super::{Engine, PATIENCE};
use bollard::{API_DEFAULT_VERSION, Docker};
use kc_agent::calls::Calls;
use kc_agent::config::{DockerSocket, Overrides, Settings};
use kc_agent::forwarder::Forwarder;
use kc_agent::last_words::LastWords;
use kc_agent::status::{Boot, Identity};
use kc_agent::update::{Desk, Shelf};
use kc_agent_api::{
    Call, CallBody, Capacity, NodeName, Output, Reply, ReplyBody, Topic, decode, encode, octets,
};
use kc_mqtt::{Config, Incoming, Link, Message, QoS};
use semver::Version;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// Somebody who calls `pi-1`.
pub(crate) struct Caller {
    link: Link,
    incoming: Receiver<Incoming>,
    next: u64,
    /// What came of each call and was not looked at yet.
    heard: BTreeMap<u64, VecDeque<Reply>>,
    agent: tokio::task::JoinHandle<()>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.agent.abort();
    }
}

/// All of an answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) refused: Option<String>,
}

fn box1() -> NodeName {
    NodeName::new("pi-1").unwrap()
}

async fn linked(name: &str, leaf: &str) -> (Link, Receiver<Incoming>) {
    let mut config = Config::new("127.0.0.1", 1883, name);
    let filter = format!("kcluster/lab/node/pi-1/{leaf}/+");
    config.subscriptions = vec![(filter, QoS::AtLeastOnce)];
    let (link, mut incoming) = Link::start(config);
    while timeout(PATIENCE, incoming.recv()).await.unwrap() != Some(Incoming::Connected) {}
    (link, incoming)
}

/// Answers calls as an agent does; `said` is what its file says.
async fn answer(
    engine: &Engine,
    said: Overrides,
    last_words: LastWords,
) -> tokio::task::JoinHandle<()> {
    let socket = engine.socket();
    let said = said.over(Overrides {
        node: Some(box1()),
        run_dir: Some(engine.dir.path().to_owned()),
        forwarder: Some("/nonexistent/kc-forwarder".into()),
        docker: Some(DockerSocket(socket.clone())),
        ..Overrides::default()
    });
    let settings = Arc::new(Settings::complete(said).unwrap());
    let docker = Docker::connect_with_unix(socket.to_str().unwrap(), 120, API_DEFAULT_VERSION);
    let docker = docker.unwrap().negotiate_version().await.unwrap();
    let forwarder = Forwarder::supervise(&settings).forwarder;
    let identity = Arc::new(Identity {
        node: box1(),
        domain: "lab".parse().unwrap(),
        boot: Boot::read().unwrap(),
        labels: BTreeMap::new(),
        capacity: Capacity::default(),
        vtep: None,
        underlay_mtu: 1500,
        version: "0.1.0".into(),
        update: None,
        seal_key: None,
    });
    let (link, mut incoming) = linked("agent", "call").await;
    let shelf = Shelf::below(&settings.state_dir);
    let (desk, _candidates) = Desk::new(shelf, Version::new(0, 1, 0));
    let mut calls = Calls::new(identity, link, forwarder, settings, desk, last_words);
    tokio::spawn(async move {
        while let Some(word) = incoming.recv().await {
            if let Incoming::Message(message) = word
                && let Ok((_, Topic::Call(_, id))) = Topic::parse(&message.topic)
            {
                calls.handle(id, &message.payload, Some(docker.clone()));
            }
        }
    })
}

impl Caller {
    pub(crate) async fn start(engine: &Engine, said: Overrides) -> Self {
        Self::beside(engine, said, LastWords::default()).await
    }

    /// Somebody who calls an agent whose loop keeps `last_words`.
    pub(crate) async fn beside(engine: &Engine, said: Overrides, last_words: LastWords) -> Self {
        let agent = answer(engine, said, last_words).await;
        let (link, incoming) = linked("controller", "reply").await;
        Self {
            link,
            incoming,
            next: 100,
            heard: BTreeMap::new(),
            agent,
        }
    }

    /// Says something; gives its number.
    pub(crate) fn say(&mut self, body: CallBody) -> u64 {
        self.next += 1;
        let topic = Topic::Call(box1(), self.next);
        let message = Message {
            topic: topic.name(&"lab".parse().unwrap()),
            payload: encode(&Call { body }).unwrap(),
            qos: QoS::AtLeastOnce,
            retain: false,
        };
        self.link.publish(message).unwrap();
        self.next
    }

    /// The next that is said about call `id`; `None` when nothing comes for `limit`.
    pub(crate) async fn next(&mut self, id: u64, limit: Duration) -> Option<Reply> {
        loop {
            if let Some(reply) = self.heard.entry(id).or_default().pop_front() {
                return Some(reply);
            }
            let told = timeout(limit, self.incoming.recv()).await.ok()?;
            if let Some(Incoming::Message(message)) = told
                && let Ok((_, Topic::Reply(_, id))) = Topic::parse(&message.topic)
            {
                let reply = decode::<Reply>(&message.payload).unwrap();
                self.heard.entry(id).or_default().push_back(reply);
            }
        }
    }

    /// Sends `input` along with call `id`, as it is allowed, and takes the answer to its end.
    pub(crate) async fn whole(&mut self, id: u64, input: Option<&[u8]>) -> Answer {
        let mut answer = Answer::default();
        let pieces = input.map(|input| input.chunks(32 << 10).map(|piece| (piece, false)));
        let mut pieces = pieces
            .into_iter()
            .flatten()
            .chain(input.map(|_| (&[][..], true)));
        let (mut sent, mut allowed) = (0, 0);
        loop {
            while sent < allowed
                && let Some((piece, last)) = pieces.next()
            {
                self.say(CallBody::input(id, sent, piece, last));
                sent += 1;
            }
            let reply = self.next(id, PATIENCE).await;
            let reply = reply.unwrap_or_else(|| panic!("no end: {answer:?}"));
            match reply.body {
                ReplyBody::Begun { credit: parts, .. } | ReplyBody::Credit { parts } => {
                    allowed = allowed.max(parts);
                }
                ReplyBody::Data { base64, stream } => {
                    let octets = octets(&base64).unwrap();
                    assert!(octets.len() <= 32 << 10, "a part is too long");
                    match stream {
                        Output::Stdout => answer.out.extend(octets),
                        Output::Stderr => answer.err.extend(octets),
                    }
                }
                ReplyBody::Ended { exit_code } => answer.exit_code = exit_code,
                ReplyBody::Error { message } => answer.refused = Some(message),
                other => panic!("{other:?}"),
            }
            if reply.last {
                return answer;
            }
            // A caller that reads everything at once.
            if reply.part % 16 == 15 {
                let parts = reply.part + 64;
                self.say(CallBody::Credit { id, parts });
            }
        }
    }
}
