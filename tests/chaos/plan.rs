//! What goes wrong, and when. Pure: the same seed gives the same storms, whatever becomes of them.

use fastrand::Rng;
use std::fmt;
use std::time::Duration;

/// A process or container to be killed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Victim {
    /// The broker.
    Broker,
    /// The controller.
    Controller,
    /// A box's agent.
    Agent(u8),
    /// A box's Docker engine.
    Engine(u8),
    /// A box's forwarder; its agent is to start it again.
    Forwarder(u8),
    /// One of a box's containers, counted round what runs then; the engine or the agent is to start it again.
    Container(u8, u8),
}

/// A machine with a cable and a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Machine {
    /// Where broker and controller are.
    Hub,
    /// A box.
    Box(u8),
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL; a daemon is started again when the blow is over, as systemd would.
    Kill(Victim),
    /// The cable is pulled: frames are swallowed, nobody is told.
    Cut(Machine),
    /// The wall clock jumps by so many seconds, and stays there.
    Clock(Machine, i64),
    /// The file system under agent's or controller's data has no room.
    Fill(Machine),
}

/// One fault, when it begins and how long it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blow {
    /// Since the beginning of the storm.
    pub(crate) at: Duration,
    /// Until it is put right.
    pub(crate) lasts: Duration,
    /// What.
    pub(crate) fault: Fault,
}

/// The next storm over `boxes` boxes: two to six blows in four seconds.
pub(crate) fn storm(random: &mut Rng, boxes: u8) -> Vec<Blow> {
    let count = random.usize(2..=6);
    let mut blows: Vec<_> = (0..count)
        .map(|_| Blow {
            at: Duration::from_millis(random.u64(0..4_000)),
            lasts: Duration::from_millis(length(random)),
            fault: fault(random, boxes),
        })
        .collect();
    blows.sort_by_key(|blow| blow.at);
    blows
}

/// Mostly short, as a restart is; now and then longer than any time-out.
fn length(random: &mut Rng) -> u64 {
    match random.u8(0..10) {
        0..=4 => random.u64(20..500),
        5..=8 => random.u64(500..4_000),
        _ => random.u64(4_000..15_000),
    }
}

fn fault(random: &mut Rng, boxes: u8) -> Fault {
    let which = random.u8(1..=boxes);
    let machine = match random.u8(0..=boxes) {
        0 => Machine::Hub,
        k => Machine::Box(k),
    };
    match random.u8(0..100) {
        0..=9 => Fault::Kill(Victim::Broker),
        10..=19 => Fault::Kill(Victim::Controller),
        20..=34 => Fault::Kill(Victim::Agent(which)),
        35..=44 => Fault::Kill(Victim::Engine(which)),
        45..=54 => Fault::Kill(Victim::Forwarder(which)),
        55..=69 => Fault::Kill(Victim::Container(which, random.u8(..))),
        70..=79 => Fault::Cut(machine),
        80..=89 => Fault::Clock(machine, seconds(random)),
        _ => Fault::Fill(machine),
    }
}

/// A correction by NTP, a lost RTC battery, a typo in the year.
fn seconds(random: &mut Rng) -> i64 {
    let far = match random.u8(0..3) {
        0 => random.i64(1..30),
        1 => random.i64(60..86_400),
        _ => random.i64(86_400..1_000_000_000),
    };
    if random.bool() { far } else { -far }
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker => f.write_str("hub/broker"),
            Self::Controller => f.write_str("hub/controller"),
            Self::Agent(k) => write!(f, "box{k}/agent"),
            Self::Engine(k) => write!(f, "box{k}/dockerd"),
            Self::Forwarder(k) => write!(f, "box{k}/forwarder"),
            Self::Container(k, nth) => write!(f, "box{k}/container {nth}"),
        }
    }
}

impl fmt::Display for Machine {
    /// As namespaces, cables and directories are called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub => f.write_str("hub"),
            Self::Box(k) => write!(f, "box{k}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(victim) => write!(f, "kill {victim}"),
            Self::Cut(machine) => write!(f, "cut {machine}"),
            Self::Clock(machine, by) => write!(f, "set the clock of {machine} by {by:+} s"),
            Self::Fill(machine) => write!(f, "fill the disk of {machine}"),
        }
    }
}

#[test]
fn a_seed_tells_the_same_story_twice_and_another_tells_another() {
    let tell = |seed| {
        let mut random = Rng::with_seed(seed);
        (0..50).map(|_| storm(&mut random, 2)).collect::<Vec<_>>()
    };
    assert_eq!(tell(7), tell(7));
    assert_ne!(tell(7), tell(8));
    let all = tell(7).concat();
    for victim in [
        Victim::Broker,
        Victim::Controller,
        Victim::Agent(1),
        Victim::Engine(2),
    ] {
        assert!(
            all.iter()
                .any(|blow| blow.fault == Fault::Kill(victim.clone())),
            "{victim}"
        );
    }
}
