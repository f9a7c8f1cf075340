//! Which frames a capture wants, by the numbers that the tables in force give to names.

use crate::tables::{Compiled, PortIndex};
use kc_forwarder_api::{Capture, CapturePoint};

/// A [`Capture`] made ready for packets.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    /// Bits by point; every point when zero.
    points: u8,
    /// Sorted; every path when empty.
    spis: Vec<u32>,
    /// By port index; every port when there is none.
    ports: Option<Vec<bool>>,
    /// By function; every function when there is none.
    functions: Option<Vec<bool>>,
}

/// What a frame has that a filter looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    /// Where it is seen.
    pub(super) point: CapturePoint,
    /// Its service path header.
    pub(super) path: Option<u32>,
    /// The port it came in by or leaves by.
    pub(super) port: Option<PortIndex>,
    /// The functions it came out of and goes into.
    pub(super) functions: [Option<u16>; 2],
}

const fn bit(point: CapturePoint) -> u8 {
    1 << point as u8
}

impl Filter {
    /// `wanted` under `tables`. A name that they do not hold matches nothing.
    pub(super) fn new(wanted: &Capture, tables: &Compiled) -> Self {
        let mut spis: Vec<u32> = wanted.spis.iter().map(|spi| spi.get()).collect();
        spis.sort_unstable();
        let ports = tables.ports().iter();
        let functions = tables.functions.iter();
        Self {
            points: wanted.points.iter().fold(0, |all, &point| all | bit(point)),
            spis,
            ports: (!wanted.ports.is_empty()).then(|| {
                ports
                    .map(|port| wanted.ports.contains(&port.name))
                    .collect()
            }),
            functions: (!wanted.functions.is_empty()).then(|| {
                let wanted = &wanted.functions;
                functions
                    .map(|function| wanted.contains(&function.name))
                    .collect()
            }),
        }
    }

    /// Whether a frame with these traits is wanted.
    pub(super) fn wants(&self, traits: &Traits) -> bool {
        if self.points != 0 && self.points & bit(traits.point) == 0 {
            return false;
        }
        let on_path = |path: u32| self.spis.binary_search(&(path >> 8)).is_ok();
        if !self.spis.is_empty() && !traits.path.is_some_and(on_path) {
            return false;
        }
        let chosen = |list: &[bool], place: usize| list.get(place) == Some(&true);
        if let Some(ports) = &self.ports
            && !traits.port.is_some_and(|port| chosen(ports, port.at()))
        {
            return false;
        }
        let mut functions = traits.functions.iter().flatten();
        self.functions
            .as_ref()
            .is_none_or(|wanted| functions.any(|&function| chosen(wanted, usize::from(function))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Compiled {
        let text = r#"
            [[ports]]
            name = "c0"
            [[ports]]
            name = "fa"
            [[ports]]
            name = "fb"
            [[functions]]
            name = "fw"
            attachment = { two-leg = { inside = "fa", outside = "fb" } }
        "#;
        Compiled::new(toml::from_str(text).unwrap()).unwrap()
    }

    fn filter(json: &str) -> Filter {
        Filter::new(&serde_json::from_str(json).unwrap(), &tables())
    }

    const INGRESS: Traits = Traits {
        point: CapturePoint::Ingress,
        path: Some(100 << 8 | 255),
        port: Some(PortIndex(0)),
        functions: [None, None],
    };

    #[test]
    fn an_empty_filter_wants_everything() {
        assert!(filter("{}").wants(&INGRESS));
    }

    #[test]
    fn each_list_narrows_the_others() {
        let wants = |json| filter(json).wants(&INGRESS);
        assert!(wants(r#"{"spis":[7,100]}"#) && !wants(r#"{"spis":[7]}"#));
        assert!(wants(r#"{"ports":["c0"]}"#) && !wants(r#"{"ports":["fa"]}"#));
        assert!(wants(r#"{"points":["ingress"]}"#) && !wants(r#"{"points":["drop","egress"]}"#));
        assert!(!wants(r#"{"functions":["fw"]}"#));
        assert!(!wants(r#"{"spis":[100],"ports":["fb"]}"#));
        assert!(!wants(r#"{"ports":["not-there"]}"#));
    }

    #[test]
    fn a_frame_beside_a_function_is_wanted_on_either_side_of_it() {
        let fw = filter(r#"{"functions":["fw"]}"#);
        for functions in [[Some(0), None], [None, Some(0)]] {
            assert!(fw.wants(&Traits {
                functions,
                ..INGRESS
            }));
        }
        assert!(!fw.wants(&Traits {
            functions: [Some(1), None],
            ..INGRESS
        }));
    }
}
