//! Before anything is measured: does what comes out have what the work asks for?

use crate::contestant::Entrant;
use crate::instruments::Instruments;
use crate::interrupt;
use crate::run::pinned;
use crate::trial;
use crate::work::{Task, Work};
use anyhow::{Context, Result, bail};
use kc_tests::bench::frames::{Sizes, Traffic, site as address};
use kc_tests::bench::judge::Expected;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

/// Octets of the frames that are looked at.
const SIZE: u16 = 80;

/// Frames that are looked at; the first ones may be somebody else's.
const LOOKED_AT: &str = "64";

/// Sends frames and looks at what comes out; `strictly`, or for any frame at all.
pub(crate) fn run(
    entrant: &Entrant,
    instruments: &Instruments,
    task: Task,
    strictly: bool,
) -> Result<()> {
    let site = &entrant.site;
    let program = instruments.program("peek")?;
    let mut command = pinned(
        &site.sink,
        &[site.cores.traffic],
        &program.to_string_lossy(),
    );
    command.args(["snk0", LOOKED_AT, "5000"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut peek = kc_tests::lab::Process {
        child: command.spawn()?,
    };
    let mut lines = BufReader::new(peek.child.stdout.take().context("no output")?);
    lines.read_line(&mut String::new())?;
    let traffic = Traffic {
        wrap: task.work.arrives(),
        sizes: Sizes::One(SIZE),
        flows: 1,
        paths: task.paths,
        checksum: false,
    };
    let generator = trial::flood(entrant, instruments, &traffic, 10.0)?;
    let expected = Expected {
        wrap: task.work.leaves(),
        size: SIZE,
        vni: task.work.next_vni(),
        si: match task.work {
            Work::ProxyHop => address::SI - 1,
            _ => address::SI,
        },
        ttl: match task.work {
            Work::GpeHop | Work::EthHop => Some(62),
            Work::GpeEncap | Work::EthEncap => Some(63),
            _ => None,
        },
    };
    let mut verdict = Err("nothing came out".to_owned());
    for line in lines.lines() {
        verdict = expected.judge(&octets(&line?));
        if verdict.is_ok() || !strictly {
            break;
        }
    }
    drop(generator);
    interrupt::sleep(Duration::ZERO)?;
    match verdict {
        Err(wrong) if strictly || wrong == "nothing came out" => bail!("{wrong}"),
        _ => Ok(()),
    }
}

fn octets(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks_exact(2);
    digits
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
