//! Which member a flow is with: examples, and what holds whatever members do.

use super::*;
use crate::tables::Compiled;
use kc_forwarder_api::Tables;
use proptest::prelude::*;
use std::collections::BTreeMap;

const VNI: u32 = 1;

/// The virtual address 10.0.0.1 with these members: number, and whether it drains.
fn service(members: &[(u8, bool)]) -> CompiledVirtual {
    let stations: Vec<_> = members
        .iter()
        .map(|(number, _)| serde_json::json!({"mac": text(*number), "peer": "192.0.2.2"}))
        .collect();
    let members: Vec<_> = members
        .iter()
        .map(|(number, draining)| serde_json::json!({"mac": text(*number), "draining": draining}))
        .collect();
    let tables: Tables = serde_json::from_value(serde_json::json!({
        "underlay": {"address": "192.0.2.1"},
        "segments": [{
            "vni": VNI,
            "entries": stations,
            "virtuals": [{"address": "10.0.0.1", "mac": "02:00:00:00:00:fe", "members": members}],
        }],
    }))
    .unwrap();
    let compiled = Compiled::new(tables).unwrap();
    compiled.segments[0].virtuals.as_ref().unwrap().all[0].clone()
}

fn mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 1, number]
}

fn text(number: u8) -> String {
    kc_forwarder_api::MacAddr(mac(number)).to_string()
}

fn flow(client: u16) -> FlowKey {
    let padded = |octets: [u8; 4]| {
        let mut address = [0; 16];
        address[12..].copy_from_slice(&octets);
        address
    };
    FlowKey {
        source: padded([10, 0, 1, 1]),
        destination: padded([10, 0, 0, 1]),
        source_port: client,
        destination_port: 80,
        ethertype: 0x0800,
        protocol: TCP,
    }
}

/// A memory, its members, and who of them is dead.
struct Site {
    flows: Flows,
    now_ms: u64,
    members: BTreeMap<u8, bool>,
    dead: Vec<u8>,
}

impl Site {
    fn new(members: impl IntoIterator<Item = u8>) -> Self {
        Self {
            flows: Flows::new(),
            now_ms: 0,
            members: members.into_iter().map(|number| (number, false)).collect(),
            dead: Vec::new(),
        }
    }

    fn choose(&mut self, client: u16, sign: Sign) -> Option<u8> {
        let members: Vec<_> = self.members.iter().map(|(n, d)| (*n, *d)).collect();
        let service = service(&members);
        self.choose_of(&service, client, sign)
    }

    fn choose_of(&mut self, service: &CompiledVirtual, client: u16, sign: Sign) -> Option<u8> {
        let dead: Vec<_> = self.dead.iter().map(|number| mac(*number)).collect();
        let vni = Vni::new(VNI).unwrap();
        let lives = |place: &VirtualPlace| !dead.contains(&place.mac);
        let (now_ms, of) = (self.now_ms, (vni, service));
        let chosen = self.flows.choose(now_ms, of, flow(client), sign, lives);
        chosen.map(|[.., number]| number)
    }

    /// Flows with a member, as they are counted.
    fn with(&self, number: u8) -> u64 {
        let address = [10, 0, 0, 1].into();
        self.flows
            .with(Vni::new(VNI).unwrap(), address, mac(number))
    }

    fn expire(&mut self, later_ms: u64) {
        self.now_ms += later_ms;
        (0..200).for_each(|_| self.flows.expire(self.now_ms));
    }
}

#[derive(Debug, Clone)]
enum Event {
    Joins(u8),
    Drains(u8),
    Returns(u8),
    Leaves(u8),
    Dies(u8),
    Packets,
}

fn any_event() -> impl Strategy<Value = Event> {
    let member = 1..8_u8;
    prop_oneof![
        member.clone().prop_map(Event::Joins),
        member.clone().prop_map(Event::Drains),
        member.clone().prop_map(Event::Returns),
        member.clone().prop_map(Event::Leaves),
        member.prop_map(Event::Dies),
        Just(Event::Packets),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to the members, a flow moves only when its own is gone or dead, and a new
    /// one goes to nobody who drains while somebody does not.
    #[test]
    fn only_flows_of_the_dead_and_gone_move(
        events in proptest::collection::vec(any_event(), 1..24),
    ) {
        let mut site = Site::new(1..4);
        let mut known: BTreeMap<u16, u8> = BTreeMap::new();
        let mut client = 1000;
        for event in events {
            match event {
                Event::Joins(number) => drop(site.members.entry(number).or_insert(false)),
                Event::Drains(number) => {
                    site.members.entry(number).and_modify(|draining| *draining = true);
                }
                Event::Returns(number) => {
                    site.dead.retain(|dead| *dead != number);
                    site.members.entry(number).and_modify(|draining| *draining = false);
                }
                Event::Leaves(number) => drop(site.members.remove(&number)),
                Event::Dies(number) => site.dead.push(number),
                Event::Packets => {}
            }
            site.now_ms += 100;
            site.flows.expire(site.now_ms);
            let lives = |site: &Site, number: &u8| {
                site.members.contains_key(number) && !site.dead.contains(number)
            };
            let members: Vec<_> = site.members.iter().map(|(n, d)| (*n, *d)).collect();
            let compiled = service(&members);
            for (client, member) in &mut known {
                let now = site.choose_of(&compiled, *client, Sign::Goes);
                match now {
                    Some(now) if lives(&site, member) => prop_assert_eq!(now, *member),
                    Some(now) => {
                        prop_assert!(lives(&site, &now));
                        *member = now;
                    }
                    None => prop_assert!(!site.members.keys().any(|one| lives(&site, one))),
                }
            }
            for _ in 0..20 {
                client += 1;
                if let Some(member) = site.choose_of(&compiled, client, Sign::Opens) {
                    prop_assert!(lives(&site, &member));
                    let eligible = members.iter().any(|(n, d)| !d && lives(&site, n));
                    prop_assert!(!eligible || !site.members[&member]);
                    known.insert(client, member);
                }
            }
            let counted: u64 = (1..8).map(|number| site.with(number)).sum();
            prop_assert_eq!(counted, known.len() as u64, "every flow is counted once");
        }
    }
}

#[test]
fn new_flows_are_spread_evenly_and_a_joiner_takes_its_share_of_new_ones_only() {
    let mut site = Site::new(1..5);
    let four = service(&[(1, false), (2, false), (3, false), (4, false)]);
    let before: Vec<_> = (0..8000)
        .map(|client| site.choose_of(&four, client, Sign::Opens).unwrap())
        .collect();
    for number in 1..5 {
        let share = site.with(number);
        assert!((1850..2150).contains(&share), "{number} has {share}");
    }
    let five: Vec<_> = (1..6).map(|number| (number, false)).collect();
    let five = service(&five);
    let after = (0..8000).map(|client| site.choose_of(&five, client, Sign::Goes).unwrap());
    assert!(after.eq(before), "a flow moved");
    for client in 8000..18_000 {
        site.choose_of(&five, client, Sign::Opens);
    }
    let share = site.with(5);
    assert!((1850..2150).contains(&share), "the joiner has {share}");
}

#[test]
fn a_connection_that_reuses_ports_is_a_new_one_and_a_syn_sent_again_is_not() {
    let mut site = Site::new([1, 2]);
    let first = site.choose(7, Sign::Opens).unwrap();
    site.members.insert(first, true);
    assert_eq!(site.choose(7, Sign::Opens), Some(first), "sent again");
    assert_eq!(site.choose(7, Sign::Goes), Some(first));
    let other = 3 - first;
    assert_eq!(
        site.choose(7, Sign::Opens),
        Some(other),
        "another connection"
    );
    assert_eq!((site.with(first), site.with(other)), (0, 1));
    assert_eq!(site.choose(7, Sign::Goes), Some(other));
}

#[test]
fn the_last_words_of_a_connection_find_its_member_and_then_it_is_forgotten() {
    let mut site = Site::new([1, 2]);
    let member = site.choose(7, Sign::Opens).unwrap();
    site.choose(7, Sign::Goes);
    site.members.insert(member, true);
    assert_eq!(site.choose(7, Sign::Closes), Some(member));
    assert_eq!(site.choose(7, Sign::Goes), Some(member), "the last ACK");
    site.expire(CLOSED_MS);
    assert_eq!(site.with(member), 1);
    site.expire(1);
    assert_eq!(site.with(member), 0);
}

#[test]
fn an_idle_connection_is_kept_for_hours_and_one_that_never_came_about_for_minutes() {
    let mut site = Site::new([1]);
    site.choose(1, Sign::Opens);
    site.choose(2, Sign::Opens);
    site.choose(2, Sign::Goes);
    site.expire(OPENING_MS + 1);
    assert_eq!(site.with(1), 1);
    site.expire(ESTABLISHED_MS - OPENING_MS - 2);
    assert_eq!(site.with(1), 1);
    site.expire(2);
    assert_eq!(site.with(1), 0);
}

#[test]
fn errors_about_a_flow_make_none() {
    let mut site = Site::new([1, 2, 3]);
    assert!(site.choose(9, Sign::About).is_some());
    assert_eq!((1..4).map(|number| site.with(number)).sum::<u64>(), 0);
    let member = site.choose(9, Sign::Opens);
    assert_eq!(site.choose(9, Sign::About), member);
}

#[test]
fn nobody_is_refused_while_somebody_lives_and_everybody_once_nobody_does() {
    let mut site = Site::new([1, 2]);
    site.members = [(1, true), (2, true)].into();
    assert!(site.choose(1, Sign::Opens).is_some(), "all drain");
    site.dead = vec![1, 2];
    assert_eq!(site.choose(1, Sign::Goes), None);
    assert_eq!(site.choose(2, Sign::Opens), None);
}

#[test]
fn a_flood_of_new_flows_costs_bounded_memory_and_the_count_stays_true() {
    let mut flows = Flows::new();
    let one = service(&[(1, false)]);
    let vni = Vni::new(VNI).unwrap();
    let total = LIMIT as u64 * 2;
    for number in 0..total {
        let mut flow = flow(u16::try_from(number % 60_000).unwrap());
        flow.source[..8].copy_from_slice(&(number / 60_000).to_be_bytes());
        flows.choose(number, (vni, &one), flow, Sign::Opens, |_| true);
    }
    let counted = flows.with(vni, one.address, mac(1));
    assert_eq!(counted, flows.kept.len() as u64);
    assert!(counted <= LIMIT as u64);
}
