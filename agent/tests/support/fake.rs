//! A forwarder that forwards nothing and speaks the control protocol: the test program plays it
//! itself, in a process of its own.

use kc_forwarder_api::{ControlError, Counters, ErrorCode, Request, Response, Status, Tables};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A program that plays the forwarder by running the ignored test `plays_forwarder` of this
/// test program.
pub(crate) fn fake_forwarder(dir: &Path) -> PathBuf {
    let us = std::env::current_exe().unwrap();
    let path = dir.join("fake-forwarder");
    let script = format!(
        "#!/bin/sh\nKC_FAKE_SOCKET=\"$3\" KC_FAKE_TABLES=\"$5\" exec {} --exact plays_forwarder --ignored --nocapture\n",
        us.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Plays, when it was asked to by its environment.
pub(crate) fn play() {
    let Some(socket) = std::env::var_os("KC_FAKE_SOCKET") else {
        return;
    };
    let tables = std::env::var_os("KC_FAKE_TABLES").filter(|path| !path.is_empty());
    let tables: Tables = match tables {
        Some(path) => serde_json::from_slice(&fs::read(path).unwrap()).unwrap(),
        None => Tables::default(),
    };
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    // It outlives its agent, but not the test, whose directory goes in the end.
    std::thread::spawn(move || {
        while Path::new(&socket).exists() {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        std::process::exit(0);
    });
    let tables = Arc::new(Mutex::new(tables));
    for stream in listener.incoming() {
        let tables = Arc::clone(&tables);
        std::thread::spawn(move || serve(&stream.unwrap(), &tables));
    }
}

fn serve(stream: &UnixStream, tables: &Mutex<Tables>) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        let response = answer(
            &serde_json::from_str(&line).unwrap(),
            &mut tables.lock().unwrap(),
        );
        let mut out = serde_json::to_vec(&response).unwrap();
        out.push(b'\n');
        let mut stream = stream;
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}

fn answer(request: &Request, tables: &mut Tables) -> Response {
    let refuse = |code, message: &str| Response::Error {
        error: ControlError {
            code,
            message: message.into(),
        },
    };
    match request {
        // What the real one refuses depends on much; here a rule's name is enough.
        Request::Apply { tables: new } if new.rules.iter().any(|rule| rule.name == "refuse-me") => {
            refuse(ErrorCode::Invalid, "rule refuse-me leads nowhere")
        }
        // And one it never answers, as if it hung.
        Request::Apply { tables: new } if new.rules.iter().any(|rule| rule.name == "hang") => {
            std::thread::sleep(std::time::Duration::from_secs(600));
            refuse(ErrorCode::Busy, "")
        }
        Request::Apply { tables: new } if new.generation < tables.generation => {
            refuse(ErrorCode::Stale, "older")
        }
        Request::Apply { tables: new }
            if new.generation == tables.generation && **new != *tables =>
        {
            refuse(ErrorCode::Stale, "another")
        }
        Request::Apply { tables: new } => {
            *tables = (**new).clone();
            Response::Applied {
                generation: tables.generation,
            }
        }
        Request::Check { tables } => Response::Applied {
            generation: tables.generation,
        },
        Request::Tables => Response::Tables {
            tables: Box::new(tables.clone()),
        },
        Request::Counters => Response::Counters {
            counters: Box::new(Counters::default()),
        },
        Request::Probe { .. } => refuse(ErrorCode::Invalid, "a fake sends nothing"),
        Request::Capture { .. } => refuse(ErrorCode::Invalid, "a fake sees no frames"),
        Request::Status => Response::Status {
            status: Box::new(Status {
                version: "fake".into(),
                pid: std::process::id(),
                generation: tables.generation,
                uptime_ms: 1,
                threads: 1,
                ports: vec![],
                underlay: None,
                fast_path: None,
                tunnels: vec![],
                functions: vec![],
                neighbours: vec![],
            }),
        },
        Request::Echo { .. } => Response::Echo { reply: None },
        Request::Watch => Response::Watching {
            tunnels: vec![],
            functions: vec![],
        },
    }
}
