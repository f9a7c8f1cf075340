//! `kc playground up`: the steps, in order.

use super::broker::{self, Kind};
use super::cluster::{self, Programs};
use super::examples::{self, CHAIN, CHAIN_FILE};
use super::journal::{self, Entry, Journal};
use super::launch::{Running, logs};
use super::layout::{BROKER_PORT, DATA, HUB, HUB_ADDRESS, RUN, Site, sites};
use super::lock::Lock;
use super::namespace::inside;
use super::progress::{Interrupt, Progress, wait};
use super::traffic::{self, Round};
use super::{engine, network, picture, precondition, teardown};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `kc playground up`.
#[derive(Debug, clap::Args)]
pub(super) struct UpArgs {
    /// Number of boxes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    boxes: u8,
    /// The MQTT broker: part of this program, or an installed Mosquitto
    #[arg(long, value_enum, default_value_t = Kind::Embedded)]
    broker: Kind,
    /// MTU of the network between the boxes, in bytes
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1280..=9000))]
    underlay_mtu: u16,
    /// The program that becomes the functions' image: a static kc-function
    #[arg(long, value_name = "FILE")]
    function_binary: Option<PathBuf>,
    /// Requests to send through the chain at the end
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// Leave what stands when a step fails, for a look
    #[arg(long)]
    keep_going: bool,
}

/// Makes the playground.
pub(super) fn run(arguments: &UpArgs) -> Result<ExitCode> {
    let lacks = precondition::lacking(arguments.broker == Kind::Mosquitto);
    if !lacks.is_empty() {
        let lines = lacks
            .iter()
            .map(|lack| format!("\n  - {}\n      {}", lack.what, lack.fix));
        bail!("this machine lacks:{}", lines.collect::<String>());
    }
    let programs = Programs::find(arguments.function_binary.as_deref())?;
    let _lock = Lock::take()?;
    clear_remains()?;
    let interrupt = Interrupt::install()?;
    let progress = Progress::new();
    let work = Work {
        arguments,
        programs: &programs,
        sites: sites(arguments.boxes),
        interrupt: &interrupt,
        progress: &progress,
    };
    match work.steps() {
        Ok(round) => {
            work.show(&round);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if arguments.keep_going => Err(error),
        Err(error) => {
            eprintln!("taking away what was made");
            if let Err(left) = teardown::remove() {
                eprintln!("{left:#}");
            }
            Err(error)
        }
    }
}

/// A playground that is up stays; what is left of one that is not goes.
fn clear_remains() -> Result<()> {
    let entries = Journal::read(Path::new(RUN))?;
    if entries.contains(&Entry::Ready) {
        let alive = journal::processes(&entries)
            .iter()
            .any(|(_, process)| process.alive());
        if alive {
            bail!(
                "a playground is up: see kc playground status, or remove it with kc playground down"
            );
        }
    }
    if !entries.is_empty() {
        eprintln!("removing what is left of an earlier playground");
        teardown::remove()?;
    }
    Ok(())
}

/// One `up` at work.
struct Work<'a> {
    arguments: &'a UpArgs,
    programs: &'a Programs,
    sites: Vec<Site>,
    interrupt: &'a Interrupt,
    progress: &'a Progress,
}

impl Work<'_> {
    fn steps(&self) -> Result<Round> {
        fs::create_dir_all(logs())?;
        let journal = Journal::open(Path::new(RUN))?;
        let boxes = self.arguments.boxes;
        journal.note(&Entry::Playground {
            boxes,
            function: self.programs.function.clone(),
        })?;
        fs::create_dir_all(Path::new(DATA).join("hub"))?;
        self.network(&journal)?;
        self.hub(&journal)?;
        self.boxes(&journal)?;
        self.examples(&journal)?;
        let round = self.traffic()?;
        journal.note(&Entry::Ready)?;
        Ok(round)
    }

    fn network(&self, journal: &Journal) -> Result<()> {
        let mtu = self.arguments.underlay_mtu;
        self.progress.step("network", || {
            network::make(journal, self.arguments.boxes, mtu)?;
            Ok((
                (),
                format!(
                    "{} on one bridge, MTU {mtu}",
                    counted(self.sites.len(), "box", "boxes")
                ),
            ))
        })
    }

    fn hub(&self, journal: &Journal) -> Result<()> {
        self.progress.step("broker", || {
            let mut broker = broker::daemon(self.arguments.broker)?.start(journal)?;
            listening(&mut broker, self.interrupt)?;
            Ok(((), format!("mqtt://{HUB_ADDRESS}:{BROKER_PORT}")))
        })?;
        self.progress.step("controller", || {
            cluster::controller(journal, self.programs, self.interrupt)?;
            Ok(((), "answers".to_owned()))
        })
    }

    fn boxes(&self, journal: &Journal) -> Result<()> {
        self.progress.step("engines", || {
            engine::announce(journal)?;
            engine::each(&self.sites, |site| {
                engine::start(journal, site, self.interrupt)
            })?;
            Ok((
                (),
                counted(self.sites.len(), "engine answers", "engines answer"),
            ))
        })?;
        self.progress.step("image", || {
            let archive = Path::new(DATA).join("function.tar");
            let bytes = engine::distribute(&self.sites, &self.programs.function, &archive)?;
            Ok(((), format!("{} kB in every engine", bytes / 1000)))
        })?;
        self.progress.step("agents", || {
            let mtu = self.arguments.underlay_mtu;
            let start = |site| cluster::agent(journal, self.programs, site, mtu);
            let mut agents: Vec<_> = self.sites.iter().map(start).collect::<Result<_>>()?;
            wait("the boxes", Duration::from_secs(30), self.interrupt, || {
                agents.iter_mut().try_for_each(Running::check)?;
                let ready = cluster::ready(&self.programs.kc)?;
                Ok((ready.len() == self.sites.len()).then_some(()))
            })?;
            Ok(((), counted(self.sites.len(), "box reports", "boxes report")))
        })
    }

    /// Functions and service first: a chain applied beside them would take whichever instances
    /// run first.
    fn examples(&self, journal: &Journal) -> Result<()> {
        let kc = &self.programs.kc;
        let directory = Path::new(RUN).join("manifests");
        examples::write(&directory, self.arguments.boxes)?;
        let mut server = cluster::server(journal, self.programs)?;
        self.progress.step("functions", || {
            let files = examples::files().filter(|name| *name != CHAIN_FILE);
            let instances = cluster::apply(kc, &directory, files)?;
            server.check()?;
            let within = Duration::from_secs(60);
            let mut last = String::new();
            let running = wait("the containers", within, self.interrupt, || {
                let all = cluster::instances(kc)?;
                let late: Vec<_> = all.iter().filter_map(cluster::lacking).collect();
                last = late.join(", ");
                Ok((late.is_empty() && !all.is_empty()).then_some(all.len()))
            });
            let running = running.with_context(|| last)?;
            Ok((
                (),
                format!("{instances} manifests, {running} containers run"),
            ))
        })?;
        self.progress.step("chain", || {
            cluster::apply(kc, &directory, std::iter::once(CHAIN_FILE))?;
            let mut last = String::new();
            let chain = wait("the chain", Duration::from_secs(60), self.interrupt, || {
                let chain = cluster::chain(kc, CHAIN)?;
                let reason = chain.reason.clone().unwrap_or_default();
                last = format!("chain {CHAIN} is {} {reason}", chain.state);
                Ok((chain.state == "Ready").then_some(chain))
            });
            let chain = chain.with_context(|| last)?;
            Ok(((), chain.path.join(", ")))
        })
    }

    fn traffic(&self) -> Result<Round> {
        let function = &self.programs.function;
        self.progress.step("first answer", || {
            let within = Duration::from_secs(15);
            let took = traffic::first_answer(function, within, self.interrupt)?;
            Ok(((), format!("after {} ms", took.as_millis())))
        })?;
        self.progress.step("requests", || {
            let round = traffic::round(function, &self.sites, self.arguments.requests)?;
            let faults = round.faults();
            if !faults.is_empty() {
                bail!("{}", faults.join("\n"));
            }
            let said = picture::requests(&round);
            Ok((round, said))
        })
    }

    fn show(&self, round: &Round) {
        let kc = super::name();
        println!("\n{}", picture::path(round));
        if let Ok(chain) = cluster::chain(&self.programs.kc, CHAIN) {
            println!("Why this path ({}):", chain.scheduler);
            for line in chain.explanation {
                println!("  {line}");
            }
        }
        println!(
            "\nUp after {:.1} s. Try:",
            self.progress.elapsed().as_secs_f64()
        );
        print!("{}", picture::next(&kc, round, &self.sites));
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn listening(broker: &mut Running, interrupt: &Interrupt) -> Result<()> {
    wait("the broker", Duration::from_secs(10), interrupt, || {
        broker.check()?;
        let reached = inside(HUB, || TcpStream::connect((HUB_ADDRESS, BROKER_PORT)))?;
        Ok(reached.ok().map(drop))
    })
}
