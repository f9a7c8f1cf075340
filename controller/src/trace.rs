//! What echoes along a path say, put beside what the boxes were told: every SFF and function by
//! name, and the hop that is broken. Pure; who sends the echoes is the HTTP API's business.

use crate::views::{EchoFunctionView, PathView, TraceHop, TraceView};
use kc_forwarder_api::{EchoCode, EchoReply, HealthState};

/// One SFF that a path passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// The box.
    pub node: String,
    /// Functions there, in the order a packet meets them.
    pub functions: Vec<String>,
}

/// The SFFs that a path passes, in order, as the documents have it.
pub fn stations(path: &PathView) -> Vec<Station> {
    let mut all: Vec<Station> = Vec::new();
    let mut arrived = true;
    for hop in &path.hops {
        if arrived {
            all.push(Station {
                node: hop.node.clone(),
                functions: Vec::new(),
            });
        }
        arrived = hop.to.starts_with("-> ");
        let is_function = !arrived && !hop.to.starts_with("out ");
        if let Some(station) = all.last_mut().filter(|_| is_function) {
            station.functions.push(hop.to.clone());
        }
    }
    all
}

/// A trace that is being made.
#[derive(Debug)]
pub struct Trace {
    view: TraceView,
    stations: Vec<Station>,
}

impl Trace {
    /// Nothing heard yet.
    pub fn new(path: &PathView) -> Self {
        let view = TraceView {
            chain: path.chain.clone(),
            direction: path.direction.clone(),
            spi: path.spi,
            complete: false,
            broken: None,
            hops: Vec::new(),
        };
        Self {
            view,
            stations: stations(path),
        }
    }

    /// Takes what came of the echo with the next TTL (0 first; `None` for silence), with the box
    /// that answered by its name here, where it has one; says whether to send another.
    pub fn heard(&mut self, reply: Option<&EchoReply>, node: Option<String>) -> bool {
        let place = self.view.hops.len();
        let station = self.stations.get(place);
        let Some(reply) = reply else {
            let known = station.map(|station| station.node.clone());
            let here = known.unwrap_or_else(|| "?".to_owned());
            self.view.broken = Some(
                match place.checked_sub(1).and_then(|at| self.stations.get(at)) {
                    Some(before) => format!(
                        "{here} does not answer: the way from {} to {here}",
                        before.node
                    ),
                    None => format!("{here} does not answer"),
                },
            );
            self.view.hops.push(TraceHop {
                number: place,
                node: here,
                state: "silent".to_owned(),
                rtt_us: None,
                mtu: None,
                functions: station.map(planned).unwrap_or_default(),
            });
            return false;
        };
        let told = reply.from.as_ref().map(ToString::to_string);
        let here = node.or(told).unwrap_or_else(|| "?".to_owned());
        let functions: Vec<_> = reply
            .functions
            .iter()
            .map(|function| EchoFunctionView {
                name: function.name.to_string(),
                state: function.state.to_string(),
                rtt_us: function.rtt_us,
            })
            .collect();
        let dead = reply
            .functions
            .iter()
            .find(|one| one.state == HealthState::Dead);
        if let (Some(dead), None) = (dead, &self.view.broken) {
            self.view.broken = Some(format!("function {} on {here} does not answer", dead.name));
        }
        let elsewhere = station.filter(|station| station.node != here);
        let (state, goes_on) = match reply.code {
            EchoCode::EndOfPath => {
                self.view.complete = true;
                ("end", false)
            }
            EchoCode::TtlExceeded => ("ok", true),
            code => {
                let next = self.stations.get(place + 1);
                let next = next.map_or_else(String::new, |next| format!(" to {}", next.node));
                self.view.broken = Some(format!("{here} says: {code}{next}"));
                ("broken", false)
            }
        };
        if let (Some(station), None) = (elsewhere, &self.view.broken) {
            self.view.broken = Some(format!("{here} answers where {} should", station.node));
        }
        self.view.hops.push(TraceHop {
            number: place,
            node: here,
            state: state.to_owned(),
            rtt_us: Some(reply.rtt_us),
            mtu: reply.mtu,
            functions,
        });
        // No path passes more SFFs than TTL has values.
        goes_on && place < 63
    }

    /// What is known.
    pub fn view(self) -> TraceView {
        self.view
    }
}

fn planned(station: &Station) -> Vec<EchoFunctionView> {
    let view = |name: &String| EchoFunctionView {
        name: name.clone(),
        state: HealthState::Unknown.to_string(),
        rtt_us: None,
    };
    station.functions.iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::HopView;
    use kc_forwarder_api::{EchoFunction, Responder, SfName, SffName, Spi, Ttl};

    fn path() -> PathView {
        let hop = |node: &str, si, to: &str| HopView {
            node: node.to_owned(),
            si,
            to: to.to_owned(),
            packets: None,
            bytes: None,
        };
        PathView {
            spi: 2,
            chain: "web".to_owned(),
            direction: "forward".to_owned(),
            phase: "Active".to_owned(),
            since_ms: None,
            mtu: Some(1426),
            hops: vec![
                hop("box1", 255, "fw-1"),
                hop("box1", 254, "-> box2"),
                hop("box2", 254, "-> box3"),
                hop("box3", 254, "nat-1"),
                hop("box3", 253, "out server0"),
            ],
        }
    }

    fn reply(node: &str, code: EchoCode, functions: &[(&str, HealthState)]) -> EchoReply {
        let function = |(name, state): &(&str, HealthState)| EchoFunction {
            name: SfName::new(*name).unwrap(),
            state: *state,
            rtt_us: Some(90),
        };
        EchoReply {
            from: Some(Responder::Name(SffName::new(node).unwrap())),
            code,
            rtt_us: 400,
            spi: Spi::new(2).unwrap(),
            si: None,
            ttl: Ttl::new(1).unwrap(),
            mtu: Some(1426),
            functions: functions.iter().map(function).collect(),
        }
    }

    #[test]
    fn a_box_without_functions_is_a_station_too() {
        let all = stations(&path());
        let nodes: Vec<_> = all.iter().map(|station| station.node.as_str()).collect();
        assert_eq!(nodes, ["box1", "box2", "box3"]);
        assert_eq!(all[2].functions, ["nat-1"]);
    }

    #[test]
    fn a_healthy_path_is_followed_to_its_end() {
        let mut trace = Trace::new(&path());
        let alive = [("fw-1", HealthState::Alive)];
        assert!(trace.heard(Some(&reply("box1", EchoCode::TtlExceeded, &alive)), None));
        assert!(trace.heard(Some(&reply("box2", EchoCode::TtlExceeded, &[])), None));
        assert!(!trace.heard(Some(&reply("box3", EchoCode::EndOfPath, &[])), None));
        let view = trace.view();
        assert!(view.complete && view.broken.is_none());
        assert_eq!(view.hops[0].functions[0].state, "alive");
    }

    #[test]
    fn silence_names_the_way_that_is_broken() {
        let mut trace = Trace::new(&path());
        trace.heard(Some(&reply("box1", EchoCode::TtlExceeded, &[])), None);
        assert!(!trace.heard(None, None));
        let view = trace.view();
        let broken = view.broken.unwrap();
        assert_eq!(broken, "box2 does not answer: the way from box1 to box2");
        assert_eq!(
            (view.complete, view.hops[1].state.as_str()),
            (false, "silent")
        );
    }

    #[test]
    fn a_dead_function_and_a_missing_next_hop_are_named() {
        let mut trace = Trace::new(&path());
        let dead = [("fw-1", HealthState::Dead)];
        assert!(trace.heard(Some(&reply("box1", EchoCode::TtlExceeded, &dead)), None));
        let broken = trace.view().broken.unwrap();
        assert_eq!(broken, "function fw-1 on box1 does not answer");
        let mut trace = Trace::new(&path());
        assert!(!trace.heard(Some(&reply("box1", EchoCode::NoNextHop, &[])), None));
        assert_eq!(
            trace.view().broken.unwrap(),
            "box1 says: no next hop to box2"
        );
    }

    #[test]
    fn a_stranger_on_the_path_is_noticed() {
        let mut trace = Trace::new(&path());
        trace.heard(Some(&reply("box9", EchoCode::TtlExceeded, &[])), None);
        assert_eq!(
            trace.view().broken.unwrap(),
            "box9 answers where box1 should"
        );
    }
}
