//! A box with the real agent on it, and somebody who plays the controller.

use super::package::Signer;
use crate::support::{Broker, IMAGE, PATIENCE, fake_forwarder, run};
use kc_agent_api::{
    Call, CallBody, Event, EventKind, NodeStatus, Payload, Presence, Reply, ReplyBody,
    UpdateOutcome, UpdateRecord, decode, encode,
};
use kc_mqtt::{Config, Incoming, Link, Message, QoS};
use nix::sys::socket::{getsockopt, sockopt};
use std::fs;
use std::future::Future;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const NODE: &str = "kcluster/lab/node/pi-1";

/// Runs `test` in a network namespace of its own. Says so and passes where that cannot be had.
pub(crate) fn in_a_namespace<T, F>(test: T)
where
    T: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()>,
{
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let thread = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        run("ip", &["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// What was heard, and when.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) at: Instant,
    pub(crate) topic: String,
    payload: Vec<u8>,
}

impl Heard {
    fn read<P: Payload>(&self, leaf: &str) -> Option<P> {
        let ours = self.topic.strip_prefix(NODE)? == leaf;
        ours.then(|| decode(&self.payload).unwrap())
    }
}

/// How the box is set up.
pub(crate) struct Plan {
    pub(crate) docker: PathBuf,
    pub(crate) trial_s: u64,
    pub(crate) state_dir: Option<PathBuf>,
    /// Whether somebody has said which forwarder is to be started.
    pub(crate) forwarder_named: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            docker: "/nonexistent/docker.sock".into(),
            trial_s: 20,
            state_dir: None,
            forwarder_named: true,
        }
    }
}

/// The box, its agent and its controller.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) signer: Signer,
    pub(crate) heard: Vec<Heard>,
    pub(crate) state_dir: PathBuf,
    docker: PathBuf,
    forwarder_named: bool,
    manager: Arc<Mutex<String>>,
    agent: Option<Child>,
    link: Link,
    incoming: Receiver<Incoming>,
    broker: Option<Broker>,
    next: u64,
}

/// Listens as a system manager does, and writes down what it is told.
fn manager(socket: &Path) -> Arc<Mutex<String>> {
    let told = Arc::<Mutex<String>>::default();
    let (listener, heard) = (UnixDatagram::bind(socket).unwrap(), Arc::clone(&told));
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = listener.recv(&mut buffer) {
            let words = String::from_utf8_lossy(&buffer[..count]);
            heard.lock().unwrap().push_str(&format!("{words}\n"));
        }
    });
    told
}

/// Processes whose program or arguments name what is below a directory.
fn naming(path: &Path) -> Vec<u32> {
    let name = path.to_str().unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let names_it = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(name)
    };
    all.filter(names_it).collect()
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        // What a failed test has left, and forwarders, which outlive their agents.
        for pid in naming(self.dir.path()) {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Site {
    /// `None`, said aloud, where there is no broker.
    pub(crate) async fn start(plan: Plan) -> Option<Self> {
        let broker = Broker::start()?;
        let dir = tempfile::tempdir().unwrap();
        let signer = Signer::new();
        let keys = dir.path().join("trust.d");
        fs::create_dir(&keys).unwrap();
        fs::write(keys.join("owner.pub"), signer.public_key()).unwrap();
        fake_forwarder(dir.path());
        let config = format!("[update]\ntrial-s = {}\n", plan.trial_s);
        fs::write(dir.path().join("agent.toml"), config).unwrap();
        let mut config = Config::new("127.0.0.1", 1883, "controller");
        let filters = ["status", "event", "load", "state", "reply/+"];
        config.subscriptions = filters
            .map(|leaf| (format!("{NODE}/{leaf}"), QoS::AtLeastOnce))
            .into();
        let (link, mut incoming) = Link::start(config);
        while timeout(PATIENCE, incoming.recv()).await.unwrap() != Some(Incoming::Connected) {}
        let manager = manager(&dir.path().join("notify"));
        let state_dir = plan.state_dir.unwrap_or_else(|| dir.path().join("state"));
        let mut site = Self {
            dir,
            signer,
            heard: Vec::new(),
            state_dir,
            docker: plan.docker,
            forwarder_named: plan.forwarder_named,
            manager,
            agent: None,
            link,
            incoming,
            broker: Some(broker),
            next: 0,
        };
        site.start_agent();
        site.until_online().await;
        Some(site)
    }

    /// Starts the system's own agent, as a system manager would.
    pub(crate) fn start_agent(&mut self) {
        let at = |name: &str| self.dir.path().join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_kc-agent"));
        let docker = format!("unix://{}", self.docker.display());
        command.args(["run", "--node", "pi-1", "--docker", &docker]);
        command.arg("--config").arg(at("agent.toml"));
        command.arg("--state-dir").arg(&self.state_dir);
        command.arg("--run-dir").arg(at("run"));
        command.arg("--trusted-keys").arg(at("trust.d"));
        if self.forwarder_named {
            command.arg("--forwarder").arg(at("fake-forwarder"));
        }
        command.env("NOTIFY_SOCKET", at("notify"));
        command.env("WATCHDOG_USEC", "2000000");
        command.args(["--pause-image", IMAGE]);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(at("agent.log"))
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.agent = Some(command.spawn().unwrap());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("agent.log")).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.agent.as_ref().unwrap().id()
    }

    /// SIGKILL for the agent that was started, whatever it has become.
    pub(crate) fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// The same, once the broker has told of it.
    pub(crate) async fn crash(&mut self) {
        self.kill_agent();
        let gone = |status: NodeStatus| (status.presence == Presence::Offline).then_some(());
        self.until("/status", "gone", gone).await;
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.agent.as_mut().unwrap().try_wait(), Ok(None))
    }

    /// Hears all that was said until now.
    pub(crate) async fn catch_up(&mut self) {
        self.next += 1;
        let mark = self.next;
        let body = ReplyBody::Credit { parts: 0 };
        let reply = Reply {
            part: 0,
            last: true,
            body,
        };
        self.say(&format!("reply/{mark}"), &reply, false);
        let itself = |_: Reply| Some(());
        self.until(&format!("/reply/{mark}"), "the mark", itself)
            .await;
    }

    /// Waits until the agent has ended by itself.
    pub(crate) async fn until_end(&mut self) -> ExitStatus {
        let mut agent = self.agent.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || agent.wait().unwrap());
        timeout(PATIENCE, ended).await.unwrap().unwrap()
    }

    pub(crate) fn stop_broker(&mut self) {
        self.broker = None;
    }

    pub(crate) fn start_broker(&mut self) {
        self.broker = Broker::start();
    }

    /// All that the system manager was told since this was asked last.
    pub(crate) fn told_manager(&self) -> String {
        std::mem::take(&mut *self.manager.lock().unwrap())
    }

    /// The process of the forwarder that answers.
    pub(crate) fn forwarder(&self) -> u32 {
        let stream = UnixStream::connect(self.dir.path().join("run/forwarder.sock")).unwrap();
        let peer = getsockopt(&stream, sockopt::PeerCredentials).unwrap();
        peer.pid().cast_unsigned()
    }

    /// The program that runs under a process number.
    pub(crate) fn exe(pid: u32) -> PathBuf {
        fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default()
    }

    /// Processes that are agents of this box, by their programs or their arguments.
    pub(crate) fn agents(&self) -> Vec<u32> {
        naming(&self.state_dir)
    }

    /// What is in the directory of versions.
    pub(crate) fn shelved(&self) -> Vec<String> {
        let listed = fs::read_dir(self.state_dir.join("versions"));
        let names = listed.into_iter().flatten().flatten();
        let mut names: Vec<_> = names
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn current(&self) -> Option<PathBuf> {
        fs::read_link(self.state_dir.join("versions/current")).ok()
    }

    pub(crate) fn say<P: Payload>(&self, leaf: &str, payload: &P, retain: bool) {
        let message = Message {
            topic: format!("{NODE}/{leaf}"),
            payload: encode(payload).unwrap(),
            qos: QoS::AtLeastOnce,
            retain,
        };
        self.link.publish(message).unwrap();
    }

    /// The next that is heard.
    async fn hear(&mut self) -> &Heard {
        loop {
            let told = timeout(PATIENCE, self.incoming.recv()).await;
            let told = told.unwrap_or_else(|_| panic!("silence: {}", self.log()));
            if let Some(Incoming::Message(message)) = told {
                self.heard.push(Heard {
                    at: Instant::now(),
                    topic: message.topic,
                    payload: message.payload,
                });
                return self.heard.last().unwrap();
            }
        }
    }

    /// Waits for something on a topic of the box for which `found` finds something.
    pub(crate) async fn until<P: Payload, R>(
        &mut self,
        leaf: &str,
        what: &str,
        mut found: impl FnMut(P) -> Option<R>,
    ) -> R {
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "never: {what}: {}", self.log());
            if let Some(found) = self.hear().await.read(leaf).and_then(&mut found) {
                return found;
            }
        }
    }

    pub(crate) async fn until_online(&mut self) -> NodeStatus {
        let online = |status: NodeStatus| (status.presence == Presence::Online).then_some(status);
        self.until("/status", "online", online).await
    }

    /// Waits until the newest update is decided, and its event is told.
    pub(crate) async fn until_decided(&mut self, attempt: u32) -> (NodeStatus, UpdateRecord) {
        let decided = |status: NodeStatus| {
            let record = status.update.clone()?;
            let over = record.outcome != UpdateOutcome::Trying && record.attempt == attempt;
            (over && status.presence == Presence::Online).then_some((status, record))
        };
        self.until("/status", "decided", decided).await
    }

    /// Waits for the event of an update's end, which may have been heard already.
    pub(crate) async fn until_event(&mut self, kind: EventKind, word: &str) {
        let fits = |event: &Event| event.kind == kind && event.message.contains(word);
        let before = self.heard.iter().rev().take(40);
        let mut events = before.filter_map(|heard| heard.read::<Event>("/event"));
        if !events.any(|event| fits(&event)) {
            let what = format!("{kind} with {word:?}");
            self.until("/event", &what, |event| fits(&event).then_some(()))
                .await;
        }
    }

    /// The presence of every status that was heard since `since`.
    pub(crate) fn presences(&self, since: Instant) -> Vec<Presence> {
        let later = self.heard.iter().filter(|heard| heard.at >= since);
        let statuses = later.filter_map(|heard| heard.read::<NodeStatus>("/status"));
        statuses.map(|status| status.presence).collect()
    }

    /// Longest time since `since` in which nothing came that shows that the box is alive.
    pub(crate) fn longest_gap(&self, since: Instant) -> Duration {
        let alive = |heard: &&Heard| heard.at >= since && !heard.topic.contains("/reply/");
        let times: Vec<_> = self
            .heard
            .iter()
            .filter(alive)
            .map(|heard| heard.at)
            .collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }

    /// Sends a signed update; the box's refusal, or that it goes on trial.
    pub(crate) async fn update(&mut self, attempt: u32, archive: &[u8]) -> Result<(), String> {
        let signature = self.signer.sign(archive);
        self.send(attempt, archive, archive.len() as u64, signature, false)
            .await
    }

    /// Says something; gives its number.
    pub(crate) fn call(&mut self, body: CallBody) -> u64 {
        self.next += 1;
        let id = self.next;
        self.say(&format!("call/{id}"), &Call { body }, false);
        id
    }

    pub(crate) async fn send(
        &mut self,
        attempt: u32,
        archive: &[u8],
        size: u64,
        signature: String,
        allow_downgrade: bool,
    ) -> Result<(), String> {
        let id = self.call(CallBody::Update {
            attempt,
            size,
            signature,
            allow_downgrade,
            credit: 32,
        });
        let (mut sent, mut allowed) = (0, 0);
        let mut pieces = archive
            .chunks(32 << 10)
            .map(|piece| (piece, false))
            .collect::<Vec<_>>();
        pieces.push((&[], true));
        let mut pieces = pieces.into_iter();
        loop {
            while sent < allowed
                && let Some((piece, last)) = pieces.next()
            {
                self.call(CallBody::input(id, sent, piece, last));
                sent += 1;
            }
            let reply = |reply: Reply| Some(reply);
            let reply: Reply = self
                .until(&format!("/reply/{id}"), "an answer", reply)
                .await;
            match reply.body {
                ReplyBody::Begun { credit: parts, .. } | ReplyBody::Credit { parts } => {
                    allowed = allowed.max(parts);
                }
                ReplyBody::Ended { .. } => return Ok(()),
                ReplyBody::Error { message } => return Err(message),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A path's text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
