//! Calls that reach into containers of a real engine, over a real broker: output that is followed,
//! commands, files.
#![cfg(test)]

mod support;

use kc_agent::config::Overrides;
use kc_agent_api::{CallBody, Entry, NO_SUCH_CALL, Output, ReplyBody, Window, octets};
use std::time::Duration;
use support::{Answer, Broker, Caller, Engine, PATIENCE, on_a_box};
use tokio::time::{Instant, sleep};

/// Silence that shows that nothing comes any more.
const QUIET: Duration = Duration::from_millis(500);

fn container(engine: &Engine, name: &str, script: &str) {
    let name = format!("kc-{name}");
    engine.docker(&[
        "run",
        "-d",
        "--init=false",
        "--name",
        &name,
        "--network",
        "none",
        "--entrypoint",
        "/bin/sh",
        "kc-test:1",
        "-c",
        script,
    ]);
}

fn follow(container: &str, credit: u32) -> CallBody {
    CallBody::Logs {
        container: container.into(),
        tail: None,
        since_s: None,
        since_wall_s: None,
        follow: true,
        timestamps: false,
        previous: false,
        credit,
    }
}

fn exec(command: &[&str], stdin: bool, tty: Option<Window>) -> CallBody {
    CallBody::Exec {
        container: "box".into(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        stdin,
        tty,
        credit: 64,
    }
}

fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Asks the engine again until it is so.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

const WAITING: &str = "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done";

#[test]
fn a_log_is_followed_as_fast_as_it_is_taken_and_to_the_containers_end() {
    on_a_box("follow", async |engine| {
        let Some(_broker) = Broker::start() else {
            return;
        };
        let lines = "i=0; while [ $i -lt 60000 ]; do echo \"$i 0123456789012345678901234567890\"; \
                     i=$((i+1)); done; echo done >&2; while [ ! -e /go ]; do sleep 0.1; done; echo the end; \
                     while [ ! -e /gone ]; do sleep 0.1; done";
        container(&engine, "talker", lines);
        let mut caller = Caller::start(&engine, Overrides::default()).await;
        until("it has said all but the end", || {
            let last = engine.docker(&["logs", "--tail", "2", "kc-talker"]);
            last.contains("59999")
        })
        .await;
        let id = caller.say(follow("talker", 4));
        let mut parts = 0;
        while caller.next(id, QUIET).await.is_some() {
            parts += 1;
        }
        assert_eq!(parts, 4, "no part without credit");
        // Somebody else is answered meanwhile.
        let doctor = caller.say(CallBody::Doctor);
        let reply = caller.next(doctor, PATIENCE).await.unwrap();
        assert!(matches!(reply.body, ReplyBody::Doctor { .. }));
        // The same credit again means the same.
        caller.say(CallBody::Credit { id, parts: 4 });
        assert!(caller.next(id, QUIET).await.is_none());
        caller.say(CallBody::Credit { id, parts: 400 });
        engine.docker(&["exec", "kc-talker", "sh", "-c", ": > /go"]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        // The last words come before the container ends: engines drop what a reader that is
        // behind has not taken by then.
        while !out.ends_with(b"the end\n") {
            let reply = caller.next(id, PATIENCE).await.expect("the last words");
            let ReplyBody::Data { base64, stream } = reply.body else {
                panic!("{:?}", reply.body);
            };
            parts = reply.part;
            match stream {
                Output::Stdout => out.extend(octets(&base64).unwrap()),
                Output::Stderr => err.extend(octets(&base64).unwrap()),
            }
        }
        // 2.3 MB in parts of 32 KiB.
        assert!(parts < 250, "{parts} parts");
        engine.docker(&["exec", "kc-talker", "sh", "-c", ": > /gone"]);
        let rest = caller.whole(id, None).await;
        assert_eq!((rest.refused, rest.out.len()), (None, 0));
        assert_eq!(err, b"done\n");
        let text = String::from_utf8(out).unwrap();
        let numbers = text
            .lines()
            .filter_map(|line| line.split(' ').next()?.parse().ok());
        let numbers: Vec<u32> = numbers.collect();
        assert_eq!(numbers.last(), Some(&59_999));
        // The first line was parted.
        let gap = numbers[1..].windows(2).find(|two| two[0] + 1 != two[1]);
        assert_eq!(gap, None);
    });
}

#[test]
fn who_calls_off_or_falls_silent_is_forgotten() {
    on_a_box("forget", async |engine| {
        let Some(_broker) = Broker::start() else {
            return;
        };
        container(&engine, "box", WAITING);
        let mut caller = Caller::start(&engine, Overrides::default()).await;
        let id = caller.say(exec(&["cat"], true, None));
        let reply = caller.next(id, PATIENCE).await.unwrap();
        assert!(matches!(reply.body, ReplyBody::Begun { .. }));
        let running = || {
            let listed = engine.docker(&["top", "kc-box"]);
            listed.lines().any(|line| line.ends_with(" cat"))
        };
        until("it runs", running).await;
        caller.say(CallBody::Cancel { id });
        until("it does not outlive its caller", || !running()).await;
        // Whoever still waits for it, as a controller for an agent that was restarted, is told.
        caller.say(CallBody::Credit { id, parts: 70 });
        let reply = caller.next(id, PATIENCE).await.unwrap();
        assert_eq!((reply.part, reply.last), (NO_SUCH_CALL, true));
        assert!(matches!(reply.body, ReplyBody::Error { .. }));
        // Input with a gap is no input.
        let id = caller.say(exec(&["cat"], true, None));
        caller.next(id, PATIENCE).await.unwrap();
        caller.say(CallBody::input(id, 1, b"second", false));
        let answer = caller.whole(id, None).await;
        assert!(answer.refused.unwrap().contains("got lost"));
    });
}

#[test]
fn a_command_gets_its_input_and_gives_outputs_and_exit_code() {
    on_a_box("exec", async |engine| {
        let Some(_broker) = Broker::start() else {
            return;
        };
        container(&engine, "box", WAITING);
        let mut caller = Caller::start(&engine, Overrides::default()).await;
        let sent = noise(4 << 20);
        let id = caller.say(exec(&["cat"], true, None));
        let answer = caller.whole(id, Some(&sent)).await;
        assert!(answer.out == sent, "{} octets", answer.out.len());
        assert_eq!((answer.err.len(), answer.exit_code), (0, Some(0)));

        let cases: [(&[&str], i64, &str, &str); 4] = [
            (
                &["sh", "-c", "echo out; echo err >&2; exit 3"],
                3,
                "out\n",
                "err\n",
            ),
            (&["sh", "-c", "kill -9 $$"], 137, "", ""),
            (&["sh", "-c", "exec 0<&-; exit 7"], 7, "", ""),
            (&["cat"], 0, "", ""),
        ];
        for (command, code, out, err) in cases {
            let id = caller.say(exec(command, false, None));
            let Answer {
                out: o,
                err: e,
                exit_code,
                refused,
            } = caller.whole(id, None).await;
            let said = (String::from_utf8(o).unwrap(), String::from_utf8(e).unwrap());
            assert_eq!(
                said,
                (out.to_owned(), err.to_owned()),
                "{command:?} {refused:?}"
            );
            assert_eq!(exit_code, Some(code), "{command:?}");
        }
        for (command, code) in [("nothing-of-that-name", 127), ("/etc", 126)] {
            let id = caller.say(exec(&[command], false, None));
            let answer = caller.whole(id, None).await;
            assert_eq!(answer.exit_code, Some(code), "{answer:?}");
            let told = String::from_utf8_lossy(&answer.err);
            assert!(
                told.contains(command) && answer.out.is_empty(),
                "{answer:?}"
            );
        }
        // A command that only says the same is not taken for one.
        let words = "OCI runtime exec failed: executable file not found\n";
        let script = format!("echo '{}'; exit 125", words.trim());
        let id = caller.say(exec(&["sh", "-c", &script], false, None));
        let answer = caller.whole(id, None).await;
        assert_eq!((answer.out, answer.exit_code), (words.into(), Some(125)));
        let mut elsewhere = exec(&["cat"], false, None);
        if let CallBody::Exec { container, .. } = &mut elsewhere {
            *container = "nobody".into();
        }
        let id = caller.say(elsewhere);
        let refused = caller.whole(id, None).await.refused.unwrap();
        assert!(refused.contains("not on this box"), "{refused}");
    });
}

#[test]
fn a_terminal_has_its_size_and_is_told_of_another() {
    on_a_box("terminal", async |engine| {
        let Some(_broker) = Broker::start() else {
            return;
        };
        container(&engine, "box", WAITING);
        let mut caller = Caller::start(&engine, Overrides::default()).await;
        let window = |rows, columns| Window { rows, columns };
        let script = "trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.1; done";
        let id = caller.say(exec(&["sh", "-c", script], true, Some(window(24, 80))));
        let mut said = String::new();
        while !said.contains("ready") {
            let reply = caller.next(id, PATIENCE).await.unwrap();
            if let ReplyBody::Data { base64, .. } = reply.body {
                said.push_str(&String::from_utf8(octets(&base64).unwrap()).unwrap());
            }
        }
        let window = window(50, 132);
        caller.say(CallBody::Resize { id, window });
        let answer = caller.whole(id, None).await;
        assert_eq!(answer.exit_code, Some(4), "{answer:?}");
        assert!(
            String::from_utf8_lossy(&answer.out).contains("50 132"),
            "{answer:?}"
        );
    });
}

#[test]
fn a_box_may_refuse_to_have_its_containers_entered() {
    on_a_box("refuse", async |engine| {
        let Some(_broker) = Broker::start() else {
            return;
        };
        container(&engine, "box", "echo said; sleep 3600");
        let said = Overrides {
            allow_exec: Some(false),
            ..Overrides::default()
        };
        let mut caller = Caller::start(&engine, said).await;
        let (container, path) = (|| "box".to_owned(), || "/".to_owned());
        for body in [
            exec(&["cat"], false, None),
            CallBody::Upload {
                container: container(),
                path: path(),
                credit: 8,
            },
            CallBody::Download {
                container: container(),
                path: path(),
                credit: 8,
            },
        ] {
            let id = caller.say(body);
            let refused = caller.whole(id, None).await.refused.unwrap();
            assert!(refused.contains("allow-exec"), "{refused}");
        }
        let id = caller.say(follow("box", 8));
        let mut said = Vec::new();
        while said.is_empty() {
            if let ReplyBody::Data { base64, .. } = caller.next(id, PATIENCE).await.unwrap().body {
                said = octets(&base64).unwrap();
            }
        }
        assert_eq!(said, b"said\n", "logs are told all the same");
    });
}

/// A tar archive of one file.
fn archive(dir: &std::path::Path, name: &str, octets: &[u8]) -> Vec<u8> {
    std::fs::write(dir.join(name), octets).unwrap();
    let tar = std::process::Command::new("tar")
        .args(["-C", dir.to_str().unwrap(), "-cf", "-", name])
        .output();
    tar.unwrap().stdout
}

#[test]
fn files_go_in_and_come_out_as_archives() {
    on_a_box("copies", async |engine| {
        let Some(_broker) = Broker::start() else {
            return;
        };
        container(&engine, "box", WAITING);
        let mut caller = Caller::start(&engine, Overrides::default()).await;
        let sent = noise(3 << 20);
        let upload = |path: &str| CallBody::Upload {
            container: "box".into(),
            path: path.into(),
            credit: 64,
        };
        let download = |path: &str| CallBody::Download {
            container: "box".into(),
            path: path.into(),
            credit: 64,
        };
        let tar = archive(engine.dir.path(), "noise", &sent);
        let id = caller.say(upload("/bin"));
        let done = caller.whole(id, Some(&tar)).await;
        assert_eq!(done.refused, None);
        let id = caller.say(exec(&["cat", "/bin/noise"], false, None));
        assert!(caller.whole(id, None).await.out == sent);

        let id = caller.say(download("/bin/noise"));
        let reply = caller.next(id, PATIENCE).await.unwrap();
        let entry = Some(Entry::File);
        assert!(matches!(reply.body, ReplyBody::Begun { entry: e, .. } if e == entry));
        let back = caller.whole(id, None).await.out;
        std::fs::write(engine.dir.path().join("back.tar"), back).unwrap();
        let tar_of = engine.dir.path().join("back.tar");
        let out = std::process::Command::new("tar")
            .args(["-xOf", tar_of.to_str().unwrap()])
            .output();
        assert!(out.unwrap().stdout == sent);

        for (body, words) in [
            (upload("/nowhere/at/all"), "no directory /nowhere/at"),
            (upload("/new/"), "no directory /new/"),
            (download("/nowhere"), "no /nowhere"),
        ] {
            let id = caller.say(body);
            let refused = caller.whole(id, Some(&tar)).await.refused.unwrap();
            assert!(refused.contains(words), "{refused}");
        }
        // Half an archive is not taken for a whole one.
        let id = caller.say(upload("/bin"));
        caller.next(id, PATIENCE).await.unwrap();
        caller.say(CallBody::input(id, 0, &tar[..1024], false));
        caller.say(CallBody::input(id, 2, &tar[..1024], false));
        assert!(caller.whole(id, None).await.refused.is_some());
    });
}
