//! The fast path in the packet thread: puts it on interfaces, tells it of routes and stations, and
//! shuts it while somebody wants to see every frame. Whatever goes wrong here, user space forwards.

use super::waiting::{Source, Waiting};
use super::{Packets, Stopped};
use crate::fast::plan::{Plan, To};
use crate::fast::scene::{Door, Interface, Scene};
use crate::fast::tally::Tally;
use crate::pipeline::{Compiled, Outputs, Pipeline, PortIndex};
use crate::port::explain;
use crate::port::fast::{Asking, Attachment, Barrier, Kernel, Loader, Losses, Mode};
use crate::port::link::LinkWatch;
use crate::port::underlay::Underlay;
use crate::tables::CompiledTunnel;
use kc_forwarder_api::{FastInterface, FastMode, FastPath, FastPathStatus, FastState, LeftHops};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Changes of routes and stations are taken together for so long.
const GATHER: Duration = Duration::from_millis(20);

/// A barrier that both threads wait at.
type Shared = Arc<Mutex<Barrier>>;

fn wait(barrier: &Shared) {
    let mut barrier = barrier.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = barrier.wait() {
        tracing::warn!(%error, "the kernel does not tell when the fast path stands still");
    }
}

/// A fast path for tables that are not in force yet.
pub(crate) enum Prepared {
    /// Nobody asked for one.
    Off,
    /// It cannot be had.
    Failed(String),
    /// In the kernel, on no interface yet, shut.
    Ready(Box<Loaded>),
}

/// What is needed to put it to work.
pub(crate) struct Loaded {
    kernel: Kernel,
    barrier: Shared,
    losses: Option<Arc<Losses>>,
    asking: Asking,
    watch: LinkWatch,
}

/// The control thread's side: what takes long is done there.
#[derive(Default)]
pub(crate) struct FastPaths {
    /// Of the fast path in force.
    barrier: Option<Shared>,
    /// Of the one that was prepared last.
    next: Option<Shared>,
    /// Made when it is wanted first.
    loader: Option<Loader>,
}

impl std::fmt::Debug for FastPaths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FastPaths").finish_non_exhaustive()
    }
}

impl FastPaths {
    /// Loads what `tables` ask for into the kernel.
    pub(crate) fn prepare(&mut self, tables: &Compiled, underlay: Option<&Underlay>) -> Prepared {
        self.next = None;
        if tables.tables().fast_path == FastPath::Off {
            return Prepared::Off;
        }
        let ports = underlay.map(Underlay::sources).unwrap_or_default();
        match load(self.loader.get_or_insert_with(Loader::new), tables, &ports) {
            Ok(loaded) => {
                self.next = Some(Arc::clone(&loaded.barrier));
                Prepared::Ready(Box::new(loaded))
            }
            Err(error) => {
                let reason = explain(&*error);
                tracing::warn!(reason, "no fast path; user space forwards");
                Prepared::Failed(reason)
            }
        }
    }

    /// Shuts the one in force, and returns when no packet is on its way through it.
    ///
    /// # Errors
    /// The packet thread has ended.
    pub(crate) fn shut(&mut self, packets: &Packets) -> Result<(), Stopped> {
        if let Some(barrier) = std::mem::replace(&mut self.barrier, self.next.take()) {
            packets.shut_fast_path()?;
            wait(&barrier);
        }
        Ok(())
    }
}

fn load(
    loader: &mut Loader,
    tables: &Compiled,
    ports: &[Vec<u16>; 2],
) -> Result<Loaded, Box<dyn Error>> {
    let plan = Arc::new(Plan::new(tables));
    let (kernel, barrier) = Kernel::load(loader, plan, ports)?;
    Ok(Loaded {
        losses: loader.losses(),
        kernel,
        barrier: Arc::new(Mutex::new(barrier)),
        asking: Asking::open()?,
        watch: LinkWatch::open_for_routes()?,
    })
}

/// The fast path of the tables in force.
#[derive(Default)]
pub(super) enum FastWay {
    /// Nobody asked for one.
    #[default]
    Off,
    /// It cannot be had.
    Failed(String),
    /// At work, or ready to be.
    On(Box<On>),
}

/// A fast path in the kernel.
pub(super) struct On {
    loaded: Loaded,
    attachments: Vec<Attachment>,
    /// Interfaces that it is, or should be, on, with what came of that.
    doors: Vec<(Door, Result<Mode, String>)>,
    scene: Scene,
    credited: Tally,
    /// By interface, as far as it is in the pipeline's counters.
    lost: FxHashMap<u32, u64>,
    /// Packets sent by each way out a second ago.
    sent: Vec<u64>,
    /// Nothing is forwarded until tables are installed.
    shut: bool,
    open: bool,
    watched: bool,
    /// When to look at the machine again.
    look_at: Option<Instant>,
}

impl FastWay {
    /// Counts what was forwarded since the last call.
    pub(super) fn credit(&mut self, pipeline: &mut Pipeline) {
        if let Self::On(on) = self {
            let tally = on.loaded.kernel.tally();
            pipeline.credit(on.loaded.kernel.plan(), &tally, &mut on.credited);
            on.credit_losses(pipeline);
        }
    }

    /// Leaves all packets to user space until [`install`](Self::install).
    pub(super) fn shut(&mut self) {
        if let Self::On(on) = self {
            on.shut = true;
            on.set_open(false);
        }
    }

    /// Takes the place of the former one, which has been shut. The pipeline has the tables.
    pub(super) fn install(
        &mut self,
        prepared: Prepared,
        pipeline: &mut Pipeline,
        waiting: &Waiting,
    ) {
        let former = match std::mem::take(self) {
            Self::On(on) => {
                waiting.remove(on.loaded.watch.as_fd());
                on.attachments
            }
            Self::Off | Self::Failed(_) => Vec::new(),
        };
        *self = match prepared {
            Prepared::Off => Self::Off,
            Prepared::Failed(reason) => Self::Failed(reason),
            Prepared::Ready(loaded) => {
                if let Err(error) = waiting.add(loaded.watch.as_fd(), Source::Routes) {
                    *self = Self::Failed(error.to_string());
                    return;
                }
                let mut on = Box::new(On::new(*loaded, former));
                on.look(pipeline);
                on.ask_for_routes(pipeline);
                Self::On(on)
            }
        };
    }

    /// Something about interfaces, routes or stations has changed.
    pub(super) fn note_change(&mut self, now: Instant) {
        if let Self::On(on) = self {
            if let Err(error) = on.loaded.watch.changed() {
                tracing::warn!(%error, "routes are not told any more");
            }
            on.look_at.get_or_insert(now + GATHER);
        }
    }

    /// How long nothing is to be done.
    pub(super) fn due(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::On(on) => Some(on.look_at?.saturating_duration_since(now)),
            Self::Off | Self::Failed(_) => None,
        }
    }

    /// Does what is due, and opens or shuts the way: it sleeps while nothing is forwarded, so that
    /// nobody has to look after it, and is shut while somebody watches.
    pub(super) fn mind(&mut self, now: Instant, awake: bool, pipeline: &mut Pipeline) {
        let Self::On(on) = self else { return };
        if on.look_at.is_some_and(|due| due <= now) {
            on.look_at = None;
            on.look(pipeline);
        }
        on.mind_stations(pipeline);
        on.watched = pipeline.is_watched();
        on.set_open(awake && !on.watched && !on.shut);
    }

    /// Keeps next hops known that the kernel sends to. Whether anything was forwarded.
    pub(super) fn every_second(
        &mut self,
        now_ms: u64,
        pipeline: &mut Pipeline,
        out: &mut Outputs,
    ) -> bool {
        match self {
            Self::On(on) => on.every_second(now_ms, pipeline, out),
            Self::Off | Self::Failed(_) => false,
        }
    }

    /// For people.
    pub(super) fn status(&self, pipeline: &Pipeline) -> Option<FastPathStatus> {
        match self {
            Self::Off => None,
            Self::Failed(reason) => Some(FastPathStatus {
                state: FastState::Failed.into(),
                reason: reason.clone(),
                interfaces: Vec::new(),
                hops: 0,
                left: Vec::new(),
            }),
            Self::On(on) => Some(on.status(pipeline)),
        }
    }
}

impl On {
    fn new(loaded: Loaded, attachments: Vec<Attachment>) -> Self {
        let plan = loaded.kernel.plan();
        Self {
            credited: Tally::new(plan),
            lost: FxHashMap::default(),
            sent: vec![0; plan.outs.len()],
            loaded,
            attachments,
            doors: Vec::new(),
            scene: Scene::default(),
            shut: false,
            open: false,
            watched: false,
            look_at: None,
        }
    }

    fn set_open(&mut self, open: bool) {
        if self.open != open {
            self.loaded.kernel.open(open);
            self.open = open;
        }
    }

    /// Looks at the machine, and makes the kernel's tables true.
    fn look(&mut self, pipeline: &mut Pipeline) {
        let scene = self.scene_of(pipeline);
        let doors = scene.doors(pipeline.tables());
        let same = |former: &[(Door, _)]| former.iter().map(|(door, _)| door).eq(&doors);
        let first = self.doors.is_empty();
        if first || !same(&self.doors) {
            if self.open {
                self.set_open(false);
                wait(&self.loaded.barrier);
            }
            self.loaded.kernel.forget();
            self.credit_losses(pipeline);
            if let Some(losses) = &self.loaded.losses {
                losses.watch(doors.iter().map(|door| door.interface.index));
                self.lost.clear();
            }
            self.attach(doors);
        }
        self.scene = scene;
        self.aim(pipeline);
    }

    /// Takes back what was counted as sent and is lost.
    fn credit_losses(&mut self, pipeline: &mut Pipeline) {
        let Some(losses) = &self.loaded.losses else {
            return;
        };
        for (ifindex, lost) in losses.lost() {
            let before = self.lost.insert(ifindex, lost).unwrap_or(0);
            let mut ports = self.scene.ports.iter();
            let port = ports.position(|port| port.as_ref().is_some_and(|it| it.index == ifindex));
            let port = port
                .and_then(|place| u16::try_from(place).ok())
                .map(PortIndex);
            pipeline.lost(port, lost.saturating_sub(before));
        }
    }

    /// Puts the program on what are `doors` now, and takes it off all else.
    fn attach(&mut self, doors: Vec<Door>) {
        let mut former = std::mem::take(&mut self.attachments);
        let mut held = Vec::new();
        for door in doors {
            let own = former
                .iter()
                .position(|held| held.ifindex == door.interface.index);
            let own = own.map(|place| former.swap_remove(place));
            let outcome = self.attach_one(&door, own);
            if let Err(reason) = &outcome {
                tracing::warn!(interface = door.interface.name, reason, "no fast path here");
            }
            held.push((door, outcome));
        }
        let placed: Vec<_> = held
            .iter()
            .filter_map(|(door, outcome)| Some((door, *outcome.as_ref().ok()?)))
            .collect();
        let lost = self.loaded.kernel.set_doors(&placed);
        for (door, outcome) in &mut held {
            if lost.contains(&door.interface.index) {
                *outcome = Err("there are too many interfaces".to_owned());
            }
        }
        self.doors = held;
    }

    fn attach_one(&mut self, door: &Door, own: Option<Attachment>) -> Result<Mode, String> {
        if let Some(unfit) = door.unfit {
            return Err(unfit.to_string());
        }
        let index = door.interface.index;
        let kernel = &mut self.loaded.kernel;
        let modes: &[Mode] = match (door.refuses.is_some(), door.interface.hides_tags) {
            // A hidden tag would go out again with the frame.
            (_, true) => &[Mode::Native],
            (true, false) => &[Mode::Generic],
            (false, false) => &[Mode::Native, Mode::Generic],
        };
        let own = own.filter(|own| modes.contains(&own.mode));
        if let Some(own) = own {
            let mode = own.mode;
            if let Ok(attachment) = kernel.attach(index, mode, Some(own)) {
                self.attachments.push(attachment);
                return Ok(mode);
            }
        }
        let mut reason = String::new();
        for &mode in modes {
            match kernel.attach(index, mode, None) {
                Ok(attachment) => {
                    self.attachments.push(attachment);
                    return Ok(mode);
                }
                Err(error) => reason = explain(&error),
            }
        }
        Err(reason)
    }

    /// The machine as it is.
    fn scene_of(&self, pipeline: &Pipeline) -> Scene {
        let (tables, asking) = (pipeline.tables(), &self.loaded.asking);
        let ports = (0..).map(PortIndex).zip(tables.ports());
        let ports = ports.map(|(place, port)| {
            let info = pipeline.port_info(place)?;
            let name = port.interface.as_ref().unwrap_or(&port.name);
            let interface = asking.interface(name.as_str())?;
            let mtu = port.mtu.map_or(info.mtu, |limit| limit.min(info.mtu));
            // The pipeline's view counts: it may be one notification behind.
            (interface.mac == info.mac).then_some(Interface { mtu, ..interface })
        });
        let remotes: BTreeSet<(IpAddr, IpAddr)> = remotes(tables).collect();
        let routes: FxHashMap<_, _> = remotes
            .iter()
            .filter_map(|&(own, remote)| Some((remote, asking.route(own, remote)?)))
            .collect();
        Scene {
            ports: ports.collect(),
            underlay: self.underlay(tables, &remotes),
            routes,
            neighbours: pipeline.stations().collect(),
        }
    }

    /// Interfaces that the underlay comes in by: those that have our addresses, and those that
    /// lead to the remotes.
    fn underlay(&self, tables: &Compiled, remotes: &BTreeSet<(IpAddr, IpAddr)>) -> Vec<Interface> {
        let Some(underlay) = &tables.tables().underlay else {
            return Vec::new();
        };
        let asking = &self.loaded.asking;
        let ways = remotes.iter();
        let ways: BTreeSet<u32> = ways
            .filter_map(|&(own, remote)| asking.interface_to(own, remote))
            .collect();
        let mut names: BTreeSet<String> = Asking::interfaces_with(&underlay.address)
            .into_iter()
            .collect();
        names.extend(ways.into_iter().filter_map(Asking::name));
        let interfaces = names.iter().filter_map(|name| asking.interface(name));
        interfaces.filter(|known| known.mac != [0; 6]).collect()
    }

    /// Has the kernel find the next hops of all remotes.
    fn ask_for_routes(&self, pipeline: &Pipeline) {
        for (own, remote) in remotes(pipeline.tables()).collect::<BTreeSet<_>>() {
            if !self.scene.routes.contains_key(&remote) {
                self.loaded.asking.used(own, remote);
            }
        }
    }

    /// Tells the kernel where each way out leads to.
    fn aim(&mut self, pipeline: &Pipeline) {
        let plan = Arc::clone(self.loaded.kernel.plan());
        let aim_all = |kernel: &mut Kernel, scene: &Scene| {
            let outs = plan.outs.iter().enumerate();
            let mut outs =
                outs.map(|(number, out)| (number, out.as_ref().and_then(|out| scene.via(out))));
            outs.all(|(number, via)| kernel.set_out(number, via))
        };
        if !aim_all(&mut self.loaded.kernel, &self.scene) {
            // Next hops have changed a thousand times.
            let open = self.open;
            self.set_open(false);
            wait(&self.loaded.barrier);
            self.loaded.kernel.forget();
            aim_all(&mut self.loaded.kernel, &self.scene);
            self.set_open(open);
        }
        self.loaded.kernel.set_senders(pipeline.senders());
    }

    /// Takes over what neighbour discovery has found.
    fn mind_stations(&mut self, pipeline: &Pipeline) {
        if !pipeline
            .stations()
            .eq(self.scene.neighbours.iter().copied())
        {
            self.scene.neighbours = pipeline.stations().collect();
            self.aim(pipeline);
        }
    }

    fn every_second(&mut self, now_ms: u64, pipeline: &mut Pipeline, out: &mut Outputs) -> bool {
        let sent = self.loaded.kernel.sent();
        let plan = Arc::clone(self.loaded.kernel.plan());
        let mut any = false;
        let used = plan.outs.iter().zip(sent.iter().zip(&self.sent));
        for (way, (now, then)) in used {
            let Some(way) = way.as_ref().filter(|_| now != then) else {
                continue;
            };
            any = true;
            match way.to {
                To::Neighbour(_, number) => pipeline.used(now_ms, number, out),
                To::Vtep(remote) => {
                    let tables = pipeline.tables().tables();
                    let own = tables
                        .underlay
                        .as_ref()
                        .and_then(|own| own.address.towards(remote));
                    if let Some(own) = own {
                        self.loaded.asking.used(own, remote);
                    }
                }
                To::Mac(..) => {}
            }
        }
        self.sent = sent;
        if any {
            // What interfaces take may change without anybody telling.
            self.look(pipeline);
        }
        any
    }

    fn status(&self, pipeline: &Pipeline) -> FastPathStatus {
        let plan = self.loaded.kernel.plan();
        let (state, reason) = if self.watched || pipeline.is_watched() {
            (
                FastState::Watched,
                "a capture or a probe wants to see every frame",
            )
        } else if self.open {
            (FastState::Forwarding, "")
        } else {
            (
                FastState::Asleep,
                "nothing has come for long; the next packet wakes it",
            )
        };
        FastPathStatus {
            state: state.into(),
            reason: reason.to_owned(),
            interfaces: self
                .doors
                .iter()
                .map(|(door, outcome)| told(door, outcome))
                .collect(),
            hops: plan.taken,
            left: plan
                .left
                .iter()
                .map(|(why, hops)| LeftHops {
                    reason: why.to_string(),
                    hops: *hops,
                })
                .collect(),
        }
    }
}

fn told(door: &Door, outcome: &Result<Mode, String>) -> FastInterface {
    let (mode, reason) = match (outcome, &door.refuses) {
        (Ok(Mode::Native), None) => (FastMode::Native, String::new()),
        (Ok(Mode::Native), Some(other)) => (
            FastMode::Native,
            format!("what goes to {other} comes up: it takes no redirected frames"),
        ),
        (Ok(Mode::Generic), Some(other)) => (
            FastMode::Generic,
            format!("{other} takes no redirected frames"),
        ),
        (Ok(Mode::Generic), None) => (FastMode::Generic, "its driver has no XDP".to_owned()),
        (Err(reason), _) => (FastMode::Off, reason.clone()),
    };
    FastInterface {
        interface: door.interface.name.clone(),
        mode: mode.into(),
        reason,
    }
}

/// Our own address and a remote's, for each tunnel over UDP.
fn remotes(tables: &Compiled) -> impl Iterator<Item = (IpAddr, IpAddr)> {
    let underlay = tables.tables().underlay.as_ref();
    tables
        .tunnels
        .iter()
        .filter_map(move |tunnel| match tunnel {
            CompiledTunnel::Gpe { remote, .. } => {
                Some((underlay?.address.towards(remote.ip())?, remote.ip()))
            }
            CompiledTunnel::Lan(_) => None,
        })
}
