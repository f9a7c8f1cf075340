//! A forwarder's life as octets: steps, each a kind, three parameters, a length and octets. A
//! fuzzer writes them blindly and a seed on purpose; here they are told apart, in `subject` they
//! are done and what comes of them is judged. Any octets are steps: nothing is refused.

mod guest;
pub(crate) mod mend;
mod places;
mod subject;

pub(crate) use subject::{Chosen, Subject};

use kc_forwarder::pipeline::Compiled;

/// What to do in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A frame from port `a`; `b` says what the kernel knows of it, and whether its checksums are
    /// made right before.
    Port,
    /// A UDP payload from VTEP `a` of those that the tables name, in an outer header of class `b`.
    Gpe,
    /// The same by plain VXLAN.
    Vxlan,
    /// Octets behind a sound NSH, at hop `a` of the tables, by way `b` of those that NSH may come
    /// in by; `c` is its kind.
    Service,
    /// A frame in segment `a` from a peer.
    Overlay,
    /// The `a`th last of the frames that left comes back, changed as `b` says and then as
    /// the octets say: each three a place and what is written there.
    Back,
    /// A frame of the guest.
    Guest,
    /// `a`, `b` milliseconds pass, everything being done when it is due, or all at the end.
    Time,
    /// What the shell tells of port `a`: `b` up and address, `c` MTU.
    Link,
    /// Tables `a`, `b` are put in force.
    Install,
    /// An echo along the path of hop `a`, with TTL `b` and `c` times 8 octets long.
    Echo,
    /// A guest comes behind port `a`, or leaves.
    Admit,
    /// Somebody begins to capture, with a filter as JSON or everything.
    Capture,
    /// What leaves in the next step is refused by the kernel.
    Refuse,
    /// Everything that can be read is read, and what is old forgotten.
    Read,
    /// A probe begins behind port `a`: of kind `b`, `c` times.
    Probe,
}

impl Kind {
    /// In the order of their numbers. New ones go to the end, so that old inputs stay what they
    /// were.
    pub(crate) const ALL: [Self; 16] = [
        Self::Port,
        Self::Gpe,
        Self::Vxlan,
        Self::Service,
        Self::Overlay,
        Self::Back,
        Self::Guest,
        Self::Time,
        Self::Link,
        Self::Install,
        Self::Echo,
        Self::Admit,
        Self::Capture,
        Self::Refuse,
        Self::Read,
        Self::Probe,
    ];
}

/// One step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) number: u8,
    pub(crate) a: u8,
    pub(crate) b: u8,
    pub(crate) c: u8,
    pub(crate) octets: &'a [u8],
}

impl Step<'_> {
    pub(crate) fn kind(&self) -> Kind {
        Kind::ALL[usize::from(self.number) % Kind::ALL.len()]
    }
}

/// Reads steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Steps<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        let [number, a, b, c, high, low, rest @ ..] = self.0 else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (octets, rest) = rest.split_at(length);
        self.0 = rest;
        Some(Step {
            number: *number,
            a: *a,
            b: *b,
            c: *c,
            octets,
        })
    }
}

/// Tables that are always there, by any number.
pub(crate) fn built_in(number: u8) -> Chosen {
    thread_local! {
        static KNOWN: Vec<Chosen> = TABLES.iter().map(|text| {
            Chosen::new(Compiled::new(toml::from_str(text).unwrap()).unwrap())
        }).collect();
    }
    KNOWN.with(|known| known[usize::from(number) % known.len()].clone())
}

/// One of everything first, then what shares names with it or nothing.
const TABLES: [&str; 5] = [
    include_str!("everything.toml"),
    include_str!("other.toml"),
    include_str!("../../../examples/lan.toml"),
    include_str!("../../../examples/spread.toml"),
    include_str!("../../../examples/standalone.toml"),
];

/// Writes steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(pub(crate) Vec<u8>);

#[allow(dead_code, reason = "a fuzzer reads only")]
impl Script {
    /// One more step.
    pub(crate) fn step(mut self, kind: Kind, [a, b, c]: [u8; 3], octets: &[u8]) -> Self {
        let length = u16::try_from(octets.len()).unwrap();
        self.0.extend([kind as u8, a, b, c]);
        self.0.extend(length.to_be_bytes());
        self.0.extend(octets);
        self
    }

    /// One more without octets.
    pub(crate) fn plain(self, kind: Kind, parameters: [u8; 3]) -> Self {
        self.step(kind, parameters, &[])
    }
}
