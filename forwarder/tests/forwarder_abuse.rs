//! The control socket under abuse while packets flow: whatever clients send, hold open or leave
//! unread, no packet is lost for it, each refusal has its name, and tables stay as they were.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test program")]

use kc_forwarder::control::{Client, ClientError, MAX_CLIENTS};
use kc_forwarder_api::{ErrorCode, MAX_REQUEST, PortState, Response, Tables};
use kc_tests::lab::{Forwarder, Lab, Namespace, PATIENCE, Process, Tcp, unexpected_drops};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the forwarder grants a message, once begun, and an answer to be taken.
const GRANTED: Duration = Duration::from_secs(10);

/// The longest that a request may take beside the abuse, on a machine that has other work too.
const PROMPT: Duration = Duration::from_secs(3);

/// client e0 - p0 [forwarder] p1 - e0 server.
struct Scene {
    forwarder: Forwarder,
    client: Namespace,
    server: Namespace,
    tables: Tables,
    _middle: Namespace,
    _lab: Lab,
}

impl Scene {
    /// The forwarder runs, with `more` behind its two rules.
    fn open(more: &str) -> Option<Self> {
        let lab = Lab::open()?;
        let (client, middle, server) = (lab.namespace(), lab.namespace(), lab.namespace());
        client.join("e0", &middle, "p0");
        server.join("e0", &middle, "p1");
        client.address("e0", "10.9.0.1/24");
        server.address("e0", "10.9.0.2/24");
        let mut text = "generation = 5\n".to_owned();
        for (from, to) in [("p0", "p1"), ("p1", "p0")] {
            write!(
                text,
                "[[ports]]\nname = \"{from}\"\n[[rules]]\nname = \"from-{from}\"\n\
                 match = {{ port = \"{from}\" }}\naction = {{ egress = {{ port = \"{to}\" }} }}\n"
            )
            .unwrap();
        }
        text.push_str(more);
        let forwarder = Forwarder::start(&lab, &middle, "abused", &text);
        // The kernel tells of carriers up to a second after both ends are up, and what the ports
        // are is compared with what they were.
        forwarder.wait(
            |client| {
                let ports = client.status().unwrap().ports;
                ports.iter().all(|port| port.state == PortState::Up)
            },
            "carriers",
        );
        let tables = forwarder.client().tables().unwrap();
        Some(Self {
            forwarder,
            client,
            server,
            tables,
            _middle: middle,
            _lab: lab,
        })
    }

    fn connect(&self) -> UnixStream {
        connect(&self.forwarder.socket)
    }

    /// Commits `abuse` again and again until packets have flowed beside it for a while: checked
    /// TCP before and after, pings all the time. Nothing may be lost or changed.
    fn suffers(&self, mut abuse: impl FnMut()) {
        let former = self.forwarder.client().status().unwrap();
        let server = Tcp::serve(&self.server, "10.9.0.2");
        Tcp::exchange(&self.client, "10.9.0.2", 1 << 20);
        let pings = Pings::start(&self.client, "10.9.0.2");
        let enough = pings.answered() + 25;
        let begin = Instant::now();
        while pings.answered() < enough {
            assert!(
                begin.elapsed() < 2 * PATIENCE,
                "no packets beside the abuse"
            );
            abuse();
        }
        let (sent, received) = pings.stop();
        // The last may be on its way.
        assert!(received + 1 >= sent, "{received} answers to {sent} pings");
        Tcp::exchange(&self.client, "10.9.0.2", 1 << 20);
        drop(server);

        let status = self.forwarder.client().status().unwrap();
        assert_eq!(
            (status.pid, status.generation, status.ports),
            (former.pid, former.generation, former.ports)
        );
        assert_eq!(self.forwarder.client().tables().unwrap(), self.tables);
        let drops = unexpected_drops(&self.forwarder.counters(), &[]);
        assert!(drops.is_empty(), "{drops:?}");
    }

    /// A line of `/proc/<pid>/status`, in octets.
    fn memory(&self, name: &str) -> usize {
        let pid = self.forwarder.client().status().unwrap().pid;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<usize>().unwrap() << 10
    }
}

/// Pings that go on until they are stopped.
struct Pings {
    process: Process,
    answered: Arc<AtomicUsize>,
    last_words: JoinHandle<String>,
}

impl Pings {
    /// Returns when the first is answered.
    fn start(namespace: &Namespace, address: &str) -> Self {
        let mut command = namespace.command("ping");
        command.args(["-n", "-i", "0.02", address]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let process = Process { child };
        assert!(lines.any(|line| line.unwrap().contains("bytes from")));
        let answered = Arc::new(AtomicUsize::new(1));
        let count = Arc::clone(&answered);
        let last_words = std::thread::spawn(move || {
            let mut last_words = String::new();
            for line in lines.map_while(Result::ok) {
                if line.contains("bytes from") {
                    count.fetch_add(1, Ordering::Relaxed);
                } else if line.contains("packets transmitted") {
                    last_words = line;
                }
            }
            last_words
        });
        Self {
            process,
            answered,
            last_words,
        }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// How many were sent, and how many answered.
    fn stop(self) -> (usize, usize) {
        self.process.signal("INT");
        let words = self.last_words.join().unwrap();
        let mut numbers = words.split(' ').filter_map(|word| word.parse().ok());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(2 * PATIENCE)).unwrap();
    stream
}

/// The next answer, or `None` where the forwarder has hung up.
fn answer(stream: &mut impl BufRead) -> Option<Response> {
    let mut line = String::new();
    match stream.read_line(&mut line) {
        Ok(0) => None,
        Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("{error}"),
    }
}

/// What a refusal is called.
fn code(response: Option<Response>) -> Option<ErrorCode> {
    match response {
        Some(Response::Error { error }) => Some(error.code),
        _ => None,
    }
}

#[test]
fn half_messages_and_deaf_clients_are_given_up_and_nobody_else_waits() {
    // An answer that no socket buffer takes whole.
    let rules: String = (1..=3000)
        .map(|port| {
            format!(
                "[[rules]]\nname = \"unmet-{port}\"\n\
                 match = {{ port = \"p0\", protocol = \"udp\", destination-ports = \"{port}\" }}\n\
                 action = {{ egress = {{ port = \"p1\" }} }}\n"
            )
        })
        .collect();
    let Some(scene) = Scene::open(&rules) else {
        return;
    };
    let mut once = false;
    scene.suffers(|| {
        if std::mem::replace(&mut once, true) {
            return;
        }
        let begin = Instant::now();
        let mut waiting = Vec::new();
        for _ in 0..20 {
            let mut half = scene.connect();
            half.write_all(b"{\"op\":\"stat").unwrap();
            waiting.push(std::thread::spawn(move || {
                let mut half = BufReader::new(half);
                assert_eq!(code(answer(&mut half)), Some(ErrorCode::Malformed));
                assert!(answer(&mut half).is_none());
                begin.elapsed()
            }));
            let mut deaf = scene.connect();
            waiting.push(std::thread::spawn(move || {
                let error = loop {
                    if let Err(error) = deaf.write_all(b"{\"op\":\"tables\"}\n") {
                        break error;
                    }
                };
                let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                assert!(gone.contains(&error.kind()), "{error}");
                begin.elapsed()
            }));
        }
        let mut client = scene.forwarder.client();
        while waiting.iter().any(|thread| !thread.is_finished()) {
            let asked = Instant::now();
            client.status().unwrap();
            scene.forwarder.counters();
            assert!(asked.elapsed() < PROMPT, "{:?}", asked.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        for thread in waiting {
            let took = thread.join().unwrap();
            assert!(took >= GRANTED && took < GRANTED + PROMPT, "{took:?}");
        }
    });
}

#[test]
fn messages_of_a_hundred_megabytes_are_refused_in_bounded_memory() {
    let Some(scene) = Scene::open("") else { return };
    let (peak, resident) = (scene.memory("VmHWM"), scene.memory("VmRSS"));
    let send = || {
        let mut stream = scene.connect();
        let piece = vec![b'['; 1 << 20];
        // The forwarder need not hear all of it to say no.
        let _ = (0..100).try_for_each(|_| stream.write_all(&piece));
        code(answer(&mut BufReader::new(stream)))
    };
    let slack = 16 << 20;
    scene.suffers(|| assert_eq!(send(), Some(ErrorCode::TooLarge)));
    let alone = scene.memory("VmHWM") - peak;
    assert!(alone < MAX_REQUEST + slack, "{alone}");

    // Many at once share twice the room of one.
    scene.suffers(|| {
        let codes = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
            let codes = threads.into_iter().map(|thread| thread.join().unwrap());
            codes.collect::<Vec<_>>()
        });
        let known = [Some(ErrorCode::TooLarge), Some(ErrorCode::Busy)];
        assert!(codes.iter().all(|code| known.contains(code)), "{codes:?}");
    });
    let together = scene.memory("VmHWM") - peak;
    assert!(together < 2 * MAX_REQUEST + 2 * slack, "{together}");
    let left = scene.memory("VmRSS").saturating_sub(resident);
    assert!(left < slack, "{left}");
    println!("octets more: {alone} for one, {together} for four, {left} afterwards");
}

#[test]
fn wrong_generations_from_many_clients_change_nothing() {
    let Some(scene) = Scene::open("") else { return };
    let empty = |generation| Tables {
        generation,
        ..Tables::default()
    };
    // No ports under the rules: newer, and still not to be had.
    let mut unsound = scene.tables.clone();
    unsound.generation = 6;
    unsound.ports.clear();
    let cases = [
        (empty(0), ErrorCode::Stale),
        (empty(4), ErrorCode::Stale),
        (empty(5), ErrorCode::Stale),
        (unsound, ErrorCode::Invalid),
    ];
    let refused = || {
        let mut client = scene.forwarder.client();
        for (tables, code) in &cases {
            match client.apply(tables.clone()) {
                Err(ClientError::Refused(error)) => assert_eq!(error.code, *code, "{error}"),
                other => panic!("{other:?}"),
            }
        }
    };
    scene.suffers(|| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(refused);
            }
        });
    });
}

#[test]
fn random_octets_and_json_of_the_wrong_shape_are_malformed() {
    let Some(scene) = Scene::open("") else { return };
    let deep = "[".repeat(1 << 20);
    let deep_tables = format!("{{\"op\":\"apply\",\"tables\":{deep}");
    let shapes = [
        "null",
        "5",
        "\"status\"",
        "[\"status\"]",
        "[\"apply\",{\"generation\":77}]",
        "{}",
        "{\"op\":5}",
        "{\"op\":[\"status\"]}",
        "{\"op\":\"status\"}{\"op\":\"status\"}",
        "{\"op\":\"status\",\"op\":\"tables\"}",
        "{\"op\":\"apply\"}",
        "{\"op\":\"apply\",\"tables\":5}",
        "{\"op\":\"apply\",\"tables\":{\"generation\":-1}}",
        "{\"op\":\"apply\",\"tables\":{\"generation\":\"9\"}}",
        "{\"op\":\"apply\",\"tables\":{\"generation\":18446744073709551616}}",
        "{\"op\":\"apply\",\"tables\":{\"generation\":9,\"generation\":10}}",
        "{\"op\":\"apply\",\"tables\":{\"generation\":9,\"ports\":{}}}",
        "{\"op\":\"apply\",\"tables\":{\"generation\":9,\"prots\":[]}}",
        "{\"op\":\"probe\",\"probe\":{}}",
        "{\"op\":\"echo\"}",
        &deep,
        &deep_tables,
    ];
    let mut random = fastrand::Rng::with_seed(9);
    scene.suffers(|| {
        let mut stream = BufReader::new(scene.connect());
        for shape in shapes {
            stream.get_mut().write_all(shape.as_bytes()).unwrap();
            stream.get_mut().write_all(b"\n").unwrap();
            let code = code(answer(&mut stream));
            let start = shape.get(..60).unwrap_or(shape);
            assert_eq!(code, Some(ErrorCode::Malformed), "{start}");
        }
        for _ in 0..200 {
            let length = random.usize(0..2000);
            let octets = std::iter::repeat_with(|| random.u8(..));
            let mut line: Vec<_> = octets
                .filter(|&octet| octet != b'\n')
                .take(length)
                .collect();
            line.push(b'\n');
            stream.get_mut().write_all(&line).unwrap();
            let code = code(answer(&mut stream));
            assert_eq!(code, Some(ErrorCode::Malformed), "{line:?}");
        }
        // The same connection is still good for a question that makes sense.
        stream
            .get_mut()
            .write_all(b"{\"op\":\"status\"}\n")
            .unwrap();
        assert!(matches!(answer(&mut stream), Some(Response::Status { .. })));
        // Last words that are no line are answered, too, and then it is over.
        stream.get_mut().write_all(&[0xff; 100]).unwrap();
        stream
            .get_mut()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
        assert_eq!(code(answer(&mut stream)), Some(ErrorCode::Malformed));
        assert!(answer(&mut stream).is_none());
    });
}

#[test]
fn of_a_thousand_connections_the_first_are_served_and_the_others_are_told_busy() {
    let Some(scene) = Scene::open("") else { return };
    scene.suffers(|| {
        let (mut served, mut busy) = (Vec::new(), 0);
        // In crowds that fit into the usual limit of 1,024 open files.
        for _ in 0..4 {
            let crowd: Vec<_> = (0..250).map(|_| scene.connect()).collect();
            for mut stream in crowd {
                // Who was told already finds the other end closed.
                let _ = stream.write_all(b"{\"op\":\"status\"}\n");
                let mut stream = BufReader::new(stream);
                match answer(&mut stream) {
                    Some(Response::Status { .. }) => served.push(stream),
                    Some(Response::Error { error }) if error.code == ErrorCode::Busy => {
                        assert!(answer(&mut stream).is_none(), "hung up");
                        busy += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(served.len() + busy, 1000);
        // A client that has just gone may still have counted.
        assert!((MAX_CLIENTS - 2..=MAX_CLIENTS).contains(&served.len()));
        for stream in &mut served {
            stream
                .get_mut()
                .write_all(b"{\"op\":\"tables\"}\n")
                .unwrap();
            assert!(matches!(answer(stream), Some(Response::Tables { .. })));
        }
        drop(served);
        // Room again for as many, all at once.
        let begin = Instant::now();
        let mut again: Vec<Client> = Vec::new();
        while again.len() < MAX_CLIENTS {
            assert!(begin.elapsed() < PATIENCE, "room for {} again", again.len());
            let mut client = scene.forwarder.client();
            match client.status() {
                Ok(_) => again.push(client),
                Err(ClientError::Refused(error)) => assert_eq!(error.code, ErrorCode::Busy),
                Err(error) => panic!("{error:?}"),
            }
        }
        drop(again);
        // The places are free when somebody is served who comes behind them.
        while scene.forwarder.client().status().is_err() {
            assert!(begin.elapsed() < PATIENCE, "room at last");
        }
    });
}
