//! The fast path's part in the kernel: loads the program with its arrays, puts it on interfaces,
//! keeps its arrays true. What is to be there is decided in `crate::fast`.

mod asking;
mod losses;
mod memory;
mod program;

pub(crate) use asking::Asking;
pub(crate) use losses::Losses;
pub(crate) use program::{Barrier, LoadError, Loader};

use crate::fast::layout::{OUT, VIA, station, station_key};
use crate::fast::plan::Plan;
use crate::fast::scene::Door;
use crate::fast::slots::Slots;
use crate::fast::tally::Tally;
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, XdpMode};
use program::Program;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// How the program runs on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In the driver.
    Native,
    /// Behind it.
    Generic,
}

/// The program on an interface; off it when dropped, also by the end of the process.
#[derive(Debug)]
pub(crate) struct Attachment {
    /// The interface.
    pub(crate) ifindex: u32,
    /// How it runs.
    pub(crate) mode: Mode,
    link: XdpLink,
}

/// (port, tag, MAC address).
type Sender = (u16, u16, [u8; 6]);

/// One generation of the tables in the kernel.
pub(crate) struct Kernel {
    program: Program,
    plan: Arc<Plan>,
    /// The next hop of each way out.
    current: Vec<Option<[u32; VIA]>>,
    /// First place for next hops that nothing refers to.
    free: u32,
    senders: FxHashMap<Sender, u16>,
}

impl Kernel {
    /// Loads the program with what `plan` says; our UDP sockets send from `ports`, over IPv4 and
    /// over IPv6. Its gate is shut.
    ///
    /// # Errors
    /// The kernel refused.
    pub(crate) fn load(
        loader: &mut Loader,
        plan: Arc<Plan>,
        ports: &[Vec<u16>; 2],
    ) -> Result<(Self, Barrier), LoadError> {
        let (program, barrier) = Program::load(loader, &plan, ports)?;
        let kernel = Self {
            program,
            current: vec![None; plan.outs.len()],
            free: 1,
            senders: FxHashMap::default(),
            plan,
        };
        Ok((kernel, barrier))
    }

    /// What is in the kernel.
    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Lets the program forward, or leaves all to user space from the next packet on.
    pub(crate) fn open(&self, open: bool) {
        self.program.gate.store(0, open.into());
    }

    /// Puts the program on an interface. Where `former` is on it already, there is no moment
    /// without either.
    pub(crate) fn attach(
        &mut self,
        ifindex: u32,
        mode: Mode,
        former: Option<Attachment>,
    ) -> Result<Attachment, LoadError> {
        let refused = |error: ProgramError| LoadError::Program(Box::new(error));
        let xdp = self.program.xdp()?;
        let id = match former {
            Some(former) => xdp.attach_to_link(former.link),
            None => {
                let mode = match mode {
                    Mode::Native => XdpMode::Driver,
                    Mode::Generic => XdpMode::Skb,
                };
                xdp.attach_to_if_index(ifindex, mode)
            }
        };
        let link = xdp.take_link(id.map_err(refused)?).map_err(refused)?;
        Ok(Attachment {
            ifindex,
            mode,
            link,
        })
    }

    /// Says what the interfaces may bring. The gate must be shut, and have been for so long that
    /// nobody reads. Returns those that found no place.
    pub(crate) fn set_doors(&self, doors: &[(&Door, Mode)]) -> Vec<u32> {
        let mut table = program::no_doors();
        let mut lost = Vec::new();
        for (door, mode) in doors {
            let record = door.record(&self.plan, *mode == Mode::Generic);
            let ifindex = door.interface.index;
            if table.place(ifindex & table.bits.mask(), record).is_none() {
                lost.push(ifindex);
            }
        }
        for (place, record) in table.words.iter().enumerate() {
            self.program.doors.write(place, record);
        }
        lost
    }

    /// Says where way out `number` leads to, `None` for user space. `false` when there is no room:
    /// [`forget`](Self::forget) makes some.
    pub(crate) fn set_out(&mut self, number: usize, via: Option<[u32; VIA]>) -> bool {
        let Some(current) = self.current.get_mut(number) else {
            return true;
        };
        if *current == via {
            return true;
        }
        let place = match via {
            None => 0,
            Some(_) if self.free >= self.program.room => return false,
            Some(via) => {
                // Nobody refers to this place yet, so nobody reads half of it.
                self.program.vias.write(self.free as usize, &via);
                self.free += 1;
                self.free - 1
            }
        };
        *current = via;
        self.program.outs.store(number * OUT, place);
        true
    }

    /// Leaves everything to user space and takes all next hops back. To be called with the gate
    /// shut for so long that nobody reads.
    pub(crate) fn forget(&mut self) {
        for number in 0..self.current.len() {
            self.set_out(number, None);
        }
        self.free = 1;
    }

    /// Says who sends by which tunnel over Ethernet, for the counters.
    pub(crate) fn set_senders(&mut self, senders: impl Iterator<Item = (Sender, u16)>) {
        let wanted: FxHashMap<Sender, u16> = senders.collect();
        if wanted == self.senders {
            return;
        }
        let lan = |sender: &Sender| {
            let number = self.plan.lan_numbers.get(&(sender.0, sender.1));
            number.map(|number| station_key(*number, sender.2))
        };
        let mut table = Slots::spare(self.plan.tunnels);
        for (sender, tunnel) in &wanted {
            if let Some(key) = lan(sender) {
                // Without a place it is counted by its port alone.
                let _ = table.place(table.bits.home_of_wide(key), station(key, (*tunnel).into()));
            }
        }
        // A reader may meet a slot between two states, and counts one packet for the port alone.
        for (place, [a, b, c, d]) in table.words.iter().enumerate() {
            let wide = |low: &u32, high: &u32| u64::from(*high) << 32 | u64::from(*low);
            self.program.stations.store_wide(place * 2 + 1, wide(c, d));
            self.program.stations.store_wide(place * 2, wide(a, b));
        }
        self.senders = wanted;
    }

    /// All counters as of now.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::new(&self.plan);
        let each = self.plan.counters() * 2;
        for cpu in 0..self.program.cpus {
            tally.add(self.program.counts.wide_from(cpu * each));
        }
        tally
    }

    /// Packets that have left by each way out.
    pub(crate) fn sent(&self) -> Vec<u64> {
        let (each, from) = (
            self.plan.counters() * 2,
            self.plan.counters() - self.plan.outs.len(),
        );
        let mut sent = vec![0; self.plan.outs.len()];
        for cpu in 0..self.program.cpus {
            let packets = self
                .program
                .counts
                .wide_from(cpu * each + from * 2)
                .step_by(2);
            for (sum, packets) in sent.iter_mut().zip(packets) {
                *sum += packets;
            }
        }
        sent
    }
}
