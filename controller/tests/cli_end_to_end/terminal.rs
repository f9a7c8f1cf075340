//! `kc exec -it` on a terminal: raw while it runs, as before whatever ends it.

use super::logs::cluster;
use super::site::{Process, Site, until};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;

struct Terminal {
    ours: File,
    theirs: OwnedFd,
}

impl Terminal {
    fn open() -> Self {
        let pair = openpty(None, None).unwrap();
        let terminal = Self {
            ours: pair.master.into(),
            theirs: pair.slave,
        };
        terminal.resize(40, 100);
        terminal
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.ours, size).unwrap();
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.theirs).unwrap().local_modes;
        !modes.contains(LocalModes::ICANON)
    }

    fn exec(&self, site: &Site, command: &[&str]) -> Process {
        let end = || Stdio::from(self.theirs.try_clone().unwrap());
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_kc"))
            .env("KC_SERVER", format!("unix://{}", site.socket().display()))
            .env("KC_TOKEN", site.token())
            .args(["exec", "-it", "firewall-1", "--"])
            .args(command)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn();
        Process(child.unwrap())
    }

    /// Reads until `wanted` was said.
    fn hears(&mut self, wanted: &str) {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(wanted) {
            let mut buffer = [0; 100];
            let count = self.ours.read(&mut buffer).unwrap();
            heard.extend_from_slice(&buffer[..count]);
        }
    }
}

fn signal(kc: &Process, signal: Signal) {
    let pid = Pid::from_raw(kc.0.id().cast_signed());
    kill(pid, signal).unwrap();
}

#[test]
fn keys_go_through_sizes_too_and_the_terminal_is_put_back() {
    let (site, _boxes) = cluster();
    let mut terminal = Terminal::open();
    assert!(!terminal.is_raw());
    for (ending, code) in [
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
        (Signal::SIGINT, 130),
    ] {
        let mut kc = terminal.exec(&site, &["cat"]);
        until("the terminal is raw", || terminal.is_raw());
        // Ctrl-C is a key like others.
        terminal.ours.write_all(b"a\x03b").unwrap();
        terminal.hears("a\x03b");
        terminal.resize(50, 132);
        signal(&kc, Signal::SIGWINCH);
        terminal.hears("50x132");
        signal(&kc, ending);
        assert_eq!(kc.0.wait().unwrap().code(), Some(code));
        assert!(!terminal.is_raw(), "after {ending}");
    }
    let mut kc = terminal.exec(&site, &["exit", "5"]);
    assert_eq!(kc.0.wait().unwrap().code(), Some(5));
    assert!(!terminal.is_raw());
}

#[test]
fn the_terminal_is_put_back_when_the_box_goes() {
    let (site, boxes) = cluster();
    let terminal = Terminal::open();
    let mut kc = terminal.exec(&site, &["cat"]);
    until("the terminal is raw", || terminal.is_raw());
    drop(boxes);
    assert_eq!(kc.0.wait().unwrap().code(), Some(1));
    assert!(!terminal.is_raw());
}
