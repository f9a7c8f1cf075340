//! Tuple space search (Srinivasan, Suri, Varghese 1999) with first-match order.

use super::fields::{Field, Fields, Subject};
use super::prefilter::Prefilter;
use super::ranges::{Prefix, prefixes};
use kc_forwarder_api::{Match, PortRange};
use rustc_hash::FxHashMap;

/// A rule's conditions with its ingress port resolved.
pub(crate) struct Condition<'a> {
    /// Conditions as written.
    pub(crate) matches: &'a Match,
    /// Number of the ingress port, if there is one among them.
    pub(crate) port: Option<u16>,
}

/// Rules of more prefix combinations than this are kept in a list instead.
const MAX_COMBINATIONS: usize = 128;

/// Rules that look at the same bits.
#[derive(Debug, Clone)]
struct Group {
    mask: Fields,
    /// The earliest rule of the group.
    first: u32,
    /// Prefix lengths of source and destination, when there are any.
    lengths: (Option<u8>, Option<u8>),
    rules: FxHashMap<Fields, u32>,
}

/// A rule with ranges that would need too many prefixes.
#[derive(Debug, Clone)]
struct Wide {
    rule: u32,
    value: Fields,
    mask: Fields,
    source_ports: Option<PortRange>,
    destination_ports: Option<PortRange>,
}

/// All rules, ready to be searched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Classifier {
    groups: Vec<Group>,
    wide: Vec<Wide>,
    prefilter: Prefilter,
    looks_at_macs: bool,
}

impl Classifier {
    /// Compiles rules, numbered in the order given.
    pub(crate) fn new<'a>(conditions: impl Iterator<Item = Condition<'a>>) -> Self {
        let mut classifier = Self::default();
        let mut places: FxHashMap<Fields, usize> = FxHashMap::default();
        for (rule, condition) in (0..).zip(conditions) {
            classifier.add(rule, &condition, &mut places);
        }
        classifier.groups.sort_by_key(|group| group.first);
        classifier
    }

    fn add(&mut self, rule: u32, condition: &Condition<'_>, places: &mut FxHashMap<Fields, usize>) {
        let matches = condition.matches;
        let (mut value, mut mask) = (Fields::default(), Fields::default());
        let fixed = [
            condition.port.map(Field::Port),
            matches.vlan.map(Field::Vlan),
            matches.source_mac.map(|mac| Field::SourceMac(mac.0)),
            matches
                .destination_mac
                .map(|mac| Field::DestinationMac(mac.0)),
            matches.ethertype.map(Field::EtherType),
            matches.source.map(Field::Source),
            matches.destination.map(Field::Destination),
            matches.protocol.map(|protocol| Field::Protocol(protocol.0)),
        ];
        for field in fixed.into_iter().flatten() {
            Fields::require(&mut value, &mut mask, field);
        }
        self.looks_at_macs |= matches.source_mac.is_some() || matches.destination_mac.is_some();
        let cover = |range: Option<PortRange>| -> Vec<Option<Prefix>> {
            range.map_or_else(
                || vec![None],
                |range| prefixes(range).into_iter().map(Some).collect(),
            )
        };
        let sources = cover(matches.source_ports);
        let destinations = cover(matches.destination_ports);
        if sources.len() * destinations.len() > MAX_COMBINATIONS {
            let (source_ports, destination_ports) =
                (matches.source_ports, matches.destination_ports);
            self.wide.push(Wide {
                rule,
                value,
                mask,
                source_ports,
                destination_ports,
            });
            return;
        }
        let lengths = (
            matches.source.map(|net| net.prefix_len()),
            matches.destination.map(|net| net.prefix_len()),
        );
        self.prefilter.add(matches.source, matches.destination);
        for source in &sources {
            for destination in &destinations {
                let (mut value, mut mask) = (value, mask);
                if let Some((port, length)) = *source {
                    Fields::require(&mut value, &mut mask, Field::SourcePort(port, length));
                }
                if let Some((port, length)) = *destination {
                    Fields::require(&mut value, &mut mask, Field::DestinationPort(port, length));
                }
                let groups = &mut self.groups;
                let place = *places.entry(mask).or_insert_with(|| {
                    groups.push(Group {
                        mask,
                        first: rule,
                        lengths,
                        rules: FxHashMap::default(),
                    });
                    groups.len() - 1
                });
                if let Some(group) = groups.get_mut(place) {
                    // Rules come in order: whoever is there already was first.
                    group.rules.entry(value).or_insert(rule);
                }
            }
        }
    }

    /// The first rule that matches.
    pub(crate) fn first_match(&self, subject: &Subject) -> Option<u32> {
        let fields = Fields::of(subject);
        let possible = self.prefilter.possible(self.groups.len(), subject);
        let mut best = u32::MAX;
        for group in &self.groups {
            if group.first >= best {
                break;
            }
            if !possible.admits(group.lengths) {
                continue;
            }
            if let Some(&rule) = group.rules.get(&fields.masked(&group.mask)) {
                best = best.min(rule);
            }
        }
        let (source, destination) = fields.ports().unzip();
        let within = |range: Option<PortRange>, port: Option<u16>| {
            range.is_none_or(|range| port.is_some_and(|port| range.contains(port)))
        };
        let wide = self
            .wide
            .iter()
            .take_while(|wide| wide.rule < best)
            .find(|wide| {
                fields.meets(&wide.value, &wide.mask)
                    && within(wide.source_ports, source)
                    && within(wide.destination_ports, destination)
            });
        wide.map(|wide| wide.rule)
            .or((best != u32::MAX).then_some(best))
    }

    /// Whether any rule looks at MAC addresses, so that a flow is not told by its addresses alone.
    pub(crate) fn looks_at_macs(&self) -> bool {
        self.looks_at_macs
    }

    /// Whether there are no rules at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.wide.is_empty()
    }
}
